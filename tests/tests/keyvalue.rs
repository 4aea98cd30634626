//! Every function of wasi:keyvalue through a component, on each backend, near and far.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_provider::conformance::servers::{PostgresServer, RedisServer};
use lattice_tests::{
    Client, Lattice,
    lattice::{head, image},
    places::free_address,
};

/// The listener and the component in zone a; `cache` is the rest of the provider.
fn kv(address: SocketAddr, cache: &str) -> String {
    let here = "placement: { require: { zone: [a] } }";
    format!(
        "{}  components:\n    kv: {{ image: {}, links: {{ wasi:keyvalue: cache }}, {here} }}\n  providers:\n    web: {{ use: \
         http-server, config: {{ address: \"{address}\" }}, routes: {{ /: kv }}, {here} }}\n    cache: {{ {cache} }}\n",
        head("kv"),
        image("kv")
    )
}

/// Asks, and gives status and body.
struct Kv(Client);

impl Kv {
    fn ask(&mut self, path: &str, body: &[u8]) -> (u16, String) {
        let response = self.0.send(if body.is_empty() { "GET" } else { "POST" }, path, &[], body).unwrap();
        (response.status, response.text())
    }

    fn expect(&mut self, path: &str, body: &[u8], status: u16, text: &str) {
        assert_eq!(self.ask(path, body), (status, text.to_owned()), "{path}");
    }
}

fn all_functions(address: SocketAddr) {
    let mut kv = Kv(Client::connect(address).unwrap());
    kv.expect("/get/none", b"", 404, "");
    kv.expect("/exists/none", b"", 200, "false\n");
    kv.expect("/delete/none", b"", 204, "");
    kv.expect("/set/one", b"first", 204, "");
    kv.expect("/get/one", b"", 200, "first");
    kv.expect("/set/one", b"second", 204, "");
    kv.expect("/get/one", b"", 200, "second");
    kv.expect("/exists/one", b"", 200, "true\n");
    // Keys and values of any kind.
    kv.expect("/set/a%20b.c*d%3E%2Fe%C3%A4", b"odd", 204, "");
    kv.expect("/get/a%20b.c*d%3E%2Fe%C3%A4", b"", 200, "odd");
    let binary: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    kv.expect("/set/binary", &binary, 204, "");
    assert!(kv.0.get("/get/binary").unwrap().body == binary, "100,000 bytes of all values come back");

    kv.expect("/incr/number", b"", 200, "1\n");
    kv.expect("/incr/number?by=41", b"", 200, "42\n");
    let (status, text) = kv.ask("/incr/one", b"");
    assert_eq!(status, 503, "what is no number cannot be incremented: {text}");
    kv.expect("/get/one", b"", 200, "second");

    kv.expect("/set-many", b"m1=v1\nm2=v2\nm3=v3", 204, "");
    kv.expect("/get-many", b"m1\nnone\nm3", 200, "m1=v1\n-\nm3=v3\n");
    kv.expect("/delete-many", b"m1\nm2\nnone", 204, "");
    kv.expect("/get-many", b"m1\nm2\nm3", 200, "-\n-\nm3=v3\n");

    let (status, listed) = kv.ask("/list", b"");
    let mut keys: Vec<_> = listed.lines().collect();
    keys.sort_unstable();
    assert_eq!((status, keys), (200, vec!["a b.c*d>/e\u{e4}", "binary", "m3", "number", "one"]));
    kv.expect("/delete/one", b"", 204, "");
    kv.expect("/get/one", b"", 404, "");

    // Another bucket is another store.
    kv.expect("/get/m3?bucket=other", b"", 404, "");
    kv.expect("/set/m3?bucket=other", b"elsewhere", 204, "");
    kv.expect("/get/m3", b"", 200, "v3");
    kv.expect("/get/m3?bucket=other", b"", 200, "elsewhere");
}

/// The backend in each of four places: in the component's host, on the other one, and each as a process of its own.
fn everywhere(backend: &str) {
    let lattice = Lattice::start(2);
    for isolate in ["host", "process"] {
        for zone in ["a", "b"] {
            println!("isolate: {isolate}, zone {zone}");
            let address = free_address();
            let cache = format!("{backend}, isolate: {isolate}, placement: {{ require: {{ zone: [{zone}] }} }}");
            lattice.apply(&kv(address, &cache));
            let processes = lattice.hosts.iter().map(|host| (host.zone.as_str(), host.providers().len()));
            let expected = ["a", "b"].map(|z| (z, usize::from(isolate == "process" && z == zone)));
            assert_eq!(processes.collect::<Vec<_>>(), expected);
            all_functions(address);
            clear(address);
            assert_eq!(lattice.ctl(&["delete", "kv"]).code, Some(0));
        }
    }
}

/// A backend that keeps its data begins the next round empty.
fn clear(address: SocketAddr) {
    let mut kv = Kv(Client::connect(address).unwrap());
    for bucket in ["", "?bucket=other"] {
        let (_, keys) = kv.ask(&format!("/list{bucket}"), b"");
        kv.expect(&format!("/delete-many{bucket}"), keys.as_bytes(), 204, "");
    }
}

#[test]
fn memory_serves_every_function_in_each_place() {
    everywhere("use: keyvalue-memory");
}

#[test]
fn redb_serves_every_function_in_each_place() {
    everywhere("use: keyvalue-redb");
}

