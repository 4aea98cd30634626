//! `lattice-ctl doctor`: what is wrong is named, with how it is mended.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::time::Duration;

use lattice_tests::{
    Lattice, Output,
    faults::{Wrong, with_clock, with_disk},
    lattice::{SETTLE, head, image},
    places::free_address,
};

/// Each fault must be named within this time.
const NAMED: Duration = Duration::from_secs(10);

/// Waits until the doctor says all of this.
fn named(lattice: &Lattice, words: &[&str]) {
    lattice.wait(&format!("{words:?}"), NAMED, || {
        let said = lattice.ctl(&["doctor"]);
        let all = words.iter().all(|word| said.stdout.contains(word));
        (all && said.code == Some(5) && said.stdout.contains("->")).then_some(())
    });
}

/// Whether nothing is bad, unless the machine of the tests has little room itself.
fn is_well(said: &Output) -> bool {
    let bad = |line: &&str| line.starts_with("bad ") && !line.contains("free on the disk");
    !said.stdout.is_empty() && !said.stdout.lines().any(|line| bad(&line))
}

#[test]
fn faults_are_named_with_how_they_are_mended() {
    let mut lattice = Lattice::start_with(2, |host| {
        if host.zone == "a" {
            with_disk(host)
        }
    });
    let well = lattice.ctl(&["doctor"]);
    assert!(is_well(&well), "{}", well.all());
    for what in ["nats-server 2.", "JetStream", "one copy of each", "2 alive", "0 well"] {
        assert!(well.stdout.contains(what), "{what}: {}", well.stdout);
    }
    let json: serde_json::Value = serde_json::from_str(&lattice.ctl(&["doctor", "-o", "json"]).stdout).unwrap();
    assert!(
        json.as_array().unwrap().iter().any(|finding| finding["verdict"] == "ok" && finding["what"] == "NATS"),
        "{json}"
    );

    // A backend that is not there.
    let manifest = format!(
        "{}  components:\n    counter: {{ image: {}, links: {{ wasi:keyvalue: cache }} }}\n  providers:\n    cache: {{ use: keyvalue-redis, \
         config: {{ url: \"redis://{}\" }} }}\n",
        head("shop"),
        image("counter"),
        free_address(),
    );
    lattice.write("app.yaml", manifest);
    lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]);
    named(&lattice, &["shop/cache", "lattice-ctl why shop/cache"]);
    assert_eq!(lattice.ctl(&["delete", "shop"]).code, Some(0));

    // A disk that is full: what is new there cannot be kept.
    let full = Wrong::with(&lattice, "a", "full");
    let page = format!(
        "{}  components:\n    page: {{ image: {}, placement: {{ require: {{ zone: [a] }} }} }}\n",
        head("page"),
        image("hello")
    );
    lattice.apply(&page);
    named(&lattice, &["the journal cannot be written", "No space left on device", "make room on its disk"]);
    drop(full);
    lattice.wait("a lattice that is well", SETTLE, || is_well(&lattice.ctl(&["doctor"])).then_some(()));

    // A clock that is off.
    lattice.host("b").kill();
    named(&lattice, &["1 lost", "lattice-ctl host forget"]);
    with_clock(lattice.host("b"), 3600);
    lattice.host("b").spawn();
    lattice.host("b").wait_ready();
    named(&lattice, &["its clock is 3600 s ahead", "set its clock"]);

    // No NATS at all.
    lattice.nats.stop();
    let gone = lattice.ctl(&["doctor"]);
    assert_eq!(gone.code, Some(5), "{}", gone.all());
    assert!(gone.stdout.contains("bad ") && gone.stdout.contains("start nats-server with -js"), "{}", gone.stdout);
}
