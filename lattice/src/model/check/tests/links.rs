//! Links from component to component, and the options of links.

use super::*;
use crate::model::{
    app::{LinkSpec, Transport},
    shape::{FunctionShape, ResourceName},
};

/// `cart` imports a quote, a session and a store; `pricing` and `other` export what the tests say.
const APP: &str = r"apiVersion: lattice/v1
kind: App
metadata: { name: shop }
spec:
  components:
    cart:
      image: ./cart.wasm
      links:
        acme:pricing: pricing
        wasi:keyvalue: cache
    pricing: { image: ./pricing.wasm }
    other: { image: ./other.wasm }
  providers:
    cache: { use: keyvalue-memory }
";

type Interfaces<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

/// Interfaces with functions. A word `a:b/c.d` in a signature is a resource.
fn shapes(interfaces: Interfaces<'_>) -> BTreeMap<Interface, InterfaceShape> {
    let function = |(name, signature): &(&str, &str)| {
        let words = signature.split(|c: char| !c.is_ascii_alphanumeric() && !":/.-".contains(c));
        let resource = |word: &str| {
            let (interface, name) = word.split_once('.')?;
            Some(ResourceName { interface: interface.to_owned(), name: name.to_owned() })
        };
        let resources = words.filter_map(resource).collect();
        ((*name).to_owned(), FunctionShape { signature: (*signature).to_owned(), resources, stuck: None })
    };
    let shape = |functions: &[_]| InterfaceShape { functions: functions.iter().map(function).collect() };
    interfaces.iter().map(|(interface, functions)| (interface.parse().unwrap(), shape(functions))).collect()
}

fn component(imports: Interfaces<'_>, exports: Interfaces<'_>) -> ComponentFacts {
    let (import_shapes, export_shapes) = (shapes(imports), shapes(exports));
    ComponentFacts {
        digest: Digest::of(b""),
        imports: import_shapes.keys().cloned().collect(),
        exports: export_shapes.keys().cloned().collect(),
        import_shapes,
        export_shapes,
        wit: None,
    }
}

const PRICE: (&str, &str) = ("price", "func(article: string) -> u64");
const QUOTE: Interfaces<'_> = &[("acme:pricing/quote@1.1.0", &[PRICE])];
const STORE: (&str, &[(&str, &str)]) = (
    "wasi:keyvalue/store@0.2.0-draft",
    &[("open", "func(name: string) -> wasi:keyvalue/store.bucket"), ("[method]bucket.get", "func() -> list<u8>")],
);

fn app(imports: Interfaces<'_>, exports: Interfaces<'_>) -> BTreeMap<String, ComponentFacts> {
    let imports: Vec<_> = imports.iter().chain([&STORE]).copied().collect();
    let web: Interfaces<'_> = &[("wasi:http/incoming-handler@0.2.3", &[])];
    let exports: Vec<_> = exports.iter().chain(web).copied().collect();
    BTreeMap::from([
        ("cart".to_owned(), component(&imports, web)),
        ("pricing".to_owned(), component(&[], &exports)),
        ("other".to_owned(), component(&[], &[])),
    ])
}

fn told(text: &str, facts: &BTreeMap<String, ComponentFacts>) -> Vec<String> {
    match parse(text) {
        Err(problem) => vec![show(&problem)],
        Ok(manifest) => check(&manifest, facts, &[]).err().into_iter().flatten().map(|p| show(&p)).collect(),
    }
}

/// `APP` with one line for another.
#[track_caller]
fn with(from: &str, to: &str) -> String {
    assert!(APP.contains(from), "the manifest has {from:?}");
    APP.replacen(from, to, 1)
}

fn links(text: &str, facts: &BTreeMap<String, ComponentFacts>) -> (Vec<LinkSpec>, Vec<String>) {
    let app = check(&parse(text).unwrap(), facts, &[]).unwrap();
    let UnitSpec::Component(cart) = &app.units[&"cart".parse().unwrap()] else { panic!("cart is a component") };
    (cart.links.clone(), app.notes)
}

