//! Components that are told of changes.

use super::*;

const WATCHED: &str = r#"apiVersion: lattice/v1
kind: App
metadata: { name: shop }
spec:
  components:
    cart: { image: ./cart.wasm, limits: { timeout: 3s }, links: { wasi:keyvalue: cache } }
  providers:
    cache: { use: keyvalue-nats, watches: { default: cart } }
"#;

/// The cart exports what it takes to be told.
fn told(source: &str) -> Result<CheckedApp, Vec<String>> {
    let mut facts = facts();
    for facts in facts.values_mut() {
        facts.exports.push("wasi:keyvalue/watcher@0.2.0-draft".parse().unwrap());
    }
    check(&parse(source).unwrap(), &facts, &[]).map_err(|problems| problems.iter().map(show).collect())
}

#[test]
fn a_watch_tells_a_component_within_its_time() {
    let app = told(WATCHED).unwrap();
    let UnitSpec::Provider(cache) = &app.units[&"cache".parse().unwrap()] else { panic!("cache is a provider") };
    let [watch] = &cache.watches[..] else { panic!("there is one watch") };
    assert_eq!(
        (watch.bucket.as_str(), watch.to.to_string().as_str(), watch.timeout_ms),
        ("default", "shop/cart", 3000)
    );
}

#[test]
fn what_cannot_be_told_is_refused() {
    for (from, to, expected) in [
        (
            "watches",
            "isolate: process, watches",
            "8:63: a provider with watches runs only inside the host / remove `isolate: process`, or give the watches to another provider",
        ),
        ("default: cart", "default: cat", "8:54: there is no unit `cat` / did you mean `cart`?"),
        (
            "default: cart",
            "default: cache",
            "8:54: `cache` is a provider, which is told of no changes / name a component",
        ),
    ] {
        assert_eq!(told(&WATCHED.replacen(from, to, 1)).unwrap_err(), [expected]);
    }
    let found = told(&WATCHED.replacen("keyvalue-nats", "blob-memory", 1)).unwrap_err();
    let expected = "8:43: blob-memory has no watches / only a key-value store has `watches:`";
    assert!(found.iter().any(|told| told == expected), "{found:?}");
    assert_eq!(
        problems(WATCHED),
        ["8:54: `cart` does not export wasi:keyvalue/watcher@0.2.0-draft, so it cannot be told of changes / -"]
    );
}
