//! Programs of the user's own, and links to them.

use super::*;
use crate::model::{
    app::{Isolation, LinkTarget, PROGRAM, ProviderSpec},
    shape::FunctionShape,
};

const APP: &str = r"apiVersion: lattice/v1
kind: App
metadata: { name: books }
spec:
  components:
    front:
      image: ./front.wasm
      links: { acme:ledger/book: ledger }
  providers:
    ledger:
      image: ./ledger.py
      serves: [acme:ledger/book@1.2.0]
      wit: ./wit
      env: { PYTHONPATH: /opt }
      config: { currency: EUR }
";

const BALANCE: &str = "func(account: string) -> s64";

fn shapes(interface: &str, signature: &str) -> BTreeMap<Interface, InterfaceShape> {
    let function = FunctionShape { signature: signature.to_owned(), ..FunctionShape::default() };
    let shape = InterfaceShape { functions: BTreeMap::from([("balance".to_owned(), function)]) };
    BTreeMap::from([(interface.parse().unwrap(), shape)])
}

/// A front that imports a version of the book, and a ledger whose WIT describes one.
fn books(imported: &str, described: BTreeMap<Interface, InterfaceShape>) -> BTreeMap<String, ComponentFacts> {
    let import_shapes = shapes(imported, BALANCE);
    let front = ComponentFacts {
        digest: Digest::of(b"front"),
        imports: import_shapes.keys().cloned().collect(),
        exports: Vec::new(),
        import_shapes,
        export_shapes: BTreeMap::new(),
        wit: None,
    };
    let ledger = ComponentFacts {
        digest: Digest::of(b"ledger"),
        imports: Vec::new(),
        exports: Vec::new(),
        import_shapes: BTreeMap::new(),
        wit: (!described.is_empty()).then(|| Digest::of(b"wit")),
        export_shapes: described,
    };
    BTreeMap::from([("front".to_owned(), front), ("ledger".to_owned(), ledger)])
}

fn good() -> BTreeMap<String, ComponentFacts> {
    books("acme:ledger/book@1.0.0", shapes("acme:ledger/book@1.2.0", BALANCE))
}

fn told(text: &str, facts: &BTreeMap<String, ComponentFacts>) -> Vec<String> {
    match parse(text) {
        Err(problem) => vec![show(&problem)],
        Ok(manifest) => check(&manifest, facts, &[]).err().into_iter().flatten().map(|p| show(&p)).collect(),
    }
}

#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(APP.contains(from), "the manifest has {from:?}");
    APP.replacen(from, to, 1)
}

#[test]
fn a_program_can_have_a_standard_capability() {
    let text = APP.replace("acme:ledger/book: ledger", "wasi:keyvalue: ledger").replace("      wit: ./wit\n", "");
    let mut facts = books("acme:ledger/book@1.0.0", BTreeMap::new());
    let front = facts.get_mut("front").unwrap();
    front.import_shapes.clear();
    front.imports = vec!["wasi:keyvalue/store@0.2.0-draft".parse().unwrap()];
    let store = text.replace("acme:ledger/book@1.2.0", "lattice:keyvalue/store@0.1.0");
    let app = check(&parse(&store).unwrap(), &facts, &[]).unwrap();
    let UnitSpec::Component(front) = &app.units[&"front".parse().unwrap()] else { panic!("front is a component") };
    assert_eq!(front.links[0].target, LinkTarget::Capability);
    // Another interface, and another version of it.
    for other in ["acme:ledger/book@1.2.0", "lattice:keyvalue/store@0.2.0"] {
        let problems = told(&text.replace("acme:ledger/book@1.2.0", other), &facts);
        assert!(problems.iter().any(|problem| problem.contains("wasi:keyvalue")), "{other}: {problems:?}");
    }
}

#[test]
fn a_program_is_a_provider_whose_links_are_called_by_wit() {
    let app = check(&parse(APP).unwrap(), &good(), &[]).unwrap();
    let ledger = &app.units[&"ledger".parse().unwrap()];
    assert_eq!((ledger.kind(), ledger.what()), ("provider", Digest::of(b"ledger").as_str()));
    let UnitSpec::Provider(ProviderSpec { kind, isolate, config, program: Some(program), .. }) = ledger else {
        panic!("{ledger:?} is no program")
    };
    assert_eq!((kind.as_str(), *isolate, config["currency"].as_str()), (PROGRAM, Isolation::Process, Some("EUR")));
    assert_eq!(program.serves, ["acme:ledger/book@1.2.0".parse().unwrap()]);
    assert_eq!((&*program.env["PYTHONPATH"], program.wit.as_ref()), ("/opt", Some(&Digest::of(b"wit"))));
    let UnitSpec::Component(front) = &app.units[&"front".parse().unwrap()] else { panic!("front is a component") };
    assert_eq!(front.links[0].target, LinkTarget::Wit);
    // Without WIT nothing is known of its types.
    let untyped = with("      wit: ./wit\n", "");
    assert_eq!(told(&untyped, &books("acme:ledger/book@1.0.0", BTreeMap::new())), Vec::<String>::new());
}

