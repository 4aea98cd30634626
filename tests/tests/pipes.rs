//! Streams and futures in interfaces of components' own: in one host and across two, by WIT and in JSON.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice,
    lattice::{head, image},
};
use serde_json::{Value, json};

/// An app whose two components run where it says.
fn app(link: &str, user: &str, pipes: &str) -> String {
    format!(
        "{}  components:\n    user: {{ image: {}, limits: {{ timeout: 60s }}, links: {{ test:pipes: {{ to: pipes{link} }} }}{user} }}\n    \
         pipes: {{ image: {}, limits: {{ timeout: 60s }}{pipes} }}\n",
        head("flow"),
        image("pipes-user"),
        image("pipes"),
    )
}

fn zone(zone: &str) -> String {
    format!(", placement: {{ require: {{ zone: [{zone}] }} }}")
}

fn across(deadline: &str) -> (Lattice, String) {
    (Lattice::start(2), app(&format!(", deadline: {deadline}"), &zone("a"), &zone("b")))
}

/// What a check of the user has found, or why it could not.
fn run(lattice: &Lattice, check: &str, n: u64) -> Result<String, String> {
    let arguments = json!([check, n]).to_string();
    let output = lattice.ctl(&["call", "flow/user", "test:pipes/user.run", &arguments, "--deadline", "60s"]);
    if output.code == Some(8) {
        return Err(output.stderr);
    }
    let value: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{}", output.all()));
    value["ok"].as_str().map(ToOwned::to_owned).ok_or_else(|| format!("wrong: {}", output.all()))
}

#[test]
fn streams_and_futures_behave_the_same_on_each_road() {
    for (road, hosts, link, user, pipes) in [
        ("local", 1, "", String::new(), String::new()),
        ("fused", 1, ", transport: fused", String::new(), String::new()),
        ("lattice, two hosts", 2, ", deadline: 60s", zone("a"), zone("b")),
    ] {
        let lattice = Lattice::start(hosts);
        lattice.apply(&app(link, &user, &pipes));
        let found =
            |check: &str, n: u64| run(&lattice, check, n).unwrap_or_else(|e| panic!("{road}: {check} {n}: {e}"));
        for n in [0, 1, 70_000, 9_000_000] {
            assert_eq!(found("echo", n), format!("{n} bytes"), "{road}");
            assert_eq!(found("measure", n), format!("{n} bytes"), "{road}");
            assert_eq!(found("make", n), format!("{n} bytes, ok {n}"), "{road}");
            assert_eq!(found("beside", n), format!("{n} bytes, {}", (1..=16).sum::<u64>() + 4), "{road}");
        }
        for n in [0, 1, 5_000] {
            assert_eq!(found("readings", n), format!("{n} readings"), "{road}");
            let total = (0..n).sum::<u64>() + 3 * n;
            assert_eq!(found("total", n), format!("Ok({total})"), "{road}");
            assert_eq!(found("ticks", n), format!("{n} ticks, and {n} back"), "{road}");
        }
        assert_eq!(found("later", 30), "now", "{road}");
        assert_eq!(found("answer", 21), "42", "{road}");
        assert_eq!(found("noted", 0), "false, then true", "{road}");
        assert_eq!(found("taste", 40_000_000), "100 bytes, stopped", "{road}");
        assert_eq!(found("swallow", 300_000), "swallowed", "{road}");
        assert_eq!((found("maybe", 0).as_str(), found("maybe", 1).as_str()), ("none", "[1, 0, 70000]"), "{road}");
        // Two streams of one instance at once, and a call of it between them.
        assert_eq!(found("source", 30), "30 of s", "{road}");
    }
}

#[test]
fn more_than_any_message_holds_goes_through() {
    let (lattice, app) = across("60s");
    lattice.apply(&app);
    assert_eq!(run(&lattice, "make", 150_000_000).unwrap(), "150000000 bytes, ok 150000000");
}

