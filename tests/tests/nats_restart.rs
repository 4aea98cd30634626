//! NATS dies and comes back, with its store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
    process::runs,
};

/// NATS is away for so long: much longer than the time after which a host that is silent counts as lost.
const AWAY: Duration = Duration::from_secs(60);

fn zone(zone: &str) -> String {
    format!("placement: {{ require: {{ zone: [{zone}] }} }}")
}

/// A counter with its listener in zone a, the component in one and the data in another.
fn counter(app: &str, address: SocketAddr, component: &str, cache: &str) -> String {
    format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }}, {} }}\n  providers:\n    web: {{ use: \
         http-server, config: {{ address: \"{address}\" }}, routes: {{ /: counter }}, {} }}\n    cache: {{ use: \
         keyvalue-memory, {} }}\n",
        head(app),
        image("counter"),
        zone(component),
        zone("a"),
        zone(cache)
    )
}

#[test]
fn calls_between_hosts_and_apply_work_again_after_nats_is_killed_and_started() {
    let mut lattice = Lattice::start(2);
    let address = free_address();
    let far = counter("far", address, "b", "a").replacen("links:", "limits: { timeout: 1s }, links:", 1);
    lattice.apply(&far);
    assert_eq!(get(address, "/").unwrap().text(), "1\n");
    let pids: Vec<_> = lattice.hosts.iter().map(|host| host.pid()).collect();

    lattice.nats.stop();
    let asked = Instant::now();
    let refused = get(address, "/").unwrap();
    assert!(matches!(refused.status, 502..=504), "{} {}", refused.status, refused.text());
    assert!(asked.elapsed() < Duration::from_secs(3), "an answer within its deadline, not after {:?}", asked.elapsed());
    lattice.nats.restart().unwrap();

    let numbers = || get(address, "/").ok().filter(|r| r.status == 200)?.text().trim().parse::<u64>().ok();
    let number = lattice.wait("a call to the other host", SETTLE, numbers);
    assert!((2..=100).contains(&number), "the memory in host a has lived on, so {number} follows 1");
    assert_eq!(lattice.hosts.iter().map(|host| host.pid()).collect::<Vec<_>>(), pids, "nobody was restarted");
    assert!(lattice.hosts.iter().all(|host| host.log().matches("joined the lattice").count() == 1));

    let other = free_address();
    let said = lattice.apply(&counter("near", other, "a", "b"));
    assert!(said.contains("app near: ready"), "{said}");
    assert_eq!(get(other, "/").unwrap().text(), "1\n");
    let again = lattice.apply(&far);
    assert!(again.contains("unchanged"), "what was applied before is still known: {again}");
}

#[test]
fn local_links_serve_while_nats_is_away_and_nothing_moves() {
    let mut lattice = Lattice::start(2);
    let (address, anywhere) = (free_address(), free_address());
    lattice.apply(&counter("island", address, "a", "a"));
    // These could be moved: a copy of the component is on each host.
    lattice.apply(&format!(
        "{}  components:\n    page: {{ image: {}, replicas: 2 }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{anywhere}\" }}, routes: {{ /: page }} }}\n",
        head("roaming"),
        image("hello")
    ));
    let places = |lattice: &Lattice| {
        let of = |app: &str, units: &[&str]| {
            let status = lattice.wait_ready(app);
            units.iter().flat_map(|unit| status.instances(unit)).map(|i| (i.host, i.id)).collect::<Vec<_>>()
        };
        (of("island", &["counter", "web", "cache"]), of("roaming", &["page", "web"]))
    };
    let before = places(&lattice);
    let (load, other) = (Load::gentle(address, "/", 4), Load::gentle(anywhere, "/", 2));
    load.wait_for(100);
    lattice.nats.stop();
    let began = Instant::now();
    while began.elapsed() < AWAY {
        load.wait_for(50);
        other.wait_for(20);
    }
    let output = lattice.ctl(&["status"]);
    assert_eq!(output.code, Some(4), "NATS is away: {}", output.all());
    lattice.nats.restart().unwrap();
    lattice.wait("the controller", SETTLE, || (lattice.ctl(&["status"]).code == Some(0)).then_some(()));
    assert_eq!(places(&lattice), before, "nothing has moved, or was started again");
    load.wait_for(100);
    let others = other.finish();
    assert_eq!(failures(&others), [], "of {} requests", others.len());
    let answers = load.finish();
    assert_eq!(failures(&answers), [], "of {} requests", answers.len());
    let mut numbers: Vec<u64> = answers.iter().map(|a| a.outcome.as_ref().unwrap().trim().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(1..=answers.len() as u64), "one unbroken sequence: nothing was restarted");
}

#[test]
fn hosts_and_their_providers_end_when_nats_is_away() {
    let mut lattice = Lattice::start(2);
    // Both hosts have a provider process.
    for (app, zone) in [("one", "a"), ("two", "b")] {
        let manifest = counter(app, free_address(), "a", zone)
            .replace("use: keyvalue-memory", "use: keyvalue-memory, isolate: process");
        lattice.apply(&manifest);
    }
    let providers: Vec<_> = lattice.hosts.iter().flat_map(|host| host.providers()).collect();
    assert_eq!(providers.len(), 2);
    lattice.nats.stop();
    lattice.host("a").ask_to_end();
    lattice.host("b").kill();
    let asked = Instant::now();
    let limit = Duration::from_secs(20);
    lattice.wait("the end of all provider processes", limit, || providers.iter().all(|pid| !runs(*pid)).then_some(()));
    assert_eq!(lattice.host("a").wait_ended(), Some(0), "it ends in peace");
    assert!(asked.elapsed() < Duration::from_secs(10), "and in time, not after {:?}", asked.elapsed());
}
