//! Where units go: what manifests ask for, what hosts have, and what operators say of hosts.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::net::SocketAddr;

use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
};
use serde_json::Value;

/// An app with one component in front of nothing.
fn hello(app: &str, more: &str) -> String {
    format!("{}  components:\n    hello: {{ image: {}, {more} }}\n", head(app), image("hello"))
}

fn served(app: &str, address: SocketAddr, component: &str, web: &str) -> String {
    format!(
        "{}  components:\n    hello: {{ image: {}, {component} }}\n  providers:\n    web: {{ use: http-server, config: {{ \
         address: \"{address}\" }}, routes: {{ /: hello }}, {web} }}\n",
        head(app),
        image("hello")
    )
}

fn on(zones: &str) -> String {
    format!("placement: {{ require: {{ zone: [{zones}] }} }}")
}

/// The zones of the hosts that run a unit, in order.
fn zones(lattice: &Lattice, app: &str, unit: &str) -> Vec<String> {
    let status = lattice.wait_ready(app);
    let mut zones: Vec<_> = status.hosts(unit).iter().map(|id| lattice.zone_of(id).to_owned()).collect();
    zones.sort();
    zones
}

fn ctl(lattice: &Lattice, args: &[&str]) -> String {
    let output = lattice.ctl(args);
    if output.code != Some(0) {
        lattice.fail(&format!("{args:?}: {}", output.all()));
    }
    output.stdout
}

/// The line of `why` about the host in a zone.
fn why(lattice: &mut Lattice, unit: &str, zone: &str) -> Value {
    let id = lattice.host(zone).id();
    let told: Value = serde_json::from_str(&ctl(lattice, &["why", unit, "-o", "json"])).unwrap();
    let hosts = told[0]["hosts"].as_array().unwrap();
    hosts.iter().find(|host| host["host"] == id.as_str()).cloned().unwrap()
}

#[test]
fn a_drained_host_gives_everything_away_without_a_lost_request_and_ends() {
    let mut lattice = Lattice::start(3);
    let address = free_address();
    lattice.apply(&served("shop", address, &on("b"), &on("a")));
    lattice.apply(&served("shop", address, &on("b, c"), &on("a")));
    let load = Load::start(address, "/", 8);
    load.wait_for(200);
    let (b, other) = (lattice.host("b").id(), lattice.host("c").id());

    let said = ctl(&lattice, &["host", "drain", &b[..12], "--reason", "new disk"]);
    assert!(said.contains("nothing runs on it any more") && said.contains(": ended"), "{said}");
    assert_eq!(lattice.host("b").wait_ended(), Some(0));
    assert_eq!(lattice.wait_ready("shop").hosts("hello"), [other.as_str()]);
    load.wait_for(200);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());

    // It comes back, and gets nothing until somebody says so. That it was told to end is over.
    lattice.host("b").spawn();
    lattice.host("b").wait_ready();
    lattice.apply(&hello("more", &format!("replicas: 3, {}", on("a, b"))));
    assert_eq!(zones(&lattice, "more", "hello"), ["a"]);
    let told = why(&mut lattice, "more/hello", "b");
    assert_eq!((&told["planned"], &told["why"]), (&Value::Bool(false), &"is leaving".into()));
    let hosts = ctl(&lattice, &["get", "hosts"]);
    assert!(hosts.lines().any(|line| line.starts_with(&b[..8]) && line.contains("leaving")), "{hosts}");
    ctl(&lattice, &["host", "uncordon", &b]);
    let both = || lattice.try_status("more").filter(|status| status.hosts("hello").len() == 2);
    lattice.wait("a copy on the host that takes units again", SETTLE, both);
    assert!(lattice.host("b").runs());
}