#[test]
fn a_component_serves_another_of_a_compatible_version() {
    let facts = app(QUOTE, &[("acme:pricing/quote@1.4.2", &[PRICE, ("more", "func()")])]);
    let (links, notes) = links(APP, &facts);
    assert_eq!((links[0].interface.as_str(), links[0].to.to_string()), ("acme:pricing", "shop/pricing".to_owned()));
    assert!(notes.is_empty());
    // Older, and of another track.
    for (export, help) in [
        ("1.0.9", "`pricing` is older than what `cart` was built for: build it with version 1.1.0 or newer"),
        (
            "2.0.0",
            "build `pricing` with a version compatible with 1.1.0, or `cart` with the version that `pricing` exports",
        ),
    ] {
        let export = format!("acme:pricing/quote@{export}");
        assert_eq!(
            told(APP, &app(QUOTE, &[(&export, &[PRICE])])),
            [format!(
                "9:23: `cart` imports acme:pricing/quote@1.1.0, and `pricing` exports {export}, which does not serve it / {help}"
            )]
        );
    }
    // Of two exports the one that fits.
    let both: Interfaces<'_> = &[("acme:pricing/quote@1.4.2", &[PRICE]), ("acme:pricing/quote@2.0.0", &[])];
    assert!(told(APP, &app(QUOTE, both)).is_empty());
}

#[test]
fn every_interface_of_the_link_is_asked_for() {
    let two: Interfaces<'_> = &[QUOTE[0], ("acme:pricing/audit@1.0.0", &[("log", "func()")])];
    assert_eq!(
        told(APP, &app(two, QUOTE)),
        [
            "9:23: `pricing` does not export acme:pricing/audit@1.0.0, which `cart` imports / `pricing` exports acme:pricing/quote@1.1.0, wasi:http/incoming-handler@0.2.3"
        ]
    );
    // An interface with a link of its own does not go by that of its package.
    let own = with("acme:pricing: pricing", "acme:pricing: pricing\n        acme:pricing/audit: other");
    let mut facts = app(two, QUOTE);
    facts.insert("other".to_owned(), component(&[], &[two[1]]));
    assert_eq!(told(&own, &facts), Vec::<String>::new());
    assert!(
        told(APP, &facts)[0].ends_with("/ link acme:pricing/audit to `other`, which exports it"),
        "{:?}",
        told(APP, &facts)
    );
}

#[test]
fn functions_must_be_there_with_the_same_type() {
    let other: Interfaces<'_> = &[("acme:pricing/quote@1.1.0", &[("price", "func(article: string) -> s64")])];
    assert_eq!(
        told(APP, &app(QUOTE, other)),
        [
            "9:23: `price` of acme:pricing/quote@1.1.0 is `func(article: string) -> u64` where `cart` imports it, and `func(article: string) -> s64` where `pricing` exports it / build both with the same WIT package"
        ]
    );
    let missing: Interfaces<'_> = &[("acme:pricing/quote@1.1.0", &[("prices", PRICE.1)])];
    assert_eq!(
        told(APP, &app(QUOTE, missing)),
        [
            "9:23: `pricing` exports acme:pricing/quote without `price`, which `cart` imports as `func(article: string) -> u64` / did you mean `prices`?"
        ]
    );
}

