//! Messages on our subjects that none of us would send.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use lattice_tests::{
    Lattice, Load,
    lattice::{head, image},
    load::failures,
    nats::RawNats,
    places::free_address,
};

/// Bytes without a meaning.
fn noise(length: usize) -> Vec<u8> {
    let state = RandomState::new();
    (0..length).map(|at| state.hash_one(at) as u8).collect()
}

/// Header lines that the server lets through and that are not a call's.
fn wrong_headers() -> Vec<String> {
    let call = |function: &str, deadline: &str| {
        format!("lattice-protocol: 1\r\nlattice-function: {function}\r\nlattice-deadline: {deadline}\r\n")
    };
    vec![
        String::new(),
        "x: y\r\n".to_owned(),
        "lattice-protocol: 1\r\n".to_owned(),
        "lattice-protocol: 999\r\nlattice-function: a:b/c#d\r\nlattice-deadline: 1000\r\n".to_owned(),
        call("no hash", "1000"),
        call("a:b/c#", "1000"),
        call(&format!("a:b/c#{}", "x".repeat(5000)), "1000"),
        call("../../etc#passwd", "1000"),
        call("wasi:keyvalue/store#get", "soon"),
        call("wasi:keyvalue/store#get", "-1"),
        call("wasi:keyvalue/store#get", "99999999999999999999999999"),
        call("wasi:keyvalue/store#get", "1000") + "content-type: image/png\r\n",
        call("wasi:keyvalue/store#get", "1000") + "lattice-caller: no.unit\r\n",
    ]
}

/// Headers of a call whose payload is then not what the function takes.
fn right_headers(function: &str) -> String {
    format!(
        "lattice-protocol: 1\r\nlattice-function: {function}\r\nlattice-deadline: 2000\r\ntraceparent: {}\r\n",
        "0".repeat(55)
    )
}

fn payloads() -> Vec<Vec<u8>> {
    // Lengths that promise more than there is, among others.
    let promises = [
        vec![0xff; 9],
        vec![0xff; 100],
        vec![0; 1000],
        vec![0x80; 64],
        [vec![0xfe, 0xff, 0xff, 0xff, 0x0f], vec![1; 8]].concat(),
    ];
    let noises = [1, 2, 7, 64, 1000, 100_000].map(noise);
    promises.into_iter().chain(noises).chain([Vec::new()]).collect()
}

#[test]
fn garbage_on_call_subjects_is_refused_and_counted_and_the_app_serves_on() {
    for isolate in ["host", "process"] {
        let lattice = Lattice::start(1);
        let address = free_address();
        lattice.apply(&format!(
            "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    web: {{ use: \
             http-server, config: {{ address: \"{address}\" }}, routes: {{ /: counter }} }}\n    cache: {{ use: keyvalue-memory, \
             isolate: {isolate} }}\n",
            head("counter"),
            image("counter")
        ));
        let load = Load::start(address, "/", 2);
        load.wait_for(20);
        let subject = |unit: &str, interface: &str| {
            let instance = lattice.status("counter").instances(unit).remove(0).id;
            format!("lattice.default.call.counter.{unit}.{instance}.{interface}")
        };
        let subjects = [
            subject("cache", "wasi:keyvalue/store"),
            subject("cache", "nonsense"),
            subject("counter", "wasi:http/incoming-handler"),
        ];
        let mut nats = RawNats::connect(&lattice.nats.url());
        for subject in &subjects {
            storm(&mut nats, subject);
        }
        nats.flush();
        load.wait_for(50);
        let answers = load.finish();
        assert_eq!(failures(&answers), [], "of {} requests", answers.len());
        assert!(lattice.status("counter").ready());
        // Counted at each power of two.
        let log = || {
            let log = lattice.hosts[0].log();
            (log.matches("rejected a message").count() >= 6 && log.contains("count=16")).then_some(log)
        };
        let log = lattice.wait("the count of what was rejected", Duration::from_secs(10), log);
        assert!(!log.contains("panicked"), "{log}");
        assert!(log.contains("header lattice-protocol is missing") || log.contains("without headers"), "{log}");
    }
}