#[test]
fn nats_serves_every_function_in_each_place() {
    everywhere("use: keyvalue-nats");
}

#[test]
fn redis_serves_every_function_in_each_place() {
    let redis = RedisServer::start().unwrap();
    everywhere(&format!("use: keyvalue-redis, config: {{ url: \"{}\" }}", redis.url()));
}

#[test]
fn postgres_serves_every_function_in_each_place() {
    let postgres = PostgresServer::start().unwrap();
    everywhere(&format!("use: keyvalue-postgres, config: {{ url: \"{}\" }}", postgres.url()));
}

#[test]
fn a_component_is_a_provider_beside_its_user_and_on_another_host() {
    let lattice = Lattice::start(2);
    for zone in ["a", "b"] {
        println!("the component in zone {zone}");
        let (address, there) = (free_address(), format!("placement: {{ require: {{ zone: [{zone}] }} }}"));
        let middle = format!(
            "  components:\n    middle: {{ image: {}, links: {{ wasi:keyvalue: cache }}, {there} }}\n",
            image("middle")
        );
        let plain = kv(address, "use: keyvalue-memory, placement: { require: { zone: [a] } }");
        let through = plain.replacen("wasi:keyvalue: cache", "wasi:keyvalue: middle", 1);
        lattice.apply(&through.replacen("  components:\n", &middle, 1));
        all_functions(address);
        // The same user without it: what it wrote came through the component.
        lattice.apply(&plain);
        let mut kv = Kv(Client::connect(address).unwrap());
        kv.expect("/get/m3", b"", 404, "");
        kv.expect("/get/kept%2Fm3", b"", 200, "v3");
        kv.expect("/get/kept%2Fm3?bucket=other", b"", 200, "elsewhere");
        assert_eq!(lattice.ctl(&["delete", "kv"]).code, Some(0));
    }
}

#[test]
fn entries_live_as_long_as_the_manifest_says() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&kv(address, "use: keyvalue-memory, config: { ttl: 1s }"));
    let mut kv = Kv(Client::connect(address).unwrap());
    let written = Instant::now();
    kv.expect("/set/k", b"v", 204, "");
    lattice.wait("the end of an entry", Duration::from_secs(20), || (kv.ask("/get/k", b"").0 == 404).then_some(()));
    assert!(written.elapsed() >= Duration::from_secs(1), "it is gone after {:?}", written.elapsed());
    kv.expect("/incr/k", b"", 200, "1\n");
}

#[test]
fn a_link_goes_over_the_lattice_when_the_manifest_says_so_and_stays_local_when_it_must() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let with = |transport: &str, zone: &str| {
        kv(address, &format!("use: keyvalue-memory, placement: {{ require: {{ zone: [{zone}] }} }}")).replace(
            "wasi:keyvalue: cache",
            &format!("wasi:keyvalue: {{ to: cache, transport: {transport}, deadline: 2s }}"),
        )
    };
    lattice.apply(&with("lattice", "a"));
    all_functions(address);
    lattice.apply(&with("local", "a"));
    Kv(Client::connect(address).unwrap()).expect("/get/m3", b"", 200, "v3");
    // A local link whose target can never be there is refused before anything moves.
    let refused = lattice.try_apply(&with("local", "b"));
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    assert!(refused.stderr.contains("`kv` and `cache` are never on the same host"), "{}", refused.stderr);
    Kv(Client::connect(address).unwrap()).expect("/get/m3", b"", 200, "v3");
}

#[test]
fn a_component_chooses_among_several_links_by_name() {
    let lattice = Lattice::start(1);
    let address = free_address();
    let two = "use: keyvalue-memory }\n    old: { use: keyvalue-memory";
    let links = "wasi:keyvalue: [cache, { name: archive, to: old }]";
    lattice.apply(&kv(address, two).replace("wasi:keyvalue: cache", links));
    let mut kv = Kv(Client::connect(address).unwrap());
    kv.expect("/set/k?link=archive", b"old", 204, "");
    kv.expect("/get/k", b"", 404, "");
    kv.expect("/set/k", b"new", 204, "");
    kv.expect("/get/k?link=archive", b"", 200, "old");
    kv.expect("/get/k?link=default", b"", 200, "new");
    let unknown = "no link of wasi:keyvalue/store in the manifest is named `other`";
    kv.expect("/get/k?link=other", b"", 400, unknown);
}

#[test]
fn a_backend_that_is_away_is_an_error_in_time_and_serves_again_when_it_is_back() {
    let mut redis = RedisServer::start().unwrap();
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&kv(address, &format!("use: keyvalue-redis, config: {{ url: \"{}\" }}", redis.url())));
    let mut kv = Kv(Client::connect(address).unwrap());
    kv.expect("/incr/n", b"", 200, "1\n");
    redis.stop();
    let asked = Instant::now();
    let (status, text) = kv.ask("/incr/n", b"");
    assert_eq!(status, 503, "{text}");
    assert!(asked.elapsed().as_secs() < 11, "{:?}", asked.elapsed());
    let limit = Duration::from_secs(20);
    lattice.wait("a status that says so", limit, || (lattice.status("kv").state("cache") == "degraded").then_some(()));
    redis.restart().unwrap();
    lattice.wait("the backend to be back", limit, || (kv.ask("/get/n", b"").0 == 200).then_some(()));
    kv.expect("/incr/n", b"", 200, "2\n");
    lattice.wait_ready("kv");
}