#[test]
fn resources_cross_only_when_their_owner_is_the_same_unit() {
    let foreign: Interfaces<'_> =
        &[("acme:pricing/quote@1.1.0", &[("read", "func(from: wasi:io/streams.input-stream)")])];
    let facts = app(foreign, foreign);
    assert_eq!(
        told(APP, &facts),
        [
            "9:23: `read` of acme:pricing/quote@1.1.0 takes or returns the resource wasi:io/streams.input-stream, which cannot cross from one component to another / only resources that `pricing` exports itself can: pass bytes or a stream, or write `transport: fused`"
        ]
    );
    let fused = with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: fused }");
    assert_eq!(told(&fused, &facts), Vec::<String>::new(), "fused components live in one store");
    let own: Interfaces<'_> = &[
        ("acme:pricing/quote@1.1.0", &[("use", "func(s: borrow<acme:pricing/sessions.session>)")]),
        ("acme:pricing/sessions@1.1.0", &[("[constructor]session", "func() -> acme:pricing/sessions.session")]),
    ];
    let mut facts = app(own, own);
    assert_eq!(told(APP, &facts), Vec::<String>::new());
    facts.insert("other".to_owned(), component(&[], own));
    let apart = with("acme:pricing: pricing", "acme:pricing: pricing\n        acme:pricing/sessions: other");
    let found = told(&apart, &facts);
    assert!(found.len() == 1 && found[0].ends_with("/ link acme:pricing/sessions to `pricing` as well"), "{found:?}");
    // Where two may make one, it must be possible to give it to both.
    let shares = "acme:pricing: { to: { pricing: 1, other: 1 } }";
    assert_eq!(told(&with("acme:pricing: pricing", shares), &facts), Vec::<String>::new());
    let apart = "acme:pricing: pricing\n        acme:pricing/sessions: { to: { pricing: 1, other: 1 } }";
    let found = told(&with("acme:pricing: pricing", apart), &facts);
    assert!(
        found.len() == 1 && found[0].contains("takes or returns the resource acme:pricing/sessions.session"),
        "{found:?}"
    );
}

#[test]
fn a_value_that_cannot_leave_a_component_is_refused_unless_both_are_one() {
    let relay: Interfaces<'_> = &[("acme:pricing/quote@1.1.0", &[("relay", "func(s: stream<stream<u8>>)")])];
    let mut facts = app(relay, relay);
    let quote = facts.get_mut("cart").unwrap().import_shapes.values_mut().next().unwrap();
    quote.functions.get_mut("relay").unwrap().stuck = Some("a stream of streams");
    let found = told(APP, &facts);
    assert!(found.len() == 1 && found[0].contains("has a stream of streams, which cannot cross"), "{found:?}");
    let fused = "acme:pricing: { to: pricing, transport: fused }";
    assert!(told(&with("acme:pricing: pricing", fused), &facts).is_empty());
}

#[test]
fn an_interface_of_no_package_is_linked_by_its_name() {
    let inline: Interfaces<'_> = &[("quote", &[PRICE]), ("$root", &[PRICE])];
    let link = |links: &str| told(&with("acme:pricing: pricing", links), &app(inline, inline));
    assert_eq!(link("quote: pricing\n        $root: pricing"), Vec::<String>::new());
    let found = link("quote: pricing");
    assert!(found.len() == 1 && found[0].contains("imports the functions `price` by themselves ($root)"), "{found:?}");
}

#[test]
fn a_component_may_take_the_place_of_a_provider() {
    let facts = app(QUOTE, &[QUOTE[0], STORE]);
    assert_eq!(told(&with("wasi:keyvalue: cache", "wasi:keyvalue: pricing"), &facts), Vec::<String>::new());
    let other = app(QUOTE, &[QUOTE[0], (STORE.0, &[STORE.1[0]])]);
    let found = told(&with("wasi:keyvalue: cache", "wasi:keyvalue: pricing"), &other);
    assert!(found[0].contains("without `[method]bucket.get`, which `cart` imports as"), "{found:?}");
}

#[test]
fn what_a_component_holds_does_not_go_to_a_provider() {
    let atomics = ("wasi:keyvalue/atomics@0.2.0-draft", [("increment", "func(b: borrow<wasi:keyvalue/store.bucket>)")]);
    let imports: Interfaces<'_> = &[QUOTE[0], (atomics.0, &atomics.1)];
    let facts = app(imports, &[QUOTE[0], STORE, (atomics.0, &atomics.1)]);
    let apart = with("wasi:keyvalue: cache", "wasi:keyvalue/store: pricing\n        wasi:keyvalue/atomics: cache");
    assert_eq!(
        told(&apart, &facts),
        [
            "11:32: wasi:keyvalue/atomics@0.2.0-draft takes or returns the resource wasi:keyvalue/store.bucket, which `pricing` holds: it cannot go to `cache` / link wasi:keyvalue/store and wasi:keyvalue/atomics to the same unit"
        ]
    );
    for together in ["cache", "pricing"] {
        let text = with("wasi:keyvalue: cache", &format!("wasi:keyvalue: {together}"));
        assert_eq!(told(&text, &facts), Vec::<String>::new());
    }
}

