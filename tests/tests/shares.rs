//! Units of one app that others use.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::net::SocketAddr;

use lattice_tests::{
    Client, Lattice, get,
    lattice::{head, image},
    places::free_address,
    request,
};

/// An app whose component `guest` is linked to a unit of the app `platform`.
fn user(app: &str, guest: &str, interface: &str, address: SocketAddr, to: &str) -> String {
    format!(
        "{}  components:\n    {guest}: {{ image: {}, links: {{ {interface}: {to} }}, placement: {{ require: {{ zone: [a] }} }} }}\n  \
         providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ /: {guest} }}, placement: \
         {{ require: {{ zone: [a] }} }} }}\n",
        head(app),
        image(guest)
    )
}

fn platform(zone: &str, data: &str) -> String {
    let there = format!("placement: {{ require: {{ zone: [{zone}] }} }}");
    format!(
        "{}  components:\n    library: {{ image: {}, share: [calls], {there} }}\n  providers:\n    cache: {{ use: \
         keyvalue-memory, share: {{ with: [one, two], data: {data} }}, {there} }}\n    files: {{ use: blob-memory, share: [one, two], {there} }}\n",
        head("platform"),
        image("library")
    )
}

/// Asks, and expects an answer.
fn expect(address: SocketAddr, path: &str, body: &[u8], status: u16, text: &str) {
    let mut client = Client::connect(address).unwrap();
    let response = client.send(if body.is_empty() { "GET" } else { "POST" }, path, &[], body).unwrap();
    assert_eq!((response.status, response.text().as_str()), (status, text), "{path}");
}

#[test]
fn apps_that_share_a_store_find_their_own_data_there_unless_it_is_common() {
    for zone in ["a", "b"] {
        let lattice = Lattice::start(2);
        let (one, two) = (free_address(), free_address());
        lattice.apply(&platform(zone, "own"));
        lattice.apply(&user("one", "kv", "wasi:keyvalue", one, "platform/cache"));
        lattice.apply(&user("two", "kv", "wasi:keyvalue", two, "platform/cache"));
        expect(one, "/set/k", b"of one", 204, "");
        expect(two, "/get/k", b"", 404, "");
        expect(two, "/set/k", b"of two", 204, "");
        expect(one, "/get/k", b"", 200, "of one");
        // Not even by the name that the store has for it.
        expect(two, "/get/k?bucket=one.default", b"", 404, "");
        lattice.apply(&platform(zone, "common"));
        lattice.apply(&user("one", "kv", "wasi:keyvalue", one, "platform/cache"));
        lattice.apply(&user("two", "kv", "wasi:keyvalue", two, "platform/cache"));
        expect(one, "/set/k", b"of both", 204, "");
        expect(two, "/get/k", b"", 200, "of both");
    }
}

#[test]
fn containers_of_a_shared_store_are_each_apps_own_too() {
    let lattice = Lattice::start(2);
    let (one, two) = (free_address(), free_address());
    let root = tempfile::tempdir().unwrap();
    let files = format!("blob-fs, config: {{ root: \"{}\" }}", root.path().display());
    lattice.apply(&platform("b", "own").replace("blob-memory", &files));
    let apps = [("one", one), ("two", two)];
    for (app, address) in apps {
        lattice.apply(&user(app, "files", "wasi:blobstore", address, "platform/files"));
        assert_eq!(request(address, "PUT", "/name", app.as_bytes()).unwrap().status, 204);
    }
    for (app, address) in apps {
        assert_eq!(get(address, "/name").unwrap().text(), app);
        assert_eq!(std::fs::read_to_string(root.path().join(format!("{app}.files/name"))).unwrap(), app);
        // Every function, some of which give names back.
        lattice.apply(&user(app, "blob", "wasi:blobstore", address, "platform/files"));
        expect(address, "/all", b"", 200, "");
    }
}

#[test]
fn a_component_of_another_app_is_called_like_one_of_the_same() {
    for zone in ["a", "b"] {
        let lattice = Lattice::start(2);
        let address = free_address();
        lattice.apply(&platform(zone, "own"));
        lattice.apply(&user("calls", "caller", "test:library", address, "platform/library"));
        assert_eq!(get(address, "/all").unwrap().text(), "all the same\n");
        assert_eq!(get(address, "/bytes?n=3000000").unwrap().text(), "3000000 bytes, the same\n");
    }
}

#[test]
fn an_owner_takes_nothing_away_that_is_in_use() {
    let lattice = Lattice::start(2);
    let address = free_address();
    let refused = lattice.try_apply(&user("one", "kv", "wasi:keyvalue", address, "platform/cache"));
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    assert!(refused.stderr.contains("there is no app `platform`"), "{}", refused.stderr);
    lattice.apply(&platform("b", "own"));
    let refused = lattice.try_apply(&user("three", "kv", "wasi:keyvalue", address, "platform/cache"));
    assert!(refused.stderr.contains("`platform/cache` is not shared with `three`"), "{}", refused.stderr);
    lattice.apply(&user("one", "kv", "wasi:keyvalue", address, "platform/cache"));
    expect(address, "/set/k", b"v", 204, "");

    let refused = lattice.try_apply(&platform("b", "own").replace("[one, two], data", "[two], data"));
    assert_eq!(refused.code, Some(3), "{}", refused.all());
    assert!(refused.stderr.contains("`one/kv` is linked to `platform/cache`"), "{}", refused.stderr);
    let refused = lattice.ctl(&["delete", "platform"]);
    assert_eq!(refused.code, Some(1), "{}", refused.all());
    assert!(
        refused.stderr.contains("app platform is in use: `one/kv` is linked to `platform/cache`"),
        "{}",
        refused.stderr
    );
    expect(address, "/get/k", b"", 200, "v");

    // Who insists has their way, and calls fail in time.
    assert_eq!(lattice.ctl(&["delete", "platform", "--force"]).code, Some(0));
    let started = std::time::Instant::now();
    let answer = get(address, "/get/k").unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}
