//! Revisions of an app: planned, scaled, listed and taken back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use lattice_tests::{
    Lattice, Load, get,
    lattice::{Output, head, image},
    load::failures,
    places::free_address,
};
use serde_json::Value;

fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", output.all()))
}

#[test]
fn a_plan_says_what_an_apply_does_and_changes_nothing() {
    let lattice = Lattice::start(2);
    let manifest = |memory: &str, replicas: u32| {
        let image = image("hello");
        format!(
            "{}  components:\n    hello: {{ image: {image}, replicas: {replicas}, limits: {{ memory: {memory} }} }}\n",
            head("shop")
        )
    };
    let plan = |manifest: &str| {
        lattice.write("app.yaml", manifest);
        lattice.ctl(&["plan", "-f", "app.yaml", "-o", "json"])
    };
    let output = plan(&manifest("32MiB", 1));
    assert_eq!(output.code, Some(2), "{}", output.all());
    let told = json(&output);
    assert_eq!((&told["would_change"], &told["added"]), (&true.into(), &serde_json::json!(["hello"])));
    let comes = told["places"][0]["comes"][0].as_str().unwrap().to_owned();
    assert!(lattice.try_status("shop").is_none(), "nothing was applied");

    lattice.apply(&manifest("32MiB", 1));
    let before = lattice.wait_ready("shop");
    assert!(before.hosts("hello")[0].starts_with(&comes), "it went where the plan said");
    let output = plan(&manifest("32MiB", 1));
    assert_eq!((output.code, &json(&output)["would_change"]), (Some(0), &false.into()), "{}", output.all());

    let more = manifest("64MiB", 2);
    let told = json(&plan(&more));
    let differences = told["differences"]["hello"].as_array().unwrap();
    assert!(differences.contains(&"limits.memory_bytes: 33554432 -> 67108864".into()), "{differences:?}");
    let place = &told["places"][0];
    assert_eq!((&place["stays"][0], &place["starts_anew"]), (&Value::from(comes.as_str()), &true.into()));
    let comes = place["comes"][0].as_str().unwrap();
    lattice.apply(&more);
    assert!(lattice.wait_ready("shop").hosts("hello").iter().any(|host| host.starts_with(comes)));

    // The same checks as those of `apply`.
    let output = plan(&more.replace("64MiB", "lots"));
    assert_eq!(output.code, Some(3), "{}", output.all());
    // What an interactive user sees.
    lattice.write("app.yaml", manifest("64MiB", 1));
    let output = lattice.ctl(&["plan", "-f", "app.yaml"]);
    assert!(output.stdout.starts_with("app shop: would become revision 3 (changed: hello)\n"), "{}", output.all());
    assert!(output.stdout.contains("scale.replicas: 2 -> 1"), "{}", output.all());
}

#[test]
fn scaling_starts_nothing_anew_and_a_rollback_under_load_loses_no_request() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let manifest = |greeting: &str| {
        format!(
            "{}  components:\n    hello: {{ image: {}, env: {{ GREETING: {greeting} }} }}\n  providers:\n    web: {{ use: \
             http-server, config: {{ address: \"{address}\" }}, routes: {{ /: hello }} }}\n",
            head("shop"),
            image("hello")
        )
    };
    lattice.apply(&manifest("one"));
    let first = lattice.wait_ready("shop").instances("hello")[0].clone();
    let output = lattice.ctl(&["scale", "shop/hello", "2"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert!(output.stdout.contains("revision 2 (changed: hello)"), "{}", output.all());
    let instances = lattice.wait_ready("shop").instances("hello");
    assert_eq!(instances.len(), 2);
    assert!(instances.contains(&first), "{first:?} goes on: {instances:?}");

    let load = Load::start(address, "/", 8);
    load.wait_for(200);
    lattice.apply(&manifest("two"));
    load.wait_for(200);
    let output = lattice.ctl(&["rollback", "shop"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert_eq!(lattice.wait_ready("shop").counts("hello"), (2, 2), "as revision 2 had it");
    load.wait_for(200);
    let output = lattice.ctl(&["rollback", "shop", "--to", "1"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    assert_eq!(lattice.wait_ready("shop").counts("hello"), (1, 1));
    load.wait_for(200);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());

    let rows = json(&lattice.ctl(&["history", "shop", "-o", "json"]));
    let causes: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["cause"].as_str().unwrap()).collect();
    assert_eq!(causes, ["rollback to 1", "rollback to 2", "apply", "scale hello to 2", "apply"]);
    assert_eq!(
        (&rows[0]["current"], &rows[0]["revision"], &rows[4]["changes"]),
        (&true.into(), &5.into(), &Value::Null)
    );
    assert_eq!(rows[3]["changes"]["changed"], serde_json::json!(["hello"]));

    for (args, code, text) in [
        (vec!["rollback", "shop", "--to", "9"], 6, "kept are 1 to 4"),
        (vec!["rollback", "shop", "--to", "5"], 6, "revision 5 of app shop is the current one"),
        (vec!["rollback", "shap"], 6, "did you mean `shop`?"),
        (vec!["scale", "shop/hallo", "1"], 6, "did you mean `hello`?"),
        (vec!["scale", "shop/hello", "10001"], 2, "10000 is the most"),
    ] {
        let output = lattice.ctl(&args);
        assert_eq!(output.code, Some(code), "{args:?}: {}", output.all());
        assert!(output.stderr.contains(text), "{args:?}: {}", output.all());
    }
}

#[test]
fn a_revision_that_no_longer_fits_is_refused() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let web = |app: &str, path: &str| {
        format!(
            "{}  components:\n    hello: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
             \"{address}\" }}, routes: {{ {path}: hello }} }}\n",
            head(app),
            image("hello")
        )
    };
    lattice.apply(&web("shop", "/"));
    lattice.apply(&web("shop", "/shop"));
    lattice.apply(&web("blog", "/"));
    let output = lattice.ctl(&["rollback", "shop"]);
    assert_eq!(output.code, Some(3), "{}", output.all());
    assert!(output.stderr.contains("is taken by app blog (blog/web)"), "{}", output.all());
    assert!(output.stderr.contains("app shop, revision 1"), "{}", output.all());
    assert_eq!(get(address, "/shop").unwrap().status, 200);
    // A deleted app has no past.
    assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));
    lattice.apply(&web("shop", "/shop"));
    let output = lattice.ctl(&["rollback", "shop"]);
    assert_eq!(output.code, Some(6), "{}", output.all());
}