#[test]
fn what_cannot_be_linked_is_told() {
    let facts = app(QUOTE, QUOTE);
    for (from, to, expected) in [
        (
            "acme:pricing: pricing",
            "acme:pricing: cart",
            "9:23: `cart` cannot be linked to itself / link it to another unit that serves the interface",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: cache",
            "9:23: `cache` is a keyvalue-memory, which does not serve `acme:pricing` / link it to `pricing`, which exports it",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: bank/pricing",
            "9:23: there is no app `bank` / there are none to choose from",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: shop/pricing",
            "9:23: `shop/pricing` is written as a unit of another app / write `pricing`",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: []",
            "9:9: `acme:pricing` has an empty list of links / name a unit, or remove the key",
        ),
        (
            "        acme:pricing: pricing\n",
            "",
            "6:5: `cart` imports acme:pricing/quote@1.1.0, and no link satisfies it / add `links: { acme:pricing/quote: pricing }`: `pricing` exports it",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: { to: pricing, transport: fast }",
            "9:49: unknown value `fast` / known are `auto`, `local`, `fused`, `lattice`",
        ),
        (
            "acme:pricing: pricing",
            "acme:pricing: { to: pricing, retry: 3 }",
            "9:38: unknown key `retry` / known are `to`, `name`, `transport`, `deadline`, `idempotent`, `allow`",
        ),
    ] {
        assert_eq!(told(&with(from, to), &facts), [expected], "{to}");
    }
}

#[test]
fn options_of_links_are_read_and_checked() {
    let facts = app(QUOTE, QUOTE);
    let text = with(
        "acme:pricing: pricing",
        "acme:pricing/quote: { to: pricing, transport: lattice, deadline: 200ms, idempotent: [price], name: main }",
    )
    .replace("wasi:keyvalue: cache", "wasi:keyvalue: [cache, { name: archive, to: old, idempotent: \"*\" }]")
        + "    old: { use: keyvalue-memory }\n";
    let (links, notes) = links(&text, &facts);
    let quote = &links[0];
    assert_eq!((quote.name.as_str(), quote.transport, quote.deadline_ms), ("main", Transport::Lattice, Some(200)));
    assert_eq!((&quote.idempotent, &links[2].idempotent), (&vec!["price".to_owned()], &vec!["*".to_owned()]));
    let names: Vec<_> = links[1..].iter().map(|l| (l.name.as_str(), l.to.unit.as_str())).collect();
    assert_eq!(names, [("default", "cache"), ("archive", "old")]);
    assert_eq!(
        notes,
        ["`cart` has no default link for acme:pricing/quote: calls in which it does not choose `main` fail"]
    );
    // The default may stand under the package.
    let both =
        with("acme:pricing: pricing", "acme:pricing: pricing\n        acme:pricing/quote: { to: pricing, name: b }");
    assert!(self::links(&both, &facts).1.is_empty());
    for (list, expected) in [
        (
            "[pricing, pricing]",
            "9:33: two links of `acme:pricing` have no name / give each a name of its own, as in `{ name: archive, to: old }`",
        ),
        (
            "[pricing, { to: pricing, name: default }]",
            "9:54: two links of `acme:pricing` are named `default` / give each a name of its own, as in `{ name: archive, to: old }`",
        ),
        (
            "[{ to: pricing, name: \"a b\" }]",
            "9:45: `a b` cannot be the name of a link / write 1 to 63 letters, digits, `-`, `_` or `.`",
        ),
        ("{ to: pricing, idempotent: [pric] }", "9:51: `acme:pricing` has no function `pric` / did you mean `price`?"),
        (
            "{ to: pricing, deadline: soon }",
            "9:48: `soon` is not a time / write a number above 0 with ms, s or m, as in `200ms` or `5s`",
        ),
    ] {
        let list = format!("acme:pricing: {list}");
        let found: Vec<_> = told(&with("acme:pricing: pricing", &list), &facts);
        assert_eq!(found, [expected], "{list}");
    }
}

