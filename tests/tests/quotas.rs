//! What holds for all apps of a lattice: how much each may have, and what is so where manifests say nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{thread, time::Duration};

use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
};

#[test]
fn calls_and_copies_of_an_app_have_their_bounds_and_others_do_not() {
    let lattice = Lattice::start(2);
    let addresses = [free_address(), free_address()];
    let app = |name: &str, at: usize, replicas: u32| {
        format!(
            "{}  components:\n    caller: {{ image: {}, links: {{ test:library: library }} }}\n    library: {{ image: {}, replicas: \
             {replicas} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{}\" }}, routes: {{ /: caller }} }}\n",
            head(name),
            image("caller"),
            image("library"),
            addresses[at]
        )
    };
    for (at, name) in ["shop", "blog"].into_iter().enumerate() {
        lattice.apply(&app(name, at, 1));
    }
    // Four copies: it has three, and may not have seven.
    let set = |args: &[&str]| {
        let output = lattice.ctl(&[&["quota", "set"], args].concat());
        assert_eq!(output.code, Some(0), "{}", output.all());
    };
    set(&["shop", "--copies", "4", "--in-flight", "3"]);
    let refused = lattice.try_apply(&app("shop", 0, 5));
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(
        refused.stderr.contains("asks for 7 copies") && refused.stderr.contains("quota of 4 copies"),
        "{}",
        refused.all()
    );
    lattice.apply(&app("shop", 0, 2));
    let listed = lattice.ctl(&["quota", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(
        (&listed[0]["app"], &listed[0]["copies"], &listed[0]["copies_used"]),
        (&"shop".into(), &4.into(), &4.into())
    );

    // Each call has one of the caller and one of the library under way. The shares of two hosts are two each.
    let bound = || {
        let load = Load::start(addresses[0], "/sleep?ms=300", 8);
        load.wait_for(60);
        let answers = load.finish();
        let refused = answers.iter().filter(|a| a.outcome.is_err()).count();
        (refused > 0 && refused < answers.len()).then(|| failures(&answers))
    };
    let errors = lattice.wait("calls that are refused", SETTLE, bound);
    assert!(errors.iter().all(|(error, _)| error.contains("503") || error.contains("500")), "{errors:?}");
    // Nobody else notices, and it is over when the quota is.
    let free = |at: usize| {
        let load = Load::start(addresses[at], "/sleep?ms=100", 8);
        load.wait_for(60);
        failures(&load.finish())
    };
    assert_eq!(free(1), []);
    assert_eq!(lattice.ctl(&["quota", "remove", "shop"]).code, Some(0));
    thread::sleep(Duration::from_secs(1));
    assert_eq!(free(0), []);

    // Calls that begin in a second.
    set(&["--per-second", "20"]);
    let limited = || {
        let answers: Vec<_> = (0..60).map(|_| get(addresses[1], "/all").unwrap().status).collect();
        answers.iter().any(|status| *status != 200).then_some(())
    };
    lattice.wait("calls that come too fast", SETTLE, limited);
}

#[test]
fn a_lattice_has_defaults_of_its_own() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let app = format!(
        "{}  components:\n    caller: {{ image: {}, links: {{ test:library: library }}, limits: {{ timeout: 9s }} }}\n    library: {{ image: {} \
         }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: caller }} }}\n",
        head("shop"),
        image("caller"),
        image("library"),
    );
    lattice.apply(&app);
    lattice.write("defaults.yaml", "components:\n  limits: { timeout: much }\n");
    let refused = lattice.ctl(&["defaults", "set", "defaults.yaml"]);
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    assert!(refused.stderr.starts_with("error: defaults.yaml:2:22: `much` is not a time"), "{}", refused.stderr);
    let text = "components:\n  limits: { timeout: 300ms }\n";
    lattice.write("defaults.yaml", text);
    assert_eq!(lattice.ctl(&["defaults", "set", "defaults.yaml"]).code, Some(0));
    assert_eq!(lattice.ctl(&["defaults", "show"]).stdout, text);
    // What runs goes on, and `plan` tells what the next `apply` would do.
    assert_eq!(get(address, "/sleep?ms=600").unwrap().status, 200);
    let planned = lattice.ctl(&["plan", "-f", "app.yaml"]);
    assert_eq!(planned.code, Some(2), "{}", planned.all());
    lattice.apply(&app);
    lattice.wait_ready("shop");
    let slow = get(address, "/sleep?ms=600").unwrap();
    assert_eq!(slow.status, 500, "{}", slow.text());
    assert_eq!(lattice.ctl(&["defaults", "clear"]).code, Some(0));
    lattice.apply(&app);
    lattice.wait_ready("shop");
    assert_eq!(get(address, "/sleep?ms=600").unwrap().status, 200);
}
