use super::*;
use crate::model::app::Scale;
use crate::model::manifest::parse;

mod allow;
mod links;
mod programs;
mod running;
mod schedules;
mod secrets;
mod shares;
mod watches;

const GOOD: &str = r#"apiVersion: lattice/v1
kind: App
metadata:
  name: shop
spec:
  components:
    cart:
      image: ./cart.wasm
      replicas: 2
      limits: { memory: 64MiB, timeout: 5s, concurrency: 20 }
      links:
        wasi:keyvalue: cache
  providers:
    web: { use: http-server, config: { address: 127.0.0.1:8080 }, routes: { "/": cart } }
    cache: { use: keyvalue-redis, config: { url: redis://127.0.0.1:6379 }, isolate: process }
"#;

fn facts() -> BTreeMap<String, ComponentFacts> {
    let interfaces = |list: &[&str]| list.iter().map(|i| i.parse().unwrap()).collect();
    let cart = ComponentFacts {
        digest: Digest::of(b"cart"),
        imports: interfaces(&[
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics@0.2.0-draft",
            "wasi:io/streams@0.2.3",
        ]),
        exports: interfaces(&["wasi:http/incoming-handler@0.2.3"]),
        import_shapes: BTreeMap::new(),
        export_shapes: BTreeMap::new(),
        wit: None,
    };
    BTreeMap::from([("cart".to_owned(), cart)])
}

fn problems(source: &str) -> Vec<String> {
    let manifest = match parse(source) {
        Ok(manifest) => manifest,
        Err(problem) => return vec![show(&problem)],
    };
    match check(&manifest, &facts(), &[]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(show).collect(),
    }
}

fn show(problem: &Problem) -> String {
    let place = problem.place.map_or("?".to_owned(), |p| format!("{}:{}", p.line, p.column));
    format!("{place}: {} / {}", problem.message, problem.help.as_deref().unwrap_or("-"))
}

#[track_caller]
fn one(from: &str, to: &str, expected: &str) {
    assert!(GOOD.contains(from), "the manifest has {from:?}");
    let found = problems(&GOOD.replacen(from, to, 1));
    assert_eq!(found, [expected]);
}

#[test]
fn a_good_manifest_passes() {
    let manifest = parse(GOOD).unwrap();
    let app = check(&manifest, &facts(), &[]).unwrap();
    assert_eq!(app.units.len(), 3);
    let UnitSpec::Component(cart) = &app.units[&"cart".parse().unwrap()] else { panic!("cart is a component") };
    assert_eq!((cart.scale, cart.limits.memory_bytes, cart.limits.timeout_ms), (Scale::Replicas(2), 64 << 20, 5000));
    assert_eq!(cart.links[0].to.to_string(), "shop/cache");
}

#[test]
fn bad_yaml_is_placed() {
    let found = problems("apiVersion: lattice/v1\nkind: App\nmetadata: { name: [\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("3:") || found[0].starts_with("4:"), "{found:?}");
    assert_eq!(problems(""), ["1:1: the manifest is empty / begin with `apiVersion: lattice/v1`"]);
}

#[test]
fn an_unknown_key_names_the_nearest() {
    one("      image: ./cart.wasm", "      imge: ./cart.wasm", "8:7: unknown key `imge` / did you mean `image`?");
}

#[test]
fn a_wrong_type_says_what_was_expected() {
    let found = problems(&GOOD.replacen("replicas: 2", "replicas: many", 1));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("9:17: "), "{found:?}");
}

#[test]
fn a_missing_image_is_named() {
    let found = problems(&GOOD.replacen("      image: ./cart.wasm\n", "", 1));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("`image` is missing / add `image:` here"), "{found:?}");
}

#[test]
fn a_link_to_nothing_suggests() {
    one("wasi:keyvalue: cache", "wasi:keyvalue: cash", "12:24: there is no unit `cash` / did you mean `cache`?");
}

#[test]
fn a_name_with_a_dot_is_refused() {
    let found = problems(&GOOD.replacen("name: shop", "name: my.shop", 1));
    assert_eq!(
        found,
        [
            "4:9: app name \"my.shop\" has the character '.'; use lower-case letters, digits and '-', beginning and ending with a letter or digit / -"
        ]
    );
}

#[test]
fn colliding_routes_are_refused_also_across_apps() {
    let twice = GOOD.replacen(
        "    cache:",
        "    web2: { use: http-server, config: { address: 127.0.0.1:8080 }, routes: { \"/\": cart } }\n    cache:",
        1,
    );
    assert_eq!(
        problems(&twice),
        [
            "15:78: the route `/` on 127.0.0.1:8080 is taken by provider web / use another path, host name, method or address"
        ]
    );

    let manifest = parse(GOOD).unwrap();
    let app = check(&manifest, &facts(), &[]).unwrap();
    let record =
        AppRecord::next("other".parse().unwrap(), None, String::new(), BTreeMap::new(), app.units, BTreeMap::new())
            .unwrap();
    let found = check(&manifest, &facts(), [&record]).unwrap_err();
    assert_eq!(
        show(&found[0]),
        "14:77: the route `/` on 127.0.0.1:8080 is taken by app other (other/web) / use another path, host name, method or address"
    );
}

#[test]
fn an_address_has_tls_or_has_not() {
    let mixed = GOOD.replacen(
        "    cache:",
        "    web2: { use: http-server, config: { address: 127.0.0.1:8080, tls: { cert: a, key: b } }, routes: { /x: cart } }\n    cache:",
        1,
    );
    assert_eq!(
        problems(&mixed),
        [
            "15:5: `web2` is with `tls`, and provider web is without it on 127.0.0.1:8080 / use another address, or the same for both"
        ]
    );
}

#[test]
fn a_route_may_lead_to_several_components_by_weight() {
    let shares = |to: &str| GOOD.replacen("routes: { \"/\": cart }", &format!("routes: {{ \"/\": {to} }}"), 1);
    let app = check(&parse(&shares("{ cart: 3 }")).unwrap(), &facts(), &[]).unwrap();
    let UnitSpec::Provider(web) = &app.units[&"web".parse().unwrap()] else { panic!("a provider") };
    assert_eq!((web.routes[0].to.len(), web.routes[0].to[0].weight), (1, 3));
    for (to, problem) in [
        (
            "{ cart: 0 }",
            "14:77: the weights of `/` add up to 0 / write weights with a sum of 1 to 1000000, as in { cart: 90, next: 10 }",
        ),
        ("{ cart: 1, card: 1 }", "14:93: there is no unit `card` / did you mean `cart`?"),
        (
            "{ cart: 1, cache: 1 }",
            "14:93: `cache` is a keyvalue-redis, which answers no HTTP requests / route to a component",
        ),
    ] {
        assert_eq!(problems(&shares(to)), [problem], "{to}");
    }
}

#[test]
fn settings_of_a_component_are_texts() {
    let with = |value: &str| {
        GOOD.replacen(
            "      links:\n",
            &format!("      config: {{ greeting: hello, limit: 10, open: true, more: {value} }}\n      links:\n"),
            1,
        )
    };
    let app = check(&parse(&with("\"\"")).unwrap(), &facts(), &[]).unwrap();
    let UnitSpec::Component(cart) = &app.units[&"cart".parse().unwrap()] else { panic!("a component") };
    let config: Vec<_> = cart.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(config, ["greeting=hello", "limit=10", "more=", "open=true"]);
    for value in ["null", "[1]", "{ a: b }"] {
        let found = problems(&with(value));
        assert!(found[0].contains("the setting `more` of a component is no text"), "{found:?}");
    }
}

#[test]
fn an_unlinked_import_lists_who_could_serve_it() {
    let found = problems(&GOOD.replacen("      links:\n        wasi:keyvalue: cache\n", "", 1));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        found[0],
        "7:5: `cart` imports wasi:keyvalue/store@0.2.0-draft, and no link satisfies it / add `links: { wasi:keyvalue: NAME }`, where NAME is a provider with `use:` one of keyvalue-memory, keyvalue-redb, keyvalue-nats, keyvalue-redis, keyvalue-postgres"
    );
}

