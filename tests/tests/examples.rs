//! What the repository shows to newcomers runs as it stands, and no guest is there for nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, path::PathBuf};

use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, get,
    lattice::image,
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
        let said = lattice.apply(&text.replace("serves: [acme:ledger/book@1.0.0]", &python));
        assert!(said.contains(&format!("at http://{address}/")), "{said}");
        assert_eq!(get(address, "/").unwrap().status, 200, "{name}");
        ran += 1;
    }
    assert!(ran >= 3, "{ran} examples");
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