#[test]
fn local_links_need_placements_that_meet() {
    let facts = app(QUOTE, QUOTE);
    let zone = |of: &str, zones: &str| {
        with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: local }")
            .replace(
                "      image: ./cart.wasm",
                "      image: ./cart.wasm\n      placement: { require: { zone: [a, b] } }",
            )
            .replace(
                &format!("{of}: {{ image: ./{of}.wasm }}"),
                &format!("{of}: {{ image: ./{of}.wasm, placement: {{ require: {{ {zones} }} }} }}"),
            )
    };
    assert_eq!(told(&zone("pricing", "zone: [b, c]"), &facts), Vec::<String>::new());
    assert_eq!(told(&zone("pricing", "disk: [ssd]"), &facts), Vec::<String>::new());
    assert_eq!(
        told(&zone("pricing", "zone: [c]"), &facts),
        [
            "10:49: `cart` and `pricing` are never on the same host: their placements require zone to be a or b and c / let the placements meet, or write `transport: lattice`"
        ]
    );
}

#[test]
fn a_local_link_needs_a_copy_to_lead_to() {
    let facts = app(QUOTE, QUOTE);
    let least = |min: u32| {
        let replicas = format!("pricing: {{ image: ./pricing.wasm, replicas: {{ min: {min}, max: 3, inFlight: 9 }} }}");
        with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: local }")
            .replace("pricing: { image: ./pricing.wasm }", &replicas)
    };
    assert_eq!(told(&least(1), &facts), Vec::<String>::new());
    let found = told(&least(0), &facts);
    assert!(found.len() == 1 && found[0].contains("`pricing` may have no copy while nobody calls it"), "{found:?}");
}

#[test]
fn what_is_fused_is_one_component_alone() {
    let facts = app(QUOTE, QUOTE);
    let fused = with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: fused }");
    assert_eq!(told(&fused, &facts), Vec::<String>::new());
    let cases = [
        (
            fused.replace("wasi:keyvalue: cache", "wasi:keyvalue: { to: cache, transport: fused }"),
            "10:48: `cache` is a provider; only a component can be fused into `cart` / write `transport: local` to stay inside the host",
        ),
        (
            fused.replace("./pricing.wasm }", "./pricing.wasm, placement: { require: { zone: [a] } } }"),
            "9:49: `pricing` cannot be fused into `cart`: they have different placements / give both the same `placement:`, or leave `transport:` out (`pricing` stays apart)",
        ),
        (
            fused.clone()
                + "    web: { use: http-server, config: { address: \"127.0.0.1:80\" }, routes: { /p: pricing } }\n",
            "9:49: `pricing` cannot be fused into `cart`: it is also called by the route `/p` of `web` / what is fused is a part of `cart`, not the `pricing` that others reach: write `transport: local`, or make a second unit of the same image",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(told(&text, &facts), [expected]);
    }
    let scheduled = fused.clone() + "    clock: { use: cron, schedules: { nightly: { to: pricing, every: 1h } } }\n";
    let found = told(&scheduled, &facts);
    assert!(found.iter().any(|told| told.contains("also called by the schedule `nightly` of `clock`")), "{found:?}");
    let mut facts = app(QUOTE, QUOTE);
    facts.insert("other".to_owned(), component(QUOTE, &[]));
    let twice = fused.replace("./other.wasm }", "./other.wasm, links: { acme:pricing: pricing } }");
    let found = told(&twice, &facts);
    assert!(
        found.len() == 1 && found[0].contains("it is also called by a link of `other` that is not fused"),
        "{found:?}"
    );
    let both = twice.replace("acme:pricing: pricing }", "acme:pricing: { to: pricing, transport: fused } }");
    assert_eq!(told(&both, &facts), Vec::<String>::new());
}

#[test]
fn circles_are_allowed_unless_they_are_fused() {
    let mut facts = app(QUOTE, QUOTE);
    let back: Interfaces<'_> = &[("acme:cart/events@1.0.0", &[("changed", "func()")])];
    facts.insert("pricing".to_owned(), component(back, QUOTE));
    let cart = facts.get_mut("cart").unwrap();
    cart.export_shapes.extend(shapes(back));
    cart.exports.extend(shapes(back).into_keys());
    let circle = with("./pricing.wasm }", "./pricing.wasm, links: { acme:cart: cart } }");
    assert_eq!(told(&circle, &facts), Vec::<String>::new());
    let fused = circle
        .replace("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: fused }")
        .replace("acme:cart: cart", "acme:cart: { to: cart, transport: fused }");
    assert_eq!(
        told(&fused, &facts),
        ["9:49: fused links lead in a circle: cart -> pricing -> cart / write `transport: local` for one of them"]
    );
}

