//! Components that misbehave, and what they may not reach.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load, get,
    lattice::{head, image},
    load::failures,
    places::free_address,
};

/// How late the neighbour of a component that misbehaves may answer, at the slowest of 20 in a row.
const PROMPT: Duration = Duration::from_millis(500);

fn app(name: &str, guest: &str, address: SocketAddr, component: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}{component} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: main }} }}\n",
        head(name),
        image(guest)
    )
}

#[test]
fn each_fault_answers_its_caller_in_time_and_stands_in_the_status() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("trap", "trap", address, ", limits: { memory: 32MiB, timeout: 400ms }"));
    let faults = [
        ("/trap", 500, "unreachable"),
        ("/stack", 500, "wasm trap"),
        ("/eat", 500, "out of memory: the limit is 33554432 bytes"),
        ("/silent", 500, "without a response"),
        ("/loop", 504, "no answer within 400 ms"),
    ];
    for (before, (path, code, fault)) in faults.into_iter().enumerate() {
        let asked = Instant::now();
        let response = get(address, path).unwrap();
        let took = asked.elapsed();
        assert_eq!(response.status, code, "{path}: {}", response.text());
        assert!(took < Duration::from_secs(3), "{path} took {took:?}");
        if code == 500 {
            assert_eq!(response.text(), "the component failed\n", "{path}: its insides are not its caller's business");
        }
        let told = || {
            let instance = lattice.status("trap").instances("main").pop()?;
            (instance.traps + instance.timeouts == before as u64 + 1).then_some(instance)
        };
        let instance = lattice.wait("the fault in the status", Duration::from_secs(5), told);
        assert!(instance.last_fault.contains(fault), "{path}: {}", instance.last_fault);
        assert_eq!(get(address, "/").unwrap().text(), "ok\n", "the next call finds a component as new");
    }
    let table = lattice.ctl(&["status", "trap"]).stdout;
    assert!(table.contains("\n  4 traps, 1 timeout; last: no answer within 400 ms\n"), "{table}");
    let status = lattice.status("trap");
    assert!(status.ready() && status.state("main") == "ready", "{table}");
}

#[test]
fn a_neighbour_answers_promptly_while_components_misbehave() {
    let lattice = Lattice::start(1);
    let (bad, good) = (free_address(), free_address());
    lattice.apply(&app("bad", "trap", bad, ", limits: { memory: 32MiB, timeout: 1s, concurrency: 4 }"));
    lattice.apply(&app("good", "hello", good, ""));
    for path in ["/loop", "/eat", "/stack", "/trap"] {
        let misbehaving = Load::start(bad, path, 3);
        misbehaving.wait_for(1);
        let neighbour = Load::start(good, "/", 1);
        neighbour.wait_for(20);
        misbehaving.wait_for(1);
        let answers = neighbour.finish();
        assert!(misbehaving.finish().iter().all(|answer| answer.outcome.is_err()), "{path}");
        assert_eq!(failures(&answers), [], "{path}");
        let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
        println!("{path}: {} answers of the neighbour, the slowest in {slowest:?}", answers.len());
        assert!(slowest < PROMPT, "during {path} the neighbour took {slowest:?}");
    }
    assert_eq!(lattice.status("good").instances("main")[0].last_fault, "");
}

#[test]
fn a_component_without_grants_reaches_nothing_of_the_machine() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app("echo", "echo", address, ", env: { GREETING: hello, EMPTY: \"\" }"));
    let ask = |path: &str| {
        let response = get(address, path).unwrap();
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.text()
    };
    let environment = ask("/env");
    let mut lines: Vec<_> = environment.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["EMPTY=", "GREETING=hello"], "what the manifest gives, and nothing of the host's");
    let file = ask("/file");
    assert!(file.starts_with("error: "), "{file}");
    // Somebody would answer: it is the host that says no.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let fetched = ask(&format!("/fetch?to=127.0.0.1:{port}"));
    assert!(fetched.contains("HttpRequestDenied"), "{fetched}");
    let connected = ask("/connect");
    assert!(connected.contains("access-denied"), "{connected}");
    assert!(listener.accept().is_err(), "nobody has come");
}
