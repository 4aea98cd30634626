//! Hosts without their lattice: they start, they serve, they stop what must not run twice, and they come back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    cell::RefCell,
    io::Write,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, Load, Status, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::{free_address, program},
    proxy::Proxy,
};

/// A counter on a file, and a component that shows its secrets.
fn app(address: SocketAddr) -> String {
    format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n    settings: {{ image: {}, secrets: {{ \
         password: db }} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: \
         counter, /secret: settings }} }}\n    cache: {{ use: keyvalue-redb }}\n",
        head("shop"),
        image("counter"),
        image("settings"),
    )
}

fn count(address: SocketAddr) -> Option<u64> {
    get(address, "/").ok().filter(|response| response.status == 200)?.text().trim().parse().ok()
}

fn instances(status: &Status) -> Vec<String> {
    let units = ["counter", "settings", "web", "cache"];
    units.iter().flat_map(|unit| status.instances(unit)).map(|instance| instance.id).collect()
}

#[test]
fn a_host_that_is_killed_starts_and_serves_without_a_lattice_and_returns_without_a_gap() {
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key.xk").display().to_string();
    let made = Command::new(program("lattice-ctl")).args(["secrets", "keygen", &key]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut lattice = Lattice::start_with(1, |host| host.arguments = vec!["--secrets-key".into(), key.clone()]);
    let mut put = lattice.command(&["secrets", "put", "shop/db"]).stdin(Stdio::piped()).spawn().unwrap();
    put.stdin.take().unwrap().write_all(b"hunter2\n").unwrap();
    assert!(put.wait().unwrap().success());
    let address = free_address();
    lattice.apply(&app(address));
    assert_eq!(count(address), Some(1));
    let before = instances(&lattice.wait_ready("shop"));

    lattice.nats.stop();
    lattice.hosts[0].kill();
    lattice.hosts[0].spawn();
    lattice.hosts[0].wait_ready();
    let log = lattice.hosts[0].log_of_this_life();
    assert!(log.contains("going on with what this host had to run"), "{log}");
    let again = lattice.wait("the app on the island", SETTLE, || count(address));
    assert_eq!(again, 2, "its data is that of before");
    assert_eq!(get(address, "/secret/password").unwrap().text(), "hunter2");
    // Killed in the middle of its life as an island, too.
    lattice.hosts[0].kill();
    lattice.hosts[0].spawn();
    lattice.wait("the app on the island, again", SETTLE, || count(address));

    let load = Load::start(address, "/", 4);
    load.wait_for(100);
    lattice.nats.restart().unwrap();
    let back = lattice.wait_ready("shop");
    let came = Instant::now();
    while came.elapsed() < Duration::from_secs(5) {
        load.wait_for(50);
    }
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    assert_eq!(instances(&back), before, "what ran on the island is what the lattice wanted");
    let log = lattice.hosts[0].log_of_this_life();
    assert!(!log.contains("draining"), "nothing was started anew: {log}");
    let said = lattice.apply(&app(address));
    assert!(said.contains("unchanged"), "{said}");
}

#[test]
fn a_host_that_never_had_work_waits_for_its_lattice() {
    let mut lattice = Lattice::start(1);
    lattice.nats.stop();
    lattice.hosts[0].kill();
    lattice.hosts[0].spawn();
    let says = |text: &str| lattice.hosts[0].log_of_this_life().contains(text).then_some(());
    lattice.wait("a word about the wait", SETTLE, || says("cannot reach NATS"));
    assert!(says("going on with").is_none());
    lattice.nats.restart().unwrap();
    lattice.hosts[0].wait_ready();
}

#[test]
fn of_a_host_that_is_cut_off_all_goes_on_but_what_must_not_run_twice() {
    let proxy = RefCell::new(None);
    let url = |zone: &str, nats: &NatsServer| match zone {
        "a" => proxy.borrow_mut().insert(Proxy::start(&nats.url())).url(),
        _ => nats.url(),
    };
    let lattice = Lattice::start_on(2, NatsServer::start, url);
    let proxy = proxy.into_inner().unwrap();
    let (address, kept) = (free_address(), free_address());
    let site = |name: &str, address: SocketAddr, placement: &str| {
        format!(
            "{}  components:\n    hello: {{ image: {}, replicas: 2 }}\n  providers:\n    web: {{ use: http-server, config: {{ \
             address: \"{address}\" }}, routes: {{ /: hello }}, placement: {{ {placement} }} }}\n",
            head(name),
            image("hello")
        )
    };
    // Both hosts are on this machine: were the first one still listening, the second could not.
    lattice.apply(&site("once", address, "prefer: { zone: [a] }, offline: stop"));
    lattice.apply(&site("always", kept, "require: { zone: [a] }"));
    let zone = |status: &Status| lattice.zone_of(&status.hosts("web")[0]).to_owned();
    assert_eq!(zone(&lattice.wait_ready("once")), "a");
    let load = Load::start(kept, "/", 2);
    load.wait_for(100);

    proxy.stall();
    let cut = Instant::now();
    lattice.wait("the end of the listener", SETTLE, || get(address, "/").is_err().then_some(()));
    assert!(cut.elapsed() < Duration::from_secs(4), "it was served for {:?} after the cut", cut.elapsed());
    let elsewhere =
        || lattice.try_status("once").filter(|status| zone(status) == "b" && status.state("web") == "ready");
    lattice.wait("the listener on the other host", SETTLE, elsewhere);
    assert_eq!(get(address, "/").unwrap().status, 200);
    let log = lattice.hosts[1].log();
    assert!(!log.contains("not running"), "it could listen at once: {log}");
    let log = lattice.hosts[0].log();
    assert!(log.contains("unit=once/web") && log.contains("at_once=true"), "{log}");
    load.wait_for(100);

    proxy.resume();
    let settled = lattice.wait("both apps", SETTLE, || {
        let both = (lattice.try_status("once")?, lattice.try_status("always")?);
        (both.0.ready() && both.1.ready()).then_some(both.0)
    });
    assert_eq!(zone(&settled), "b", "what has moved stays");
    load.wait_for(100);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
}