#[test]
fn a_fused_part_brings_its_own_imports_and_links() {
    let mut facts = app(QUOTE, QUOTE);
    let fused = with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: fused }");
    facts.insert("pricing".to_owned(), component(&[STORE], QUOTE));
    let same = fused.replace("./pricing.wasm }", "./pricing.wasm, links: { wasi:keyvalue: cache } }");
    let checked = check(&parse(&same).unwrap(), &facts, &[]).unwrap();
    let UnitSpec::Component(cart) = &checked.units[&"cart".parse().unwrap()] else { panic!("cart is a component") };
    assert!(cart.imports.iter().any(|import| import.package() == "acme:pricing"));
    let whole = cart.composed();
    let imports: Vec<_> = whole.imports.iter().map(ToString::to_string).collect();
    assert_eq!(imports, ["wasi:keyvalue/store@0.2.0-draft"], "what is fused is imported from nobody");
    assert!(whole.links.iter().all(|link| link.fused.is_none() && link.to.unit.to_string() == "cache"));
    // The whole has one import of each interface, so its parts must agree on who serves it.
    let other = fused.replace("./pricing.wasm }", "./pricing.wasm, links: { wasi:keyvalue: second } }")
        + "    second: { use: keyvalue-memory }\n";
    let problems = told(&other, &facts);
    assert!(problems[0].contains("`cart` would import wasi:keyvalue/store@0.2.0-draft from both"), "{problems:?}");
}

#[test]
fn the_longer_pattern_decides_in_each_part_of_what_is_fused() {
    let both: Interfaces<'_> = &[("acme:pricing/quote@1.1.0", &[PRICE]), ("acme:pricing/tax@1.1.0", &[PRICE])];
    let mut facts = app(both, both);
    facts.insert("other".to_owned(), component(&[STORE], both));
    // All of the package is fused but one interface, and what is fused leads the store elsewhere by a shorter pattern.
    let text = with(
        "acme:pricing: pricing",
        "acme:pricing: { to: other, transport: fused }\n        acme:pricing/quote: pricing",
    )
    .replace("./other.wasm }", "./other.wasm, links: { wasi:keyvalue: second, wasi:keyvalue/store: cache } }")
        + "    second: { use: keyvalue-memory }\n";
    let (links, _) = links(&text, &facts);
    assert!(links.iter().any(|link| link.fused.is_some()), "{links:?}");
    let checked = check(&parse(&text).unwrap(), &facts, &[]).unwrap();
    let UnitSpec::Component(cart) = &checked.units[&"cart".parse().unwrap()] else { panic!("cart is a component") };
    let whole = cart.composed();
    let goes: Vec<_> = whole.links.iter().map(|link| (link.interface.as_str(), link.to.unit.as_str())).collect();
    assert_eq!(
        goes,
        [
            ("acme:pricing/quote@1.1.0", "pricing"),
            ("wasi:keyvalue/store@0.2.0-draft", "cache"),
            ("wasi:keyvalue/store@0.2.0-draft", "cache")
        ]
    );
    let imports: Vec<_> = whole.imports.iter().map(ToString::to_string).collect();
    assert_eq!(imports, ["acme:pricing/quote@1.1.0", "wasi:keyvalue/store@0.2.0-draft"]);
    // The shorter pattern decides where the longer one is of another name, and a fused part cannot be chosen.
    let named = text.replace("acme:pricing/quote: pricing", "acme:pricing/quote: { to: pricing, name: b }");
    let problems = told(&named, &facts);
    assert_eq!(
        problems,
        [
            "6:5: `cart` cannot choose between `other` and `pricing` for acme:pricing/quote@1.1.0: once one of them is fused, it is all there is / keep one of the links, or write `transport: local` for the fused one"
        ]
    );
}

