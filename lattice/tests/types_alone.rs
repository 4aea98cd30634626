//! Imports that have types and no functions: nobody needs to be behind them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use lattice::{
    model::{
        check::{ComponentFacts, check},
        manifest::parse,
        shape::{FunctionShape, InterfaceShape},
    },
    wire::{Digest, Interface},
};

/// What `apply` has to say of a component with these imports, each with or without a function.
fn told(links: &str, imports: &[(&str, bool)]) -> Vec<String> {
    let manifest = format!(
        "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec:\n  components:\n    cart: {{ image: ./cart.wasm, links: {{ {links} }} }}\n    \
         other: {{ image: ./other.wasm }}\n  providers:\n    db: {{ use: postgres, config: {{ url: \"postgres://127.0.0.1/db\" }} }}\n"
    );
    let shape = |name: &str, called: bool| {
        let function = FunctionShape { signature: "func()".into(), resources: Default::default(), stuck: None };
        let functions = called.then(|| ("run".to_owned(), function)).into_iter().collect();
        (name.parse::<Interface>().unwrap(), InterfaceShape { functions })
    };
    let component =
        |import_shapes: BTreeMap<Interface, InterfaceShape>, export_shapes: BTreeMap<_, _>| ComponentFacts {
            digest: Digest::of(b""),
            imports: import_shapes.keys().cloned().collect(),
            exports: export_shapes.keys().cloned().collect(),
            import_shapes,
            export_shapes,
            wit: None,
        };
    let facts = BTreeMap::from([
        (
            "cart".to_owned(),
            component(imports.iter().map(|(name, called)| shape(name, *called)).collect(), BTreeMap::new()),
        ),
        ("other".to_owned(), component(BTreeMap::new(), BTreeMap::from([shape("acme:book/pages@1.0.0", true)]))),
    ]);
    let problems = check(&parse(&manifest).unwrap(), &facts, &[]).err().unwrap_or_default();
    problems.into_iter().map(|problem| problem.message).collect()
}

const QUERY: (&str, bool) = ("wasmcloud:postgres/query@0.1.1-draft", true);
const TYPES: (&str, bool) = ("wasmcloud:postgres/types@0.1.1-draft", false);

#[test]
fn a_provider_needs_not_serve_types() {
    for links in ["wasmcloud:postgres: db", "wasmcloud:postgres/query: db"] {
        assert!(told(links, &[QUERY, TYPES]).is_empty(), "{links}: {:?}", told(links, &[QUERY, TYPES]));
    }
    let missing = told("", &[QUERY, TYPES]);
    assert_eq!(missing, ["`cart` imports wasmcloud:postgres/query@0.1.1-draft, and no link satisfies it"]);
    // Of another version, and with a function that nobody knows.
    assert_eq!(told("wasmcloud:postgres: db", &[("wasmcloud:postgres/query@0.2.0", true)]).len(), 1);
    assert_eq!(told("wasmcloud:postgres: db", &[QUERY, ("wasmcloud:postgres/types@0.1.1-draft", true)]).len(), 1);
}

#[test]
fn a_component_needs_not_export_types() {
    let imports = [("acme:book/pages@1.0.0", true), ("acme:book/types@1.0.0", false)];
    assert!(told("acme:book: other", &imports).is_empty(), "{:?}", told("acme:book: other", &imports));
}
