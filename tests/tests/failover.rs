//! Hosts and provider processes that die, and hosts that leave.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load, Status, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
    process::{runs, signal},
    wait,
};
use rustix::process::Signal;

/// A host that is killed must be replaced within this time.
const FAILOVER: Duration = Duration::from_secs(5);
/// What a killed host has left behind ends within this time.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// `placement` as in `, placement: { require: { zone: [a] } }`.
fn counter(address: SocketAddr, isolate: &str, placement: &str) -> String {
    format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }}{placement} }}\n    both: {{ image: {}, \
         replicas: 2 }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: \
         counter, /both: both }}{placement} }}\n    cache: {{ use: keyvalue-memory, isolate: {isolate}{placement} }}\n",
        head("counter"),
        image("counter"),
        image("hello"),
    )
}

fn zone(zone: &str) -> String {
    format!(", placement: {{ require: {{ zone: [{zone}] }} }}")
}

/// Puts the app on the host in `victim`, from where it is free to move, kills that host, and sees it come back.
fn a_killed_host_is_replaced(lattice: &mut Lattice, victim: &str) {
    let address = free_address();
    lattice.apply(&counter(address, "process", &zone(victim)));
    lattice.apply(&counter(address, "process", ""));
    let id = lattice.host(victim).id();
    for unit in ["web", "counter", "cache"] {
        assert_eq!(lattice.status("counter").hosts(unit), [id.as_str()], "{unit} stays where it is while it may");
    }
    assert_eq!(get(address, "/").unwrap().text(), "1\n");
    let providers = lattice.host(victim).providers();
    assert_eq!(providers.len(), 1, "the isolated provider is a child of its host");

    lattice.host(victim).kill();
    let killed = Instant::now();
    let serves = |path: &str| get(address, path).ok().filter(|response| response.status == 200);
    lattice.wait("the app on the other host", FAILOVER, || serves("/").and(serves("/both")));
    println!("serving again {:?} after the kill of {victim}", killed.elapsed());
    wait("the end of the killed host's provider", LEFT_BEHIND, || (!runs(providers[0])).then_some(()));
    let moved = lattice.wait_ready("counter");
    for unit in ["web", "counter", "cache", "both"] {
        assert!(!moved.hosts(unit).contains(&id), "{unit} is not on the dead host");
        assert_eq!(moved.instances(unit).len(), 1, "{unit}");
    }
    // A memory of its own that has begun anew: nothing of the dead one serves.
    assert!(get(address, "/").unwrap().text().trim().parse::<u64>().unwrap() < 100);

    lattice.host(victim).spawn();
    lattice.host(victim).wait_ready();
    assert_eq!(lattice.host(victim).id(), id, "the key in its data folder makes it the same host");
    let exactly = |status: &Status| {
        let once = |unit: &&str| status.instances(unit).len() == 1;
        status.ready() && ["web", "counter", "cache"].iter().all(once) && status.instances("both").len() == 2
    };
    let back =
        lattice.wait("the wanted copies and no others", SETTLE, || lattice.try_status("counter").filter(exactly));
    for unit in ["web", "counter", "cache"] {
        assert_eq!(back.hosts(unit), moved.hosts(unit), "{unit} stays where it has found its place");
    }
    assert_eq!(lattice.host(victim).providers(), [0; 0], "the host that came back runs no provider");
    assert!(serves("/").is_some() && serves("/both").is_some());
}

#[test]
fn a_killed_host_without_the_lease_is_replaced_and_comes_back_without_duplicates() {
    let mut lattice = Lattice::start(2);
    let victim = if lattice.controller() == "a" { "b" } else { "a" };
    a_killed_host_is_replaced(&mut lattice, victim);
}

#[test]
fn a_killed_host_with_the_lease_is_replaced_and_comes_back_without_duplicates() {
    let mut lattice = Lattice::start(2);
    let victim = lattice.controller();
    a_killed_host_is_replaced(&mut lattice, &victim);
    assert_ne!(lattice.controller(), victim, "the other host controls the lattice now");
}