#[test]
fn compatible_versions_of_an_import_are_one_once_fused() {
    let mut facts = app(QUOTE, QUOTE);
    let fused =
        with("acme:pricing: pricing", "acme:pricing: { to: pricing, transport: fused }\n        acme:tax: other");
    let tax = |version: &str| format!("acme:tax/rate@{version}");
    let (older, newer) = (tax("1.0.0"), tax("1.1.0"));
    let facts_of = |imports: &str, exports: Interfaces<'_>| component(&[(imports, &[PRICE])], exports);
    facts.insert("pricing".to_owned(), facts_of(&newer, QUOTE));
    facts.insert("other".to_owned(), component(&[], &[(&newer, &[PRICE])]));
    facts.insert("second".to_owned(), component(&[], &[(&newer, &[PRICE])]));
    let cart = facts.get_mut("cart").unwrap();
    cart.import_shapes.extend(shapes(&[(&older, &[PRICE])]));
    cart.imports.push(older.parse().unwrap());
    let text = fused.replace(
        "./pricing.wasm }",
        "./pricing.wasm, links: { acme:tax: second } }\n    second: { image: ./second.wasm }",
    );
    let problems = told(&text, &facts);
    assert!(problems.len() == 1 && problems[0].contains("`cart` would import acme:tax/rate@1"), "{problems:?}");
    assert_eq!(told(&text.replace("acme:tax: second", "acme:tax: other"), &facts), Vec::<String>::new());
}

#[test]
fn an_import_goes_to_components_or_to_providers() {
    let mut facts = app(&[], &[]);
    facts.insert("other".to_owned(), component(&[], &[STORE]));
    let text = with("acme:pricing: pricing", "wasi:keyvalue/store: { to: other, name: mine }");
    assert_eq!(
        told(&text, &facts)[0],
        "6:5: `cart` is linked for wasi:keyvalue/store@0.2.0-draft to `other`, a component, and to `cache`, a provider / link all names of one interface to units of one kind"
    );
    // The longer pattern alone decides for one name.
    assert_eq!(told(&text.replace(", name: mine", ""), &facts), Vec::<String>::new());
}

#[test]
fn calls_are_shared_out_by_weight() {
    let mut facts = app(QUOTE, &[("acme:pricing/quote@1.4.2", &[PRICE])]);
    facts.insert("other".to_owned(), component(&[], &[("acme:pricing/quote@1.4.2", &[PRICE])]));
    let line = "acme:pricing: pricing";
    let (links, _) = links(&with(line, "acme:pricing: { to: { pricing: 90, other: 10 }, deadline: 1s }"), &facts);
    let shares: Vec<_> = links.iter().filter(|link| link.interface == "acme:pricing").collect();
    assert_eq!(
        shares.iter().map(|link| (link.to.unit.as_str(), link.weight)).collect::<Vec<_>>(),
        [("pricing", Some(90)), ("other", Some(10))]
    );
    assert!(shares.iter().all(|link| link.name == "default" && link.deadline_ms == Some(1000)));
    for (link, problem) in [
        ("{ to: { pricing: 0, other: 0 } }", "the weights of the link `default` of `acme:pricing` add up to 0"),
        ("{ to: {} }", "`acme:pricing` has an empty list of links"),
        ("{ to: { pricing: 1, othr: 1 } }", "there is no unit `othr` / did you mean `other`?"),
        ("[{ to: { pricing: 1 } }, other]", "two links of `acme:pricing` have no name"),
        (
            "{ to: { pricing: 1, other: 1 }, transport: fused }",
            "`pricing` cannot be a part of `cart` and have a share of its calls",
        ),
        ("{ to: { pricing: 1, cache: 1 } }", "which does not serve `acme:pricing`"),
    ] {
        let told = told(&with(line, &format!("acme:pricing: {link}")), &facts);
        assert!(told.iter().any(|told| told.contains(problem)), "{link}: {told:?}");
    }
    let stores = told(&with("wasi:keyvalue: cache", "wasi:keyvalue: { to: { cache: 1 } }"), &facts);
    assert!(stores[0].contains("what it keeps is nowhere else"), "{stores:?}");
}
