//! Units that one app has and another one uses.

use super::*;

/// Owns a store and a component.
const OWNER: &str = r#"apiVersion: lattice/v1
kind: App
metadata: { name: platform }
spec:
  components:
    cart: { image: ./cart.wasm, links: { wasi:keyvalue: cache } }
  providers:
    cache: { use: keyvalue-memory, share: [shop, billing] }
    ledger: { use: keyvalue-memory, share: { with: all, data: common } }
    private: { use: keyvalue-memory }
"#;

/// Uses the store of another app.
const USER: &str = r#"apiVersion: lattice/v1
kind: App
metadata: { name: shop }
spec:
  components:
    cart: { image: ./cart.wasm, links: { wasi:keyvalue: platform/cache } }
"#;

fn record(source: &str, others: &[AppRecord]) -> AppRecord {
    let app = check(&parse(source).unwrap(), &facts(), others).unwrap();
    AppRecord::next(app.name, None, source.to_owned(), app.labels, app.units, app.shares).unwrap()
}

fn problems_beside(source: &str, others: &[AppRecord]) -> Vec<String> {
    match parse(source).map_err(|problem| vec![problem]).and_then(|manifest| check(&manifest, &facts(), others)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(show).collect(),
    }
}

#[test]
fn a_link_may_lead_to_what_another_app_shares() {
    let owner = record(OWNER, &[]);
    let link = |to: &str, user: &str| {
        let source = USER.replacen("platform/cache", to, 1).replacen("shop", user, 1);
        let UnitSpec::Component(cart) =
            &record(&source, std::slice::from_ref(&owner)).units[&"cart".parse().unwrap()].spec
        else {
            panic!("cart is a component")
        };
        (cart.links[0].to.to_string(), cart.links[0].own_names)
    };
    assert_eq!(link("platform/cache", "shop"), ("platform/cache".to_owned(), true));
    assert_eq!(link("platform/ledger", "anybody"), ("platform/ledger".to_owned(), false));
    // The owner's own buckets are what they were.
    let UnitSpec::Component(own) = &owner.units[&"cart".parse().unwrap()].spec else { panic!("cart is a component") };
    assert!(!own.links[0].own_names);
}

#[test]
fn what_is_not_shared_is_not_there() {
    let owner = record(OWNER, &[]);
    for (to, expected) in [
        (
            "platform/private",
            "6:57: `platform/private` is not shared with `shop` / app `platform` has to say so: `share: [shop]` beside its unit `private`",
        ),
        ("platform/cash", "6:57: app `platform` has no unit `cash` / did you mean `cache`?"),
        ("platfrom/cache", "6:57: there is no app `platfrom` / did you mean `platform`?"),
        (
            "platform/cart",
            "6:57: `platform/cart` is not shared with `shop` / app `platform` has to say so: `share: [shop]` beside its unit `cart`",
        ),
    ] {
        assert_eq!(problems_beside(&USER.replacen("platform/cache", to, 1), std::slice::from_ref(&owner)), [expected]);
    }
    let routed = format!(
        "{USER}  providers:\n    web: {{ use: http-server, config: {{ address: 127.0.0.1:80 }}, routes: {{ /: platform/cart }} }}\n"
    );
    assert_eq!(
        problems_beside(&routed, &[owner]),
        [
            "8:78: `platform/cart` is a unit of another app / only links lead to other apps: name a unit of this manifest"
        ]
    );
}

#[test]
fn what_others_use_stays() {
    let owner = record(OWNER, &[]);
    let user = record(USER, &[owner]);
    let users = [user];
    assert_eq!(problems_beside(OWNER, &users), [""; 0]);
    let help = "keep `cache` with `share: [shop]`, or change app `shop` first";
    for (before, after, place) in [
        (", share: [shop, billing]", "", "8:5"),
        ("[shop, billing]", "billing", "8:5"),
        ("    cache: { use: keyvalue-memory, share: [shop, billing] }\n", "", "3:19"),
    ] {
        let taken = OWNER.replacen("wasi:keyvalue: cache", "wasi:keyvalue: ledger", 1).replacen(before, after, 1);
        let expected = format!("{place}: `shop/cart` is linked to `platform/cache` / {help}");
        assert_eq!(problems_beside(&taken, &users), [expected]);
    }
}

#[test]
fn shares_that_mean_nothing_are_refused() {
    let with = |share: &str| problems_beside(&OWNER.replacen("[shop, billing]", share, 1), &[]);
    assert_eq!(with("billing"), [""; 0]);
    assert_eq!(with("all"), [""; 0]);
    assert_eq!(with("{ with: [shop], data: own }"), [""; 0]);
    assert_eq!(with("{ with: [shop], data: mine }"), ["8:65: unknown value `mine` / known are `own`, `common`"]);
    assert_eq!(with("{ with: shop, date: own }"), ["8:57: unknown key `date` / did you mean `data`?"]);
    assert!(
        with("[my.shop]")[0].starts_with("8:44: app name \"my.shop\" has the character '.'"),
        "{:?}",
        with("[my.shop]")
    );
    assert_eq!(with("[]").len(), 1);
    let component = OWNER.replacen("cart: { ", "cart: { share: { with: all, data: common }, ", 1);
    assert_eq!(
        problems_beside(&component, &[]),
        ["6:39: `cart` has no buckets or containers / only stores of keys and of objects have `data:`; remove it"]
    );
}

#[test]
fn nothing_is_fused_across_apps() {
    let owner = OWNER.replacen("cart: { ", "cart: { share: all, ", 1);
    let user = USER.replacen("platform/cache", "{ to: platform/cart, transport: fused }", 1);
    let found = problems_beside(&user, &[record(&owner, &[])]);
    assert!(
        found.iter().any(|problem| problem.ends_with(
            "`platform/cart` cannot be fused into `cart`: it is a unit of another app / write `transport: local` to stay inside the host"
        )),
        "{found:?}"
    );
}
