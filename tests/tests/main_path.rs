//! The main job: an app on two hosts, its backend swapped while it serves, and gone when it is deleted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use lattice_provider::conformance::servers::{PostgresServer, RedisServer};
use lattice_tests::{
    Client, Lattice, Load, get,
    lattice::{head, image},
    load::{Answer, failures},
    places::free_address,
};

/// Answers of each backend before the next swap.
const ANSWERS: u64 = 300;

fn counter(address: SocketAddr, cache: &str) -> String {
    format!(
        "{}  components:\n    counter: {{ image: {}, replicas: 2, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    \
         web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: counter }} }}\n    cache: {{ {cache} }}\n",
        head("counter"),
        image("counter")
    )
}

fn count(address: SocketAddr) -> u64 {
    let response = get(address, "/").unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().trim().parse().unwrap()
}

#[test]
fn an_app_runs_on_two_hosts_counts_and_is_deleted_without_a_trace() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let manifest = counter(address, "use: keyvalue-memory");
    let said = lattice.apply(&manifest);
    assert!(said.contains("app counter: revision 1 (added: cache, counter, web)"), "{said}");
    assert!(said.contains(&format!("counter 2/2, web 1/1 at http://{address}/")), "{said}");
    let status = lattice.status("counter");
    let mut ids: Vec<_> = lattice.hosts.iter().map(|host| host.id()).collect();
    ids.sort();
    assert_eq!(status.hosts("counter"), ids, "one copy on each host");
    assert_eq!(status.what("counter"), digest("counter"));

    let mut client = Client::connect(address).unwrap();
    for visit in 1..=20 {
        assert_eq!(client.get("/").unwrap().text(), format!("{visit}\n"));
    }
    assert_eq!(client.get("/other").unwrap().text(), "1\n");

    let again = lattice.apply(&manifest);
    assert!(again.contains("app counter: unchanged (revision 1)"), "{again}");
    assert_eq!(lattice.status("counter"), status);
    assert_eq!(count(address), 21, "nothing was restarted");

    let deleted = lattice.ctl(&["delete", "counter"]);
    assert_eq!(deleted.code, Some(0), "{}", deleted.all());
    assert!(deleted.stdout.contains("nothing of it runs any more"), "{}", deleted.all());
    assert_eq!(get(address, "/").unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(lattice.ctl(&["status", "counter"]).code, Some(6));
    for what in ["apps", "components", "providers", "links"] {
        assert_eq!(lattice.ctl(&["get", what, "-o", "json"]).stdout.trim(), "[]", "{what}");
    }
    let hosts: serde_json::Value = serde_json::from_str(&lattice.ctl(&["get", "hosts", "-o", "json"]).stdout).unwrap();
    assert!(hosts.as_array().unwrap().iter().all(|host| host["units"] == 0 && host["alive"] == true), "{hosts}");
}

/// The digest of a guest, as anybody can compute it.
fn digest(guest: &str) -> String {
    let output = std::process::Command::new("sha256sum").arg(image(guest)).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split(' ').next().unwrap())
}

#[test]
fn the_backend_is_swapped_under_load_without_a_failed_request_or_a_lost_number() {
    swap("");
}

#[test]
fn a_backend_of_its_own_process_is_swapped_under_load_without_a_failed_request_or_a_lost_number() {
    swap(", isolate: process");
}

fn swap(isolate: &str) {
    let (redis, postgres) = (RedisServer::start().unwrap(), PostgresServer::start().unwrap());
    let lattice = Lattice::start(2);
    let address = free_address();
    let redis = format!("keyvalue-redis, config: {{ url: \"{}\" }}", redis.url());
    let postgres = format!("keyvalue-postgres, config: {{ url: \"{}\" }}", postgres.url());
    let backends = ["keyvalue-memory", "keyvalue-nats", redis.as_str(), postgres.as_str(), "keyvalue-redb"];
    let backends = backends.map(|backend| format!("use: {backend}{isolate}"));
    lattice.apply(&counter(address, &backends[0]));
    let digest = lattice.status("counter").what("counter");
    let load = Load::start(address, "/", 16);
    load.wait_for(ANSWERS);
    for backend in &backends[1..] {
        let said = lattice.apply(&counter(address, backend));
        assert!(said.contains("(changed: cache)"), "{said}");
        load.wait_for(ANSWERS);
        assert_eq!(lattice.status("counter").what("counter"), digest, "the component stays as it is");
    }
    let answers = load.finish();
    assert_eq!(failures(&answers), [], "of {} requests", answers.len());
    assert!(answers.len() as u64 >= ANSWERS * backends.len() as u64);
    assert_unbroken(&answers, backends.len());
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    assert!(slowest < Duration::from_secs(5), "a caller waited for {slowest:?}");
}

/// Each backend begins with its own, empty data and gives out 1, 2, 3, ...; so all numbers together must be as many
/// unbroken sequences from 1 as there were backends.
fn assert_unbroken(answers: &[Answer], backends: usize) {
    let mut times = BTreeMap::<u64, usize>::new();
    for answer in answers {
        *times.entry(answer.outcome.as_ref().unwrap().trim().parse().unwrap()).or_default() += 1;
    }
    assert_eq!(times.get(&1), Some(&backends), "each backend begins at 1");
    let last = *times.keys().max().unwrap();
    let mut before = backends;
    for number in 1..=last {
        let now = times.get(&number).copied().unwrap_or(0);
        assert!(now > 0, "{number} was never given out, but {last} was");
        assert!(now <= before, "{number} came {now} times, and the one before it {before} times");
        before = now;
    }
}

#[test]
fn every_other_change_of_an_app_loses_no_request_either() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let first = counter(address, "use: keyvalue-memory");
    lattice.apply(&first);
    let load = Load::start(address, "/", 8);
    load.wait_for(100);
    let steps = [
        ("a new environment", "replicas: 2", "replicas: 2, env: { A: b }"),
        ("one copy less", "replicas: 2", "replicas: 1"),
        ("one copy more, and reuse", "replicas: 2", "replicas: 2, reuse: 50"),
        ("another setting of the server", "\" }, routes", "\", maxBody: 1MiB }, routes"),
        ("one more route", "/: counter", "/: counter, /more: counter"),
        ("the data in a process", "keyvalue-memory", "keyvalue-memory, isolate: process"),
        ("every call over the lattice", "wasi:keyvalue: cache", "wasi:keyvalue: { to: cache, transport: lattice }"),
        ("back to the beginning", "", ""),
    ];
    let mut answered = 0;
    for (what, from, to) in steps {
        let changed = first.replacen(from, to, 1);
        assert!(changed != first || from.is_empty(), "{what}");
        lattice.apply(&changed);
        load.wait_for(100);
        assert!(load.answered() > answered);
        answered = load.answered();
    }
    let answers = load.finish();
    let failed = failures(&answers);
    if !failed.is_empty() {
        lattice.fail(&format!("of {} requests: {failed:?}", answers.len()));
    }
}
