//! What a component is told by its manifest, and what it tells its operators.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::time::Duration;

use lattice_tests::{
    Lattice, get,
    lattice::{head, image},
    load::Load,
    places::free_address,
    request,
};

#[test]
fn settings_reach_a_component_also_when_they_change_under_load() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let manifest = |config: &str| {
        format!(
            "{}  components:\n    main: {{ image: {}, reuse: 100, config: {config} }}\n  providers:\n    web: {{ use: http-server, \
             config: {{ address: \"{address}\" }}, routes: {{ /: main }} }}\n",
            head("told"),
            image("settings")
        )
    };
    lattice.apply(&manifest("{ greeting: hello, limit: 10, open: true, empty: \"\" }"));
    let ask = |path: &str| get(address, path).map(|response| (response.status, response.text())).unwrap();
    assert_eq!(ask("/get/greeting"), (200, "hello".into()));
    assert_eq!(ask("/get/empty"), (200, String::new()));
    assert_eq!(ask("/get/other"), (404, "not set".into()));
    assert_eq!(ask("/all"), (200, "empty=\ngreeting=hello\nlimit=10\nopen=true\n".into()));

    let load = Load::start(address, "/get/greeting", 4);
    load.wait_for(20);
    lattice.apply(&manifest("{ greeting: good day }"));
    // Who asks from here on reads the new one, and nobody was turned away meanwhile.
    assert_eq!(ask("/get/greeting"), (200, "good day".into()));
    assert_eq!(ask("/all").1, "greeting=good day\n");
    load.wait_for(20);
    let answers = load.finish();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let log = lattice.hosts[0].log();
    assert_eq!(log.matches(" compiled ").count(), 1, "its code is the same");
}

#[test]
fn messages_of_a_component_stand_in_the_host_s_log() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&format!(
        "{}  components:\n    main: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: main }} }}\n",
        head("talk"),
        image("settings")
    ));
    for (path, body) in
        [("/log/info", "one"), ("/log/warn", "two"), ("/log/critical", "three\nINFO forged"), ("/old", "four")]
    {
        assert_eq!(request(address, "POST", path, body.as_bytes()).unwrap().status, 200);
    }
    let long = "x".repeat(100_000);
    assert_eq!(request(address, "POST", "/log/info", long.as_bytes()).unwrap().status, 200);
    let line = |text: &str| {
        lattice.wait(text, Duration::from_secs(10), || {
            lattice.hosts[0].log().lines().find(|line| line.contains(text)).map(str::to_owned)
        })
    };
    for (text, parts) in [
        ("one", ["INFO", "level=\"info\"", "context=checkout"]),
        ("two", ["WARN", "level=\"warn\"", "context=checkout"]),
        ("three", ["ERROR", "level=\"critical\"", "context=checkout"]),
        ("four", ["ERROR", "level=\"error\"", "context=ancient"]),
    ] {
        let line = line(&format!(" guest: {text}"));
        assert!(line.contains("unit=talk/main"), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    assert!(line("three").contains("three\\nINFO forged"), "a guest writes no lines of its own");
    assert!(line("xxxx").len() < 20_000);
}
