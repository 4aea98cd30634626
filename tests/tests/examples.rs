//! What the repository shows to newcomers runs as it stands, and no guest is there for nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, net::SocketAddr, path::PathBuf};

use lattice_provider::conformance::servers::{NatsServer, POSTGRES_PASSWORD, PostgresServer};
use lattice_tests::{
    Client, Lattice, get,
    lattice::{SETTLE, image},
    places::{free_address, nats_py, repository},
};

fn folders(below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(below)).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn every_example_runs_and_answers() {
    let postgres = PostgresServer::start().unwrap();
    let lattice = Lattice::start_with_programs(2, &["a", "b"], NatsServer::start);
    let mut ran = 0;
    for manifest in folders("examples").into_iter().map(|folder| folder.join("app.yaml")).filter(|path| path.exists()) {
        let name = manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&manifest).unwrap();
        let address = free_address();
        let (example, file) = ("127.0.0.1:8080", format!("./{name}.wasm"));
        assert!(text.contains(example) && text.contains(&file), "{} names neither", manifest.display());
        let here = manifest.parent().unwrap().display().to_string();
        let text = text.replace(example, &address.to_string()).replace(&file, &image(&name));
        // What is relative to the example's folder; and Python's NATS client, which a user would have installed.
        let text = text.replace("/tmp/lattice-files", &lattice.dir().join("files").display().to_string());
        let text = text.replace(": ../", &format!(": {here}/../")).replace(": ./wit", &format!(": {here}/wit"));
        let python = format!("serves: [acme:ledger/book@1.0.0]\n      env: {{ PYTHONPATH: {} }}", nats_py().display());
        let text = text.replace("postgres://guest:guest@127.0.0.1:5432/guestbook", &postgres.url());
        let said = lattice.apply(&text.replace("serves: [acme:ledger/book@1.0.0]", &python));
        assert!(said.contains(&format!("at http://{address}/")), "{said}");
        assert_eq!(get(address, "/").unwrap().status, 200, "{name}");
        ran += 1;
    }
    assert!(ran >= 3, "{ran} examples");
}

/// The guest book with the database's provider here or there, in the host or beside it.
fn guestbook(address: SocketAddr, postgres: &PostgresServer, db: &str) -> String {
    let text = fs::read_to_string(repository().join("examples/guestbook/app.yaml")).unwrap();
    let here = "placement: { require: { zone: [a] } }";
    text.replace("127.0.0.1:8080", &address.to_string())
        .replace("image: ./guestbook.wasm", &format!("{here}\n      image: {}", image("guestbook")))
        .replace("use: http-server", &format!("{here}\n      use: http-server"))
        .replace("use: postgres", &format!("use: postgres\n      {db}"))
        .replace("postgres://guest:guest@127.0.0.1:5432/guestbook", &postgres.url())
}

#[test]
fn the_guestbook_keeps_what_is_written_as_it_is() {
    let mut postgres = PostgresServer::start().unwrap();
    let lattice = Lattice::start(2);
    let address = free_address();
    let evil = "Robert'); DROP TABLE guestbook;--";
    let mut written = 0;
    for isolate in ["host", "process"] {
        for zone in ["a", "b"] {
            let db = format!("isolate: {isolate}\n      placement: {{ require: {{ zone: [{zone}] }} }}");
            lattice.apply(&guestbook(address, &postgres, &db));
            let mut client = Client::connect(address).unwrap();
            for entry in ["hello", evil] {
                written += 1;
                let response = client.send("POST", "/Robert%27--", &[], entry.as_bytes()).unwrap();
                assert_eq!((response.status, response.text()), (201, format!("{written}\n")), "{isolate}, zone {zone}");
            }
            let shown = client.get("/Robert%27--").unwrap().text();
            assert!(shown.starts_with(&format!("Robert'--: {evil}\nRobert'--: hello\n")), "{shown}");
            assert_eq!(client.get("/nobody").unwrap().text(), "nobody was here yet\n");
        }
    }
    // The last one is a process on the other host.
    postgres.stop();
    let why = format!("cannot reach postgres://127.0.0.1:{}: Connection refused", postgres.port());
    lattice.wait("the database's absence in the status", SETTLE, || {
        let status = lattice.ctl(&["status", "guestbook"]).all();
        assert!(!status.contains(POSTGRES_PASSWORD), "{status}");
        status.contains(&why).then_some(())
    });
    let response = get(address, "/").unwrap();
    assert_eq!((response.status, response.text()), (503, format!("{why}\n")));
    postgres.restart().unwrap();
    lattice.wait_ready("guestbook");
    let again = || get(address, "/").ok().filter(|response| response.status == 200);
    let shown = lattice.wait("the guest book again", SETTLE, again).text();
    assert_eq!(shown.lines().count(), written);
}

#[test]
fn every_guest_is_used_by_a_test() {
    let tests = fs::read_dir(repository().join("tests/tests")).unwrap();
    let files = tests.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let text: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
    for guest in folders("tests/guests") {
        let name = guest.file_name().unwrap().to_str().unwrap().to_owned();
        // What the guests share, and where they are built.
        if !["http", "target"].contains(&name.as_str()) {
            assert!(text.contains(&format!("\"{name}\"")), "no test uses the guest {name}");
        }
    }
}
