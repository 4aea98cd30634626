//! `lattice-ctl call` against a lattice that runs: arguments and results as JSON, and every way in which a call goes
//! wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs::File,
    process::Stdio,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Output,
    lattice::{head, image},
    places::free_address,
    process::signal,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A store in the host and one in a process of its own, and a component.
fn shop() -> String {
    format!(
        "{}  components:\n    hello: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{}\" }}, \
         routes: {{ /: hello }} }}\n    near: {{ use: keyvalue-memory }}\n    apart: {{ use: keyvalue-memory, isolate: process \
         }}\n",
        head("shop"),
        image("hello"),
        free_address()
    )
}

const STORE: &str = "lattice:keyvalue/store";

/// Calls a function of a store; the result must be fine.
fn call(lattice: &Lattice, unit: &str, function: &str, arguments: &Value) -> Value {
    let output = lattice.ctl(&["call", unit, &format!("{STORE}.{function}"), &arguments.to_string()]);
    assert_eq!(output.code, Some(0), "{function}: {}", output.all());
    assert_eq!(output.stdout.lines().count(), 1, "in a pipe a result is one line: {}", output.stdout);
    let value: Value = serde_json::from_str(&output.stdout).unwrap();
    value.get("ok").unwrap_or_else(|| panic!("{function} gave {value}")).clone()
}

#[test]
fn a_store_is_written_and_read() {
    let lattice = Lattice::start(2);
    lattice.apply(&shop());
    for unit in ["shop/near", "shop/apart"] {
        assert_eq!(call(&lattice, unit, "set", &json!(["carts", "a", "aGk="])), Value::Null);
        assert_eq!(call(&lattice, unit, "get", &json!(["carts", "a"])), json!("aGk="));
        assert_eq!(call(&lattice, unit, "get", &json!(["carts", "b"])), Value::Null);
        assert_eq!(call(&lattice, unit, "exists", &json!(["other", "a"])), json!(false));
        assert_eq!(call(&lattice, unit, "increment", &json!(["carts", "n", 41])), json!(41));
        assert_eq!(call(&lattice, unit, "list-keys", &json!(["other", null])), json!({"keys": [], "cursor": null}));
        // With the version, and from stdin.
        let file = lattice.write("arguments", "[\"carts\", \"n\", 1]\n");
        let mut piped = lattice.command(&["call", unit, &format!("{STORE}@0.1.0.increment"), "-", "-o", "yaml"]);
        let output = piped.stdin(Stdio::from(File::open(file).unwrap())).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), b"ok: 42\n".as_slice()));
    }
}

/// A call that fails with this exit code; gives what it has said.
fn fails(lattice: &Lattice, code: i32, args: &[&str]) -> Output {
    let output = lattice.ctl(&[&["call"], args].concat());
    assert_eq!(output.code, Some(code), "{args:?}: {}", output.all());
    output
}

/// The same, with the first line on stderr and a part of the way out.
fn refused(lattice: &Lattice, code: i32, args: &[&str], message: &str, help: &str) {
    let output = fails(lattice, code, args);
    assert_eq!(output.stdout, "", "{}", output.all());
    assert_eq!(output.stderr.lines().next().unwrap(), format!("error: {message}"), "{}", output.all());
    let way_out = output.stderr.lines().find_map(|line| line.strip_prefix("help: ")).unwrap_or_default();
    assert!(way_out.contains(help), "`{help}` is not in `{way_out}`");
}

