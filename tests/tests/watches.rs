//! Components that are told of changes in a store of keys.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{net::SocketAddr, time::Duration};

use lattice_provider::conformance::servers::{PostgresServer, RedisServer};
use lattice_tests::{
    Client, Lattice,
    lattice::{head, image},
    places::free_address,
};

const LONG: Duration = Duration::from_secs(20);

const NATS: &str = "use: keyvalue-nats";

/// Whoever writes, and the store, in zone a; the component that is told in `zone`.
fn app(address: SocketAddr, zone: &str, store: &str) -> String {
    let at = |zone: &str| format!("placement: {{ require: {{ zone: [{zone}] }} }}");
    format!(
        "{}  components:\n    kv: {{ image: {}, links: {{ wasi:keyvalue: cache }}, {here} }}\n    auditor: {{ image: {}, links: {{ \
         wasi:keyvalue: cache }}, {there} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
         routes: {{ /: kv }}, {here} }}\n    cache: {{ {store}, watches: {{ default: auditor }}, {here} }}\n",
        head("watched"),
        image("kv"),
        image("auditor"),
        here = at("a"),
        there = at(zone),
    )
}

struct Watched<'l> {
    lattice: &'l Lattice,
    address: SocketAddr,
}

impl Watched<'_> {
    fn ask(&self, path: &str, body: &[u8]) -> (u16, String) {
        let mut client = Client::connect(self.address).unwrap();
        let response = client.send(if body.is_empty() { "GET" } else { "POST" }, path, &[], body).unwrap();
        (response.status, response.text())
    }

    fn set(&self, key: &str, value: &str) {
        assert_eq!(self.ask(&format!("/set/{key}"), value.as_bytes()), (204, String::new()));
    }

    /// Waits until the audit says this of a key.
    fn until(&self, key: &str, text: &str) {
        let expected = (200, text.to_owned());
        let path = format!("/get/{key}?bucket=audit");
        let mut last = (0, String::new());
        self.lattice.wait(&format!("the audit to say `{text}` of {key}"), LONG, || {
            last = self.ask(&path, b"");
            (last == expected).then_some(())
        });
    }
}

#[test]
fn a_component_is_told_of_each_change_beside_the_store_and_on_another_host() {
    for zone in ["a", "b"] {
        let (lattice, address) = (Lattice::start(2), free_address());
        lattice.apply(&app(address, zone, NATS));
        let watched = Watched { lattice: &lattice, address };
        watched.set("k", "one");
        watched.until("k", "set one, has one");
        watched.set("k", "two");
        watched.until("k", "set two, has two");
        assert_eq!(watched.ask("/incr/n?by=5", b""), (200, "5\n".to_owned()));
        watched.until("n", "set 5, has 5");
        assert_eq!(watched.ask("/delete/k", b"").0, 204);
        watched.until("k", "deleted, has nothing");
        // What is in no watched bucket is told to nobody: the audit's own entries would be told without end.
        assert_eq!(watched.ask("/set/k?bucket=other", b"x").0, 204);
        watched.set("last", "x");
        watched.until("last", "set x, has x");
        watched.until("k", "deleted, has nothing");
        // One that fails does not keep others from being told.
        watched.set("bad", "poison");
        watched.set("good", "x");
        watched.until("good", "set x, has x");
        assert_eq!(watched.ask("/get/bad?bucket=audit", b"").0, 404);
    }
}

#[test]
fn every_store_tells() {
    let (lattice, address) = (Lattice::start(2), free_address());
    let (redis, postgres) = (RedisServer::start().unwrap(), PostgresServer::start().unwrap());
    for store in [
        "use: keyvalue-memory".to_owned(),
        "use: keyvalue-redb".to_owned(),
        format!("use: keyvalue-redis, config: {{ url: \"{}\" }}", redis.url()),
        format!("use: keyvalue-postgres, config: {{ url: \"{}\" }}", postgres.url()),
    ] {
        println!("{store}");
        lattice.apply(&app(address, "b", &store));
        let watched = Watched { lattice: &lattice, address };
        watched.set("k", "one");
        watched.until("k", "set one, has one");
        assert_eq!(watched.ask("/incr/n?by=5", b""), (200, "5\n".to_owned()));
        watched.until("n", "set 5, has 5");
        assert_eq!(watched.ask("/delete/k", b"").0, 204);
        watched.until("k", "deleted, has nothing");
    }
}

#[test]
fn what_changes_while_the_component_is_away_is_told_when_it_is_back() {
    let (mut lattice, address) = (Lattice::start(2), free_address());
    lattice.apply(&app(address, "b", NATS));
    Watched { lattice: &lattice, address }.set("k", "before");
    Watched { lattice: &lattice, address }.until("k", "set before, has before");
    lattice.host("b").kill();
    let watched = Watched { lattice: &lattice, address };
    watched.set("k", "after");
    watched.set("other", "x");
    assert_eq!(watched.ask("/delete/other", b"").0, 204);
    lattice.host("b").spawn();
    let watched = Watched { lattice: &lattice, address };
    watched.until("k", "set after, has after");
    watched.until("other", "deleted, has nothing");
}
