//! One lattice on a hub and two leaf nodes, one of which has JetStream of its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, Load,
    cut::Way,
    get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
    process::signal,
};
use rustix::process::Signal;

/// Berlin is without the hub for so long.
const CUT: Duration = Duration::from_secs(60);

/// The leaf nodes, and the way from one of them to the hub.
struct Leaves {
    way: Way,
    berlin: NatsServer,
    bonn: NatsServer,
}

/// The way from a leaf node to the hub.
fn remote(name: &str, hub: SocketAddr) -> String {
    format!("server_name: {name}\nleafnodes {{ reconnect: 1, remotes: [{{ url: \"nats-leaf://{hub}\" }}] }}\n")
}

/// A host at the hub (zone a), two in Berlin (b and c), and one in Bonn (d).
fn lattice() -> (Lattice, Leaves) {
    let hub_address = free_address();
    let leafnodes = format!("server_name: hub\nleafnodes {{ listen: \"{hub_address}\" }}\n");
    let hub = NatsServer::start_in_domain("hub", leafnodes).unwrap();
    let way = Way::to(hub_address);
    let berlin = NatsServer::start_without_jetstream(remote("berlin", way.address())).unwrap();
    let bonn = NatsServer::start_in_domain("bonn", remote("bonn", hub_address)).unwrap();
    let leaves = Leaves { way, berlin, bonn };
    let url = |zone: &str, hub: &NatsServer| match zone {
        "a" => hub.url(),
        "d" => leaves.bonn.url(),
        _ => leaves.berlin.url(),
    };
    let lattice = Lattice::start_all(
        4,
        || Ok(hub),
        url,
        |host| {
            let site = match host.zone.as_str() {
                "a" => "hub",
                "d" => "bonn",
                _ => "berlin",
            };
            host.arguments = vec!["--label".to_owned(), format!("site={site}")];
            host.variables = vec![("NATS_DOMAIN".to_owned(), "hub".to_owned())];
        },
    );
    (lattice, leaves)
}

/// A listener in Berlin, and a copy of a component there and in Bonn.
fn app(address: SocketAddr) -> String {
    format!(
        "{}  components:\n    hello: {{ image: {}, replicas: 2, placement: {{ require: {{ zone: [c, d] }} }} }}\n  providers:\n    web: {{ \
         use: http-server, config: {{ address: \"{address}\" }}, placement: {{ require: {{ zone: [b] }} }}, routes: {{ /: hello }} }}\n",
        head("shop"),
        image("hello")
    )
}

#[test]
fn calls_stay_at_their_site_and_a_site_that_is_cut_off_goes_on() {
    let (mut lattice, leaves) = lattice();
    let address = free_address();
    // Sent from a leaf node, whose own JetStream must not become a second lattice.
    let elsewhere = |args: &[&str]| {
        let mut command = lattice.command(args);
        let output = command.env("NATS_URL", leaves.bonn.url()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    lattice.write("app.yaml", app(address));
    let (code, error) = elsewhere(&["apply", "-f", "app.yaml"]);
    assert_ne!(code, Some(0));
    assert!(error.contains("domain `bonn`") && error.contains("--nats-domain"), "{error}");
    let (code, error) = elsewhere(&["--nats-domain", "hub", "apply", "-f", "app.yaml"]);
    assert_eq!(code, Some(0), "{error}");
    let before = lattice.wait_ready("shop");

    // A host in Bonn that answers nobody is not missed in Berlin.
    let load = Load::gentle(address, "/", 4);
    load.wait_for(50);
    let bonn = lattice.host("d").pid();
    signal(bonn, Signal::STOP);
    thread::sleep(Duration::from_secs(2));
    signal(bonn, Signal::CONT);
    load.wait_for(50);

    // Berlin is cut off: what is there serves on, and nobody else gets what is Berlin's.
    leaves.way.cut();
    let cut = Instant::now();
    while cut.elapsed() < CUT {
        load.wait_for(50);
    }
    leaves.way.mend();
    let now = lattice.wait("the app as it was", SETTLE, || lattice.try_status("shop").filter(|now| now.ready()));
    for unit in ["hello", "web"] {
        assert_eq!(now.instances(unit), before.instances(unit), "{unit} after the cut");
    }
    load.wait_for(50);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    assert!(slowest < Duration::from_millis(1500), "one went to Bonn: it took {slowest:?}");

    // Without a copy in Berlin, the one in Bonn answers, by way of the hub.
    lattice.host("c").kill();
    let there = || get(address, "/").ok().filter(|answer| answer.status == 200);
    lattice.wait("an answer from Bonn", SETTLE, there);
    drop(leaves.berlin);
}