#[test]
fn a_call_that_goes_wrong_says_what_and_the_way_out() {
    let lattice = Lattice::start(1);
    lattice.apply(&shop());
    let get = format!("{STORE}.get");
    let good = "[\"carts\", \"a\"]";
    let told = |code, args: &[&str], message: &str, help: &str| refused(&lattice, code, args, message, help);
    told(6, &["shp/near", &get, good], "there is no app `shp` in lattice default", "did you mean `shop`?");
    told(6, &["shop/nera", &get, good], "app shop has no unit `nera`", "did you mean `near`?");
    told(
        6,
        &["shop/near", "wasi:keyvalue/store.get", good],
        "shop/near does not serve wasi:keyvalue/store",
        "it serves lattice:keyvalue/store@0.1.0",
    );
    told(
        6,
        &["shop/near", &format!("{STORE}@0.2.0.get"), good],
        "shop/near does not serve lattice:keyvalue/store@0.2.0",
        "it serves lattice:keyvalue/store@0.1.0",
    );
    told(
        6,
        &["shop/near", &format!("{STORE}.gett"), good],
        "calling shop/near: not served here: lattice:keyvalue/store@0.1.0#gett",
        "did you mean `get`?",
    );
    told(
        6,
        &["shop/near", "get", good],
        "shop/near does not serve functions that are in no interface",
        "it serves lattice:keyvalue/store@0.1.0",
    );
    told(6, &["shop/web", &get, good], "shop/web does not serve lattice:keyvalue/store", "it serves nothing");
    let output = fails(&lattice, 8, &["shop/near", &get, "[1]"]);
    assert!(
        output.stderr.starts_with("error: calling shop/near: bad message: the arguments of `get`"),
        "{}",
        output.all()
    );
    assert!(output.stderr.contains("help: `get` is func(bucket: string, key: string) -> result<"), "{}", output.all());
    told(
        6,
        &["shop/near", &get, good, "--instance", "0123456789abcdef"],
        "shop/near has no instance 0123456789abcdef",
        lattice.status("shop").instances("near")[0].id.as_str(),
    );

    // What the function returns as an error is printed, and is a failure of its own.
    let increment = format!("{STORE}.increment");
    call(&lattice, "shop/near", "set", &json!(["carts", "text", "eA=="]));
    let output = fails(&lattice, 9, &["shop/near", &increment, "[\"carts\", \"text\", 1]"]);
    let value: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(value, json!({"err": {"other": "the value of \"text\" is not a whole number"}}));
    assert_eq!(output.stderr, "error: `increment` of shop/near returned an error\n");

    // Nobody answers: the host is stopped, and is not yet known to be.
    let host = lattice.hosts[0].pid();
    signal(host, Signal::STOP);
    let asked = Instant::now();
    let output = lattice.ctl(&["call", "shop/near", &get, good, "--deadline", "300ms"]);
    signal(host, Signal::CONT);
    assert_eq!(output.code, Some(8), "{}", output.all());
    assert!(output.stderr.starts_with("error: calling shop/near: no answer within 300 ms\n"), "{}", output.all());
    assert!(output.stderr.contains("help: it may have run; give it more time with --deadline"), "{}", output.all());
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}

#[test]
fn a_unit_that_takes_no_calls_says_its_state_and_why() {
    let lattice = Lattice::start(1);
    let nowhere = free_address();
    let manifest = format!(
        "{}  providers:\n    cache: {{ use: keyvalue-redis, placement: {{ require: {{ zone: [moon] }} }}, config: {{ url: \
         \"redis://{nowhere}\" }} }}\n",
        head("shop")
    );
    lattice.write("app.yaml", manifest);
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]).code, Some(0));
    lattice.wait("a plan", Duration::from_secs(20), || {
        lattice.try_status("shop").filter(|status| status.state("cache") == "failed")
    });
    let output = fails(&lattice, 5, &["shop/cache", &format!("{STORE}.get"), "[\"a\", \"b\"]"]);
    assert!(output.stderr.starts_with("error: nobody takes calls for shop/cache: it is failed: "), "{}", output.all());
    assert!(output.stderr.contains("help: `lattice-ctl status shop --watch` shows"), "{}", output.all());
}

#[test]
fn a_command_is_run_by_a_call() {
    let lattice = Lattice::start(1);
    let acts = [("args", 0), ("exit-0", 0), ("exit-7", 9), ("fail", 9), ("trap", 8)];
    let unit = |guest: &str, act: &str| {
        let words = act.replace('-', " ");
        format!("    {guest}-{act}: {{ image: {}, env: {{ ACT: {words} }} }}\n", image(guest))
    };
    let units = ["cli", "p3-cli"].map(|guest| acts.map(|(act, _)| unit(guest, act)).concat());
    lattice.apply(&format!("{}  components:\n{}", head("tools"), units.concat()));
    for guest in ["cli", "p3-cli"] {
        for (act, code) in acts {
            let output = lattice.ctl(&["call", &format!("tools/{guest}-{act}"), "wasi:cli/run.run"]);
            assert_eq!(output.code, Some(code), "{guest} {act}: {}", output.all());
            let printed = match code {
                0 => "{\"ok\":null}\n",
                9 => "{\"err\":null}\n",
                _ => "",
            };
            assert_eq!(output.stdout, printed, "{guest} {act}: {}", output.all());
        }
    }
}