/// Everything that is wrong, each with and without somebody who waits for a reply; every reply must be an error.
fn storm(nats: &mut RawNats, subject: &str) {
    let wrong = wrong_headers();
    for payload in payloads() {
        nats.publish(subject, None, &payload, false);
        nats.publish(subject, None, &payload, true);
        assert!(nats.reply().headers.contains("lattice-status: bad-message"));
    }
    for headers in &wrong {
        nats.publish(subject, Some(headers.as_bytes()), b"x", false);
        nats.publish(subject, Some(headers.as_bytes()), b"x", true);
        let reply = nats.reply();
        assert!(reply.headers.contains("lattice-status: bad-message"), "{headers}: {reply:?}");
    }
    for function in [
        "wasi:keyvalue/store#get",
        "wasi:keyvalue/store@0.2.0-draft#get",
        "wasi:keyvalue/store@0.2.0-draft#set-many",
        "wasi:http/incoming-handler@0.2.0#handle",
        "acme:nothing/here#at-all",
    ] {
        // By the subject of its own interface, and by the one that it does not belong to.
        let (instance, _) = subject.rsplit_once('.').unwrap();
        let own = format!("{instance}.{}", function.split(['@', '#']).next().unwrap());
        for (subject, payload) in
            [own.as_str(), subject].iter().flat_map(|s| payloads().into_iter().map(move |p| (s, p)))
        {
            nats.publish(subject, Some(right_headers(function).as_bytes()), &payload, true);
            let reply = nats.reply();
            let refused = ["bad-message", "not-served"].map(|code| format!("lattice-status: {code}"));
            assert!(refused.iter().any(|code| reply.headers.contains(code)), "{function} {}: {reply:?}", payload.len());
            assert!(reply.payload.len() <= 4096, "an error is short");
        }
    }
    // Several calls in one message that are none: refused as a whole.
    for headers in ["lattice-protocol: 1\r\nlattice-bundle: 2\r\n", "lattice-bundle: x\r\n"] {
        for payload in payloads().into_iter().filter(|payload| !payload.is_empty()) {
            nats.publish(subject, Some(headers.as_bytes()), &payload, true);
            let reply = nats.reply();
            assert!(reply.headers.contains("lattice-status: bad-message"), "{} bytes: {reply:?}", payload.len());
        }
    }
}

#[test]
fn garbage_in_the_store_stops_nobody() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let manifest = format!(
        "{}  components:\n    hello: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" \
         }}, routes: {{ /: hello }} }}\n",
        head("hello"),
        image("hello")
    );
    lattice.apply(&manifest);
    let load = Load::start(address, "/", 1);
    let mut nats = RawNats::connect(&lattice.nats.url());
    let me = lattice.hosts[0].id();
    let tables = ["apps", "hosts", "assignments", "plans", "leases"].map(|table| format!("lattice-default.{table}"));
    for table in tables.into_iter().chain(["lattice-default-beats.beats".to_owned()]) {
        for key in ["nonsense", "with/slash", "nonsense.twice", &me[..20]] {
            for payload in payloads().into_iter().filter(|payload| payload.len() < 2000) {
                nats.publish(&format!("$KV.{table}.{key}"), None, &payload, true);
                let reply = String::from_utf8(nats.reply().payload).unwrap();
                assert!(reply.contains("\"seq\""), "the store has taken it: {reply}");
            }
        }
    }
    let other = free_address();
    lattice.apply(&manifest.replace("name: hello", "name: second").replace(&address.to_string(), &other.to_string()));
    load.wait_for(50);
    assert_eq!(failures(&load.finish()), []);
    assert!(!lattice.hosts[0].log().contains("panicked"));
    assert_eq!(lattice.ctl(&["delete", "second"]).code, Some(0));
}