#[test]
fn what_a_program_serves_must_be_what_is_imported() {
    let other = with("[acme:ledger/book@1.2.0]", "[acme:ledger/audit@1.0.0]");
    assert_eq!(
        told(&other, &books("acme:ledger/book@1.0.0", shapes("acme:ledger/audit@1.0.0", BALANCE))),
        [
            "8:34: `ledger` does not serve acme:ledger/book@1.0.0, which `front` imports / `ledger` serves acme:ledger/audit@1.0.0"
        ]
    );
    assert_eq!(
        told(APP, &books("acme:ledger/book@1.3.0", shapes("acme:ledger/book@1.2.0", BALANCE))),
        [
            "8:34: `front` imports acme:ledger/book@1.3.0, and `ledger` serves acme:ledger/book@1.2.0, which does not serve it / `ledger` is older than what `front` was built for: build it with version 1.3.0 or newer"
        ]
    );
    let u64s = "func(account: string) -> u64";
    assert_eq!(
        told(APP, &books("acme:ledger/book@1.0.0", shapes("acme:ledger/book@1.2.0", u64s))),
        [format!(
            "8:34: `balance` of acme:ledger/book@1.0.0 is `{BALANCE}` where `front` imports it, and `{u64s}` where `ledger` serves it / build both with the same WIT package"
        )]
    );
    assert_eq!(
        told(APP, &books("acme:ledger/book@1.0.0", shapes("acme:ledger/book@1.0.0", BALANCE))),
        ["12:16: the WIT in ./wit has no interface acme:ledger/book@1.2.0 / did you mean `acme:ledger/book@1.0.0`?"]
    );
    let unlinked = with("      links: { acme:ledger/book: ledger }\n", "");
    assert_eq!(
        told(&unlinked, &good()),
        [
            "6:5: `front` imports acme:ledger/book@1.0.0, and no link satisfies it / add `links: { acme:ledger/book: ledger }`: `ledger` serves it"
        ]
    );
}

#[test]
fn the_keys_of_a_program_are_checked() {
    for (from, to, expected) in [
        (
            "      image: ./ledger.py\n",
            "",
            "10:5: `ledger` has neither `use` nor `image` / add `use:` one of http-server, http-client, keyvalue-memory, keyvalue-redb, keyvalue-nats, keyvalue-redis, keyvalue-postgres, postgres, messaging-nats, cron, blob-memory, blob-s3, blob-azure, blob-gcs, blob-nats, blob-fs, or `image:` and a program of your own",
        ),
        (
            "      image: ./ledger.py\n",
            "      image: ./ledger.py\n      use: keyvalue-memory\n",
            "12:12: `use` and `image` exclude each other / keep `image` for a program of your own, `use` for any other provider",
        ),
        (
            "      serves: [acme:ledger/book@1.2.0]\n",
            "      serves: [acme:ledger]\n",
            "12:16: \"acme:ledger\" is not a WIT interface of the form namespace:package/name[@version] / write namespace:package/interface@version, as in acme:ledger/book@1.0.0",
        ),
        (
            "      env: { PYTHONPATH: /opt }\n",
            "      env: { A=B: x }\n",
            "14:14: `A=B` cannot be a variable's name / write a name without `=`",
        ),
        (
            "      wit: ./wit\n",
            "      wit: ./wit\n      isolate: host\n",
            "14:16: a program of your own always is a process of its own / remove `isolate:`",
        ),
        (
            "      wit: ./wit\n",
            "      wit: ./wit\n      routes: { /: front }\n",
            "14:17: a program has no routes / only http-server has `routes:`",
        ),
        (
            "links: { acme:ledger/book: ledger }",
            "links: { acme:ledger/book: { to: ledger, transport: local } }",
            "8:59: `ledger` is a program, a process of its own: a call of it is never local / remove `transport: local`",
        ),
        (
            "links: { acme:ledger/book: ledger }",
            "links: { acme:ledger/book: { to: ledger, transport: fused } }",
            "8:59: `ledger` is a provider; only a component can be fused into `front` / remove `transport: fused`",
        ),
        (
            "  providers:\n",
            "  providers:\n    cache: { use: keyvalue-memory, env: { A: b } }\n",
            "10:43: `env` is not for a provider with `use` / it belongs to a provider with `image:`, a program of your own; remove it",
        ),
        (
            "  providers:\n",
            "  providers:\n    web: { use: http-server, config: { address: 127.0.0.1:80 }, routes: { /: ledger } }\n",
            "10:78: `ledger` is a provider, which answers no HTTP requests / route to a component",
        ),
    ] {
        let found = told(&with(from, to), &good());
        assert!(found.iter().any(|problem| problem == expected), "{expected}\nis not in\n{found:#?}");
    }
    let silent = told(&with("      serves: [acme:ledger/book@1.2.0]\n", ""), &good());
    assert!(
        silent[1].starts_with("10:5: `ledger` does not say what it serves / add `serves: [namespace:package/"),
        "{silent:?}"
    );
    let twice = with("[acme:ledger/book@1.2.0]", "[acme:ledger/book@1.2.0, acme:ledger/book@1.2.0]");
    assert_eq!(told(&twice, &good()), ["12:40: `acme:ledger/book@1.2.0` stands here twice / remove one of the two"]);
}
