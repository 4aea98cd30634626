//! Machines on which something is wrong: clocks that are apart, a disk that is full, a disk that is slow.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load,
    faults::{Wrong, with_clock, with_disk},
    get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
};

/// A host that is killed must be replaced within this time.
const FAILOVER: Duration = Duration::from_secs(5);

fn zone(zone: &str) -> String {
    format!("placement: {{ require: {{ zone: [{zone}] }} }}")
}

/// A page on the host in the first zone.
fn page(name: &str, address: SocketAddr, component: &str) -> String {
    let here = zone("a");
    format!(
        "{}  components:\n    page: {{ image: {}, {here} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \
         \"{address}\" }}, routes: {{ /: page }}, {here} }}\n",
        head(name),
        image(component),
    )
}

#[test]
fn clocks_that_are_apart_change_nothing() {
    // One is a day behind, one an hour ahead, and the command line has the right time.
    let mut lattice = Lattice::start_with(3, |host| match host.zone.as_str() {
        "a" => with_clock(host, -86400),
        "b" => with_clock(host, 3600),
        _ => (),
    });
    let address = free_address();
    // The listener is on the third host; what it calls, and what that calls, is where there is room.
    lattice.apply(&format!(
        "{}  components:\n    caller: {{ image: {}, links: {{ test:library: library }}, {} }}\n    library: {{ image: {}, replicas: 2, \
         placement: {{ require: {{ zone: [a, b] }} }} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" \
         }}, routes: {{ /: caller }}, {} }}\n",
        head("calls"),
        image("caller"),
        zone("c"),
        image("library"),
        zone("c"),
    ));
    for _ in 0..5 {
        assert_eq!(get(address, "/all").unwrap().text(), "all the same\n");
    }
    // Who plans dies, whatever its clock says; then somebody with another clock does.
    let first = lattice.controller();
    if first != "c" {
        let id = lattice.host(&first).id();
        lattice.host(&first).kill();
        let died = Instant::now();
        let one_left = || {
            let status = lattice.try_status("calls")?;
            let left: Vec<_> = status.instances("library").into_iter().filter(|instance| instance.host != id).collect();
            (!left.is_empty()).then_some(())
        };
        lattice.wait("a copy elsewhere", FAILOVER, one_left);
        let all = || get(address, "/all").ok().filter(|answer| answer.status == 200);
        assert_eq!(lattice.wait("an answer", FAILOVER, all).text(), "all the same\n");
        assert!(died.elapsed() < 2 * FAILOVER);
        lattice.host(&first).spawn();
        lattice.host(&first).wait_ready();
    }
    lattice.wait("two copies", SETTLE, || {
        let status = lattice.try_status("calls")?;
        (status.ready() && status.instances("library").len() == 2).then_some(())
    });
    // Nothing that is shown goes by the hosts' clocks in a way that could not be.
    let hosts = lattice.ctl(&["get", "hosts", "-o", "json"]);
    let hosts: serde_json::Value = serde_json::from_str(&hosts.stdout).unwrap();
    assert!(hosts.as_array().unwrap().iter().all(|host| host["alive"] == true), "{hosts}");
    assert!(lattice.apply(&fs::read_to_string(lattice.dir().join("app.yaml")).unwrap()).contains("unchanged"));
}

#[test]
fn a_host_with_a_slow_disk_serves_as_fast_as_ever_and_is_given_up_by_nobody() {
    let lattice = Lattice::start_with(2, with_disk);
    let (address, other) = (free_address(), free_address());
    lattice.apply(&page("first", address, "hello"));
    let before = lattice.status("first").instances("page");
    let load = Load::start(address, "/", 4);
    load.wait_for(100);
    let slow = Wrong::with(&lattice, "a", "slow");
    // An artifact, compiled code, its sum, the journal: each of them takes five seconds.
    lattice.apply(&page("second", other, "trap"));
    assert_eq!(get(other, "/").unwrap().status, 200);
    drop(slow);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    assert!(slowest < Duration::from_secs(4), "a request waited for the disk: {slowest:?}");
    let ids = |instances: Vec<lattice_tests::status::Instance>| instances.into_iter().map(|i| i.id).collect::<Vec<_>>();
    assert_eq!(ids(lattice.status("first").instances("page")), ids(before), "nothing moved");
}

#[test]
fn a_host_with_a_full_disk_serves_on_and_keeps_what_it_needs_when_there_is_room_again() {
    let mut lattice = Lattice::start_with(1, with_disk);
    let (address, other, kept) = (free_address(), free_address(), free_address());
    lattice.apply(&page("first", address, "hello"));
    let store = format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    web: {{ use: http-server, config: \
         {{ address: \"{kept}\" }}, routes: {{ /: counter }} }}\n    cache: {{ use: keyvalue-redb }}\n",
        head("store"),
        image("counter"),
    );
    lattice.apply(&store);
    let count = |address| get(address, "/").ok().filter(|response| response.status == 200)?.text().trim().parse().ok();
    assert_eq!(count(kept), Some(1u64));
    let load = Load::start(address, "/", 4);
    load.wait_for(100);

    let full = Wrong::with(&lattice, "a", "full");
    // What is kept on the disk is refused, and the host says why.
    let refused = get(kept, "/").unwrap();
    assert!(
        refused.status >= 500 && refused.text().contains("No space left on device"),
        "{} {}",
        refused.status,
        refused.text()
    );
    // What needs no disk comes and serves.
    lattice.apply(&page("second", other, "trap"));
    assert_eq!(get(other, "/ok").unwrap().status, 200);
    let log = lattice.hosts[0].log();
    for said in ["cannot write the journal", "cannot keep an artifact on disk", "No space left on device"] {
        assert!(log.contains(said), "{said}:\n{log}");
    }
    drop(full);

    lattice.wait("the store", SETTLE, || count(kept).filter(|count| *count == 2));
    let journal = lattice.hosts[0].data().join("journal.json");
    let artifacts = || fs::read_dir(lattice.hosts[0].data().join("artifacts")).unwrap().count();
    let whole = || fs::read_to_string(&journal).unwrap().contains("second/page") && artifacts() == 3;
    lattice.wait("all that is needed on the disk", SETTLE, || whole().then_some(()));
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());

    // It is enough to go on without the lattice.
    lattice.nats.stop();
    lattice.hosts[0].kill();
    lattice.hosts[0].spawn();
    for (address, path) in [(address, "/"), (other, "/ok")] {
        lattice.wait("the page without the lattice", SETTLE, || get(address, path).ok().filter(|r| r.status == 200));
    }
    lattice.wait("the store without the lattice", SETTLE, || count(kept).filter(|count| *count >= 3));
}