#[test]
fn a_stream_that_is_cut_is_never_a_short_success() {
    for (road, hosts, link, user, pipes) in [
        ("local", 1, "", String::new(), String::new()),
        ("lattice, two hosts", 2, ", deadline: 60s", zone("a"), zone("b")),
    ] {
        let lattice = Lattice::start(hosts);
        lattice.apply(&app(link, &user, &pipes));
        // A future beside the stream has room for the reason.
        let told = run(&lattice, "make-half", 4_000_000).unwrap();
        assert!(told.contains(" bytes, other: ") && told.contains("trap"), "{road}: {told}");
        // Without one, whoever reads cannot go on as if nothing was.
        let failed = run(&lattice, "make-half-alone", 4_000_000).unwrap_err();
        assert!(failed.contains("a stream was cut") && failed.contains("trap"), "{road}: {failed}");
        // The instances of others are as they were.
        assert_eq!(run(&lattice, "make", 1_000).unwrap(), "1000 bytes, ok 1000", "{road}");
    }
}

#[test]
fn a_stream_that_stays_silent_ends_with_its_call() {
    let lattice = Lattice::start(1);
    let limited = app("", "", "").replace("timeout: 60s", "timeout: 2s");
    lattice.apply(&limited);
    let asked = Instant::now();
    let failed = run(&lattice, "silent", 0).unwrap_err();
    // What was left of the two seconds when the stream was waited for.
    let left = failed.split("no answer within ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    assert!(left.is_some_and(|left| (1500..=2000).contains(&left)), "{failed}");
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[test]
fn a_host_that_dies_in_the_midst_of_a_stream_is_an_error_in_time() {
    let (mut lattice, app) = across("60s");
    lattice.apply(&app);
    let b = lattice.hosts.iter().position(|host| host.zone == "b").unwrap();
    let mut dying = lattice.hosts.swap_remove(b);
    thread::scope(|scope| {
        let reading = scope.spawn(|| run(&lattice, "make", 1 << 40));
        thread::sleep(Duration::from_secs(2));
        assert!(!reading.is_finished(), "it must be in the midst of it");
        dying.kill();
        let killed = Instant::now();
        let told = reading.join().unwrap().unwrap();
        assert!(told.contains(" bytes, other: "), "{told}");
        assert!(killed.elapsed() < Duration::from_secs(12), "{:?}", killed.elapsed());
    });
}

#[test]
fn in_json_a_stream_is_all_that_it_carries() {
    let lattice = Lattice::start(2);
    lattice.apply(&app("", "", ""));
    let call = |function: &str, arguments: Value| {
        let function = format!("test:pipes/pipes.{function}");
        let output = lattice.ctl(&["call", "flow/pipes", &function, &arguments.to_string(), "--deadline", "3s"]);
        assert_eq!(output.code, Some(0), "{function}: {}", output.all());
        serde_json::from_str::<Value>(&output.stdout).unwrap()
    };
    assert_eq!(call("echo", json!(["AQIDBA=="])), json!("AQIDBA=="));
    assert_eq!(call("measure", json!([[1, 2, 3]])), json!([3, 31 * 31 + 2 * 31 + 3]));
    assert_eq!(call("make", json!([3])), json!(["AAEC", {"ok": 3}]));
    let reading = json!({"at": 1u64 << 33, "name": "sensor 1 °C", "values": [0.0]});
    assert_eq!(call("readings", json!([2]))[1], reading);
    assert_eq!(call("total", json!([[reading, reading]])), json!({"ok": 4}));
    assert_eq!(call("ticks", json!([2])), json!([null, null]));
    assert_eq!(call("count-ticks", json!([[null, null, null]])), json!(3));
    assert_eq!(call("later", json!([5, "now"])), json!("now"));
    assert_eq!(call("signal", json!([5])), json!(null));
    assert_eq!(call("answer", json!([21])), json!(42));
    assert_eq!(call("maybe", json!([false])), json!(null));
    let output = lattice.ctl(&["call", "flow/pipes", "test:pipes/pipes.silent", "[]", "--deadline", "1s"]);
    assert_eq!(output.code, Some(8), "{}", output.all());
    assert!(output.stderr.contains("1000 ms"), "{}", output.all());
    let output = lattice.ctl(&["call", "flow/pipes", "test:pipes/pipes.make-half-alone", "[4000000]"]);
    assert!(output.code == Some(8) && output.stderr.contains("trap"), "{}", output.all());
    let output = lattice.ctl(&["call", "flow/pipes", "test:pipes/pipes.total", "[[{\"at\": 1}]]"]);
    assert!(output.stderr.contains("readings.0: expected an object with"), "{}", output.all());
}
