use std::collections::BTreeSet;

use super::*;
use crate::model::secret::SecretSource;

/// The manifest with secrets for the component, and for the store's address.
fn with(granted: &str, url: &str) -> String {
    GOOD.replace("      replicas: 2\n", &format!("      replicas: 2\n      secrets: {granted}\n"))
        .replace("url: redis://127.0.0.1:6379", &format!("url: {url}"))
}

#[test]
fn secrets_are_named_and_never_written() {
    let source = with("{ password: db, token: { file: token }, other: { env: other } }", "{ secret: redis-url }");
    let app = check(&parse(&source).unwrap(), &facts(), &[]).unwrap();
    let named = |unit: &str| app.units[&unit.parse::<UnitName>().unwrap()].secrets().into_iter().collect::<Vec<_>>();
    let name = |name: &str| name.parse().unwrap();
    assert_eq!(
        named("cart"),
        [SecretSource::Lattice(name("db")), SecretSource::File(name("token")), SecretSource::Env(name("other"))]
    );
    assert_eq!(named("cache"), [SecretSource::Lattice(name("redis-url"))]);
    assert_eq!(named("web"), []);
}

#[test]
fn a_secret_that_is_named_badly_is_told_with_its_place() {
    const HELP: &str =
        "write the name of a secret, or `{ file: NAME }` or `{ env: NAME }` for one that hosts have by themselves";
    const PLAIN: &str = "{ secret: x }";
    for (granted, url, place, message) in [
        ("{ a: 1 }", PLAIN, "10:21", "a secret is named by a text, or by a mapping with `file` or `env`"),
        ("{ a: { vault: x } }", PLAIN, "10:21", "a secret is named by a text, or by a mapping with `file` or `env`"),
        ("{}", "{ secret: x, also: y }", "16:50", "`secret` stands beside other keys"),
    ] {
        assert_eq!(problems(&with(granted, url)), [format!("{place}: {message} / {HELP}")], "{granted} {url}");
    }
    let [problem] = &problems(&with("{ a: { file: ../../etc/shadow } }", PLAIN))[..] else { panic!("one problem") };
    assert!(problem.starts_with("10:21: secret name \"../../etc/shadow\" has the character '.'"), "{problem}");
}

#[test]
fn a_secret_that_the_lattice_does_not_have_is_missed() {
    let manifest = parse(&with("{ password: db, token: { file: token } }", "{ secret: redis-url }")).unwrap();
    let known = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let missing = |names: &[&str]| missing_secrets(&manifest, &known(names)).iter().map(show).collect::<Vec<_>>();
    assert_eq!(missing(&["db", "redis-url"]), Vec::<String>::new());
    assert_eq!(
        missing(&["dbs"]),
        [
            "10:28: the lattice has no secret `db` of app shop / did you mean `dbs`? Else put it there with \
             `lattice-ctl secrets put shop/db`",
            "16:50: the lattice has no secret `redis-url` of app shop / put it there with \
             `lattice-ctl secrets put shop/redis-url`"
        ]
    );
}

#[test]
fn a_part_of_a_whole_has_what_the_whole_has() {
    let manifest = |of_part: &str, of_whole: &str| {
        format!(
            "apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: shop }}\nspec:\n  components:\n    cart:\n      image: \
             ./cart.wasm\n      {of_whole}\n      links: {{ acme:pricing/quote: {{ to: pricing, transport: fused }} \
             }}\n    pricing: {{ image: ./pricing.wasm, {of_part} }}\n"
        )
    };
    let interface: Interface = "acme:pricing/quote@1.0.0".parse().unwrap();
    let facts = |imports: &[Interface], exports: &[Interface], what: &[u8]| ComponentFacts {
        digest: Digest::of(what),
        imports: imports.to_vec(),
        exports: exports.to_vec(),
        import_shapes: BTreeMap::new(),
        export_shapes: BTreeMap::new(),
        wit: None,
    };
    let one = std::slice::from_ref(&interface);
    let facts =
        BTreeMap::from([("cart".to_owned(), facts(one, &[], b"a")), ("pricing".to_owned(), facts(&[], one, b"b"))]);
    let problems = |source: &str| match check(&parse(source).unwrap(), &facts, &[]) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(show).collect(),
    };
    assert_eq!(problems(&manifest("secrets: { key: k }", "secrets: { key: k, more: m }")), Vec::<String>::new());
    for (of_part, of_whole, what) in [
        ("secrets: { key: k }", "secrets: { key: other }", "secret `key`"),
        ("config: { key: k }", "replicas: 1", "setting `key`"),
        ("env: { KEY: k }", "env: { KEY: other }", "variable `KEY`"),
    ] {
        let problem = format!(
            "6:5: `pricing` is fused into `cart`, which has not its {what} / give `cart` the same, or write `transport: \
             local` for the link"
        );
        assert_eq!(problems(&manifest(of_part, of_whole)), [problem], "{of_part}");
    }
}