#[test]
fn a_drain_names_what_has_no_other_place_and_what_runs_goes_on() {
    let mut lattice = Lattice::start(2);
    let address = free_address();
    lattice.apply(&served("shop", address, &on("b"), &on("b")));
    let b = lattice.host("b").id();
    let output = lattice.ctl(&["host", "drain", &b, "--timeout", "3s"]);
    assert_eq!(output.code, Some(5), "{}", output.all());
    assert!(output.stderr.contains("still runs shop/hello (ready), shop/web (ready)"), "{}", output.all());
    assert_eq!(get(address, "/").unwrap().status, 200);
    let told = why(&mut lattice, "shop/hello", "a");
    assert_eq!(told["why"], "zone=a, not b");
    assert!(lattice.host("b").runs());
}

#[test]
fn labels_and_taints_change_while_hosts_run() {
    let mut lattice = Lattice::start(2);
    let (a, b) = (lattice.host("a").id(), lattice.host("b").id());
    let refused = lattice.try_apply(&hello("shop", "placement: { require: { disk: [ssd] } }"));
    assert_eq!(refused.code, Some(5), "{}", refused.all());
    assert!(refused.stderr.contains("no live host has disk=ssd"), "{}", refused.all());
    ctl(&lattice, &["host", "label", &b, "disk=ssd"]);
    assert_eq!(zones(&lattice, "shop", "hello"), ["b"]);
    // It moves when another one has the label, and not before.
    ctl(&lattice, &["host", "label", &b, "disk-"]);
    let told = why(&mut lattice, "shop/hello", "b");
    assert_eq!(told["why"], "no label disk=ssd; it goes when others have taken over");
    ctl(&lattice, &["host", "label", &a, "disk=ssd"]);
    lattice.wait("the unit on the other host", SETTLE, || {
        lattice.try_status("shop").filter(|status| status.ready() && status.hosts("hello") == [a.as_str()])
    });

    ctl(&lattice, &["host", "taint", &b, "gpu"]);
    lattice.apply(&hello("plain", "replicas: 2"));
    lattice.apply(&hello("fast", "replicas: 2, placement: { tolerate: [gpu] }"));
    assert_eq!(zones(&lattice, "plain", "hello"), ["a"]);
    assert_eq!(zones(&lattice, "fast", "hello"), ["a", "b"]);
    assert_eq!(why(&mut lattice, "plain/hello", "b")["why"], "has the taint gpu");
    // What was said holds for the host, not for its process.
    lattice.host("b").kill();
    lattice.host("b").spawn();
    lattice.host("b").wait_ready();
    let hosts: Value = serde_json::from_str(&ctl(&lattice, &["get", "hosts", "-o", "json"])).unwrap();
    let of_b = hosts.as_array().unwrap().iter().find(|host| host["id"] == b.as_str()).unwrap();
    assert_eq!(of_b["taints"], serde_json::json!(["gpu"]));
    ctl(&lattice, &["host", "taint", &b, "--as-started"]);
    let both = || lattice.try_status("plain").filter(|status| status.ready() && status.hosts("hello").len() == 2);
    lattice.wait("a copy on the host without the taint", SETTLE, both);
}