#[test]
fn a_killed_provider_process_is_restarted_and_serves_again() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&counter(address, "process", ""));
    assert_eq!(get(address, "/").unwrap().text(), "1\n");
    let killed = lattice.hosts[0].providers();
    assert_eq!(killed.len(), 1);
    let load = Load::start(address, "/", 4);
    load.wait_for(20);
    signal(killed[0], Signal::KILL);
    let other = || lattice.hosts[0].providers().into_iter().find(|pid| *pid != killed[0] && runs(*pid));
    lattice.wait("another provider process", FAILOVER, other);
    lattice.wait("serving again", FAILOVER, || get(address, "/").ok().filter(|response| response.status == 200));
    let status = lattice.wait_ready("counter");
    assert_eq!(status.counts("cache"), (1, 1));
    let log = lattice.hosts[0].log();
    assert!(log.contains("its process ended (signal: 9 (SIGKILL))"), "the log says why");
    let answers = load.finish();
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    // A call that was under way has nobody left to answer it: it ends at its deadline, which is 10 s.
    assert!(slowest < Duration::from_secs(12), "a caller waited for {slowest:?}");
    assert_eq!(lattice.hosts[0].providers().len(), 1);
}

/// Ends the host that runs the one copy of `hello`, or one of its copies, under load over a listener elsewhere.
fn a_leaving_host_loses_no_request(replicas: u32) {
    let mut lattice = Lattice::start(3);
    let address = free_address();
    let on = |zones: &str| format!("placement: {{ require: {{ zone: [{zones}] }} }}");
    lattice.apply(&format!(
        "{}  components:\n    hello: {{ image: {}, replicas: {replicas}, {} }}\n  providers:\n    web: {{ use: http-server, \
         config: {{ address: \"{address}\" }}, routes: {{ /: hello }}, {} }}\n",
        head("hello"),
        image("hello"),
        on("b, c"),
        on("a"),
    ));
    let load = Load::start(address, "/", 8);
    load.wait_for(200);
    let leaving = lattice.status("hello").hosts("hello")[0].clone();
    let leaving = lattice.zone_of(&leaving).to_owned();
    lattice.host(&leaving).ask_to_end();
    load.wait_for(200);
    assert_eq!(lattice.host(&leaving).wait_ended(), Some(0));
    load.wait_for(200);
    let settled = |status: &Status| status.ready() && status.instances("hello").len() == 1;
    lattice.wait("the app without the host", SETTLE, || lattice.try_status("hello").filter(settled));
    load.wait_for(200);
    let answers = load.finish();
    let failed = failures(&answers);
    if !failed.is_empty() {
        lattice.fail(&format!("of {} requests: {failed:?}", answers.len()));
    }
    let hosts = lattice.ctl(&["get", "hosts", "-o", "json"]).stdout;
    assert!(!hosts.contains("\"alive\": false"), "who leaves in peace is not lost: {hosts}");
}

#[test]
fn a_host_that_is_told_to_end_loses_no_request_when_another_copy_serves() {
    a_leaving_host_loses_no_request(2);
}

#[test]
fn a_host_that_is_told_to_end_loses_no_request_even_with_the_only_copy() {
    a_leaving_host_loses_no_request(1);
}

#[test]
fn a_host_that_is_told_to_end_hands_over_its_listener_too_and_the_last_one_does_not_wait() {
    let mut lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&counter(address, "process", &zone("b")));
    lattice.apply(&counter(address, "process", ""));
    assert_eq!(get(address, "/").unwrap().status, 200);
    lattice.host("b").ask_to_end();
    let asked = Instant::now();
    assert_eq!(lattice.host("b").wait_ended(), Some(0));
    let took = asked.elapsed();
    assert!(took < FAILOVER, "it ended after {took:?}");
    let serves = |path: &str| get(address, path).ok().filter(|response| response.status == 200);
    lattice.wait("the app on the other host", FAILOVER, || serves("/").and(serves("/both")));
    let id = lattice.host("a").id();
    let status = lattice.wait_ready("counter");
    assert!(["web", "counter", "cache", "both"].iter().all(|unit| status.hosts(unit) == [id.as_str()]));

    let asked = Instant::now();
    lattice.host("a").ask_to_end();
    assert_eq!(lattice.host("a").wait_ended(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "with nobody to hand over to: {:?}", asked.elapsed());
}