#[test]
fn a_provider_s_settings_are_checked() {
    one(
        "{ url: redis://127.0.0.1:6379 }",
        "{ ulr: x, url: y }",
        "15:45: keyvalue-redis has no setting `ulr` / did you mean `url`?",
    );
    one(
        "config: { url: redis://127.0.0.1:6379 }, ",
        "",
        "15:19: keyvalue-redis needs the setting `url` / add `config: { url: ... }`: such as redis://127.0.0.1:6379",
    );
    one(
        "use: keyvalue-redis",
        "use: keyvalue-reddis",
        "15:19: there is no provider `keyvalue-reddis` / did you mean `keyvalue-redis`?",
    );
    one(
        "127.0.0.1:8080",
        "localhost",
        "14:49: `localhost` is not an address to listen on / write an IP address and a port, such as 127.0.0.1:8080 or 0.0.0.0:80",
    );
}

#[test]
fn bad_limits_are_refused() {
    one(
        "memory: 64MiB",
        "memory: 64MB",
        "10:25: `64MB` is not a size / write a number with KiB, MiB or GiB, as in `64MiB`",
    );
    one(
        "timeout: 5s",
        "timeout: 0s",
        "10:41: `0s` is not a time / write a number above 0 with ms, s or m, as in `200ms` or `5s`",
    );
    one("concurrency: 20", "concurrency: 0", "10:58: concurrency 0 would answer no call / write at least 1");
}

#[test]
fn limits_are_of_processes() {
    let place = "isolate: process }";
    one(
        place,
        "limits: { cpus: 2 } }",
        "15:92: keyvalue-redis is no process here that could be limited / add `isolate: process`, or remove `limits:`",
    );
    one(
        place,
        "isolate: process, limits: { memory: 8MiB } }",
        "15:112: a memory limit of `8MiB` is too little / 16MiB is the least",
    );
    one(
        place,
        "isolate: process, limits: { memory: 1GB } }",
        "15:112: `1GB` is not a size / write a number with KiB, MiB or GiB, as in `64MiB`",
    );
    one(
        place,
        "isolate: process, limits: { cpus: 0 } }",
        "15:110: a process on no processor would do nothing / write at least 1",
    );
    one(
        place,
        "isolate: process, limits: { files: 3 } }",
        "15:111: a provider needs more than 3 files / 32 is the least",
    );
    one(
        "127.0.0.1:8080 },",
        "127.0.0.1:8080 }, limits: { files: 99 },",
        "14:84: http-server is no process here that could be limited / remove `limits:`",
    );
}

#[test]
fn a_route_must_lead_to_something_that_answers() {
    one(
        "\"/\": cart",
        "\"/\": cache",
        "14:82: `cache` is a keyvalue-redis, which answers no HTTP requests / route to a component",
    );
    one(
        "\"/\": cart",
        "\"no-slash\": cart",
        "14:77: `no-slash` is not a route / write a path such as `/` or `/api`, a host and a path such as `shop.example.com/` or `*.example.com/`, and before them a method if it shall take that alone, as in `POST /orders`",
    );
}