#[test]
fn copies_are_spread_kept_apart_and_fit() {
    let mut lattice = Lattice::start_with(4, |host| {
        // Two racks; the hosts of the second one are small.
        let (rack, units) = if ["a", "b"].contains(&host.zone.as_str()) { ("one", 20) } else { ("two", 2) };
        host.arguments = ["--label", &format!("rack={rack}"), "--capacity", &format!("units={units},memory=1GiB")]
            .map(str::to_owned)
            .to_vec();
    });
    let racks = |zones: &[String]| {
        let first = zones.iter().filter(|zone| ["a", "b"].contains(&zone.as_str())).count();
        (first, zones.len() - first)
    };
    lattice.apply(&hello("even", "replicas: 2, placement: { spread: rack }"));
    assert_eq!(racks(&zones(&lattice, "even", "hello")), (1, 1));
    lattice.apply(&hello("alone", "replicas: 2, placement: { apart: [even/hello] }"));
    let (even, alone) = (zones(&lattice, "even", "hello"), zones(&lattice, "alone", "hello"));
    assert!(even.iter().all(|zone| !alone.contains(zone)), "{even:?} {alone:?}");
    let beside = why(&mut lattice, "alone/hello", &even[0]);
    assert_eq!(beside["why"], "runs even/hello, from which it is kept apart");
    lattice.apply(&hello("liked", "placement: { prefer: { rack: [two] } }"));
    assert_eq!(racks(&zones(&lattice, "liked", "hello")), (0, 1));

    // There is no host with so much memory, and the units go on that are there.
    let refused = lattice.try_apply(&hello("large", "replicas: 4, limits: { memory: 1000MiB }"));
    assert_eq!(refused.code, Some(5), "{}", refused.all());
    let needs = "of memory left, and it needs 1000 MiB";
    assert!(refused.stderr.contains(needs), "{}", refused.all());
    // Small hosts take two units, whatever is asked for.
    let refused = lattice.try_apply(&hello("all", "perHost: 1"));
    let hosts = lattice.status("all").hosts("hello").len();
    assert!(refused.stderr.contains("has room for 2 units, which are there") || hosts == 4, "{}", refused.all());
    // A skew with a bound would need room in the rack that is full.
    lattice.apply(&hello("even", "replicas: 0"));
    for app in ["large", "all", "liked"] {
        ctl(&lattice, &["delete", app]);
    }
    lattice.apply(&hello("filled", "replicas: 2, placement: { require: { rack: [two] } }"));
    lattice.apply(&hello("bound", "replicas: 2, placement: { spread: { by: rack, maxSkew: 1 } }"));
    assert_eq!(racks(&zones(&lattice, "bound", "hello")), (1, 1));
}

#[test]
fn what_is_wrong_with_a_placement_is_said_with_its_place() {
    let lattice = Lattice::start(1);
    let output =
        lattice.try_apply(&hello("shop", "placement: { spread: { by: zone, maxSkew: 0 }, apart: [hello, hullo] }"));
    assert_eq!(output.code, Some(3), "{}", output.all());
    for text in [
        "a skew of 0 would allow no copy but the first",
        "`hello` cannot be apart from itself",
        "did you mean `hello`?",
    ] {
        assert!(output.stderr.contains(text), "{text}: {}", output.all());
    }
    let output = lattice.try_apply(&hello("shop", "placement: { prefers: { zone: [a] } }"));
    assert!(output.stderr.contains("did you mean `prefer`?"), "{}", output.all());
    let output = lattice.ctl(&["host", "cordon", "NOBODY"]);
    assert_eq!(output.code, Some(6), "{}", output.all());
    let output = lattice.ctl(&["why", "shop/hello"]);
    assert_eq!(output.code, Some(6), "{}", output.all());
    assert!(lattice.hosts[0].command().args(["--capacity", "cpus=1"]).output().unwrap().status.code() == Some(2));
}

#[test]
fn a_host_that_is_forgotten_leaves_nothing_and_may_come_back() {
    let mut lattice = Lattice::start(2);
    lattice.apply(&format!("{}  components:\n    hello: {{ image: {}, perHost: 1 }}\n", head("shop"), image("hello")));
    assert_eq!(lattice.wait_ready("shop").counts("hello"), (2, 2));
    let gone = lattice.host("b").id();
    lattice.host("b").kill();
    let forget = || {
        let output = lattice.ctl(&["host", "forget", &gone]);
        // Until its last sign of life has expired, it may be alive.
        (output.code == Some(0)).then_some(output)
    };
    let output = lattice.wait("a host that is forgotten", SETTLE, forget);
    assert!(output.stdout.contains("forgotten"), "{}", output.all());
    assert!(!lattice.ctl(&["get", "hosts", "-o", "json"]).stdout.contains(&gone));
    let status =
        lattice.wait("one copy", SETTLE, || lattice.try_status("shop").filter(|s| s.counts("hello") == (1, 1)));
    assert_eq!(status.state("hello"), "ready", "nobody waits for the other one");
    lattice.host("b").spawn();
    lattice.host("b").wait_ready();
    let both = || lattice.try_status("shop").filter(|status| status.counts("hello") == (2, 2));
    let status = lattice.wait("both copies", SETTLE, both);
    assert!(status.hosts("hello").contains(&gone), "it is the same host");
}
