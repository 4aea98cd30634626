//! What the repository shows to newcomers runs as it stands, and no guest is there for nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{fs, path::PathBuf};

use lattice_tests::{
    Lattice, get,
    lattice::image,
    places::{free_address, repository},
};

fn folders(below: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(below)).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

#[test]
fn every_example_runs_and_answers() {
    let lattice = Lattice::start(2);
    let mut ran = 0;
    for manifest in folders("examples").into_iter().map(|folder| folder.join("app.yaml")).filter(|path| path.exists()) {
        let name = manifest.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&manifest).unwrap();
        let address = free_address();
        let (example, file) = ("127.0.0.1:8080", format!("./{name}.wasm"));
        assert!(text.contains(example) && text.contains(&file), "{} names neither", manifest.display());
        let said = lattice.apply(&text.replace(example, &address.to_string()).replace(&file, &image(&name)));
        assert!(said.contains(&format!("at http://{address}/")), "{said}");
        assert_eq!(get(address, "/").unwrap().status, 200, "{name}");
        ran += 1;
    }
    assert!(ran >= 2, "{ran} examples");
}

#[test]
fn every_guest_is_used_by_a_test() {
    let tests = fs::read_dir(repository().join("tests/tests")).unwrap();
    let text: String = tests.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    for guest in folders("tests/guests") {
        let name = guest.file_name().unwrap().to_str().unwrap().to_owned();
        // What the guests share, and where they are built.
        if !["http", "target"].contains(&name.as_str()) {
            assert!(text.contains(&format!("\"{name}\"")), "no test uses the guest {name}");
        }
    }
}
