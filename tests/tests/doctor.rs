//! `lattice-ctl doctor`: what is wrong is named, with how it is mended.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use lattice::{
    bus::{Bus, NatsOptions},
    model::inventory::{Beat, HostRecord},
    wire::HostId,
};
use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, Output,
    faults::{Wrong, with_clock, with_disk},
    get,
    lattice::{SETTLE, head, image},
    places::free_address,
    s3::{ACCESS_KEY_ID, S3Server, SECRET_ACCESS_KEY},
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

/// Waits until a command says all of this.
fn says(lattice: &Lattice, args: &[&str], words: &[&str]) {
    lattice.wait(&format!("{words:?} of {args:?}"), NAMED, || {
        let said = lattice.ctl(args).all();
        words.iter().all(|word| said.contains(word)).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_app_a_host_or_credentials_is_named() {
    let lattice = Lattice::start(1);
    // A port that something else has.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let door = |address: SocketAddr, guest: &str| {
        format!(
            "{}  components:\n    page: {{ image: {} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
             routes: {{ /: page }} }}\n",
            head("shop"),
            image(guest),
        )
    };
    let begin = |manifest: &str| {
        lattice.write("app.yaml", manifest);
        let said = lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]);
        assert_eq!(said.code, Some(0), "{}", said.all());
    };
    begin(&door(taken.local_addr().unwrap(), "hello"));
    let address = taken.local_addr().unwrap().to_string();
    named(&lattice, &["shop/web", &address, "in use", "lattice-ctl why shop/web"]);
    says(&lattice, &["status", "shop"], &["in use"]);

    // A component that traps.
    let address = free_address();
    lattice.apply(&door(address, "trap"));
    assert_eq!(get(address, "/trap").unwrap().status, 500);
    says(&lattice, &["status", "shop"], &["1 trap"]);
    says(&lattice, &["logs", "shop/page", "--level", "warn"], &["shop/page", "unreachable"]);

    // A link that is missing: before anything changes, at its line.
    let lonely = format!("{}  components:\n    counter: {{ image: {} }}\n", head("lonely"), image("counter"));
    let refused = lattice.try_apply(&lonely);
    assert!(refused.code == Some(3) && refused.stderr.contains("no link satisfies it"), "{}", refused.all());
    assert!(
        refused.stderr.contains("app.yaml:") && refused.stderr.contains("links: { wasi:keyvalue: NAME }"),
        "{}",
        refused.all()
    );

    // A bucket that is not there.
    let s3 = S3Server::start().await.unwrap();
    begin(&format!(
        "{}  providers:\n    files: {{ use: blob-s3, config: {{ bucket: nowhere, endpoint: \"{}\", accessKeyId: {ACCESS_KEY_ID}, \
         secretAccessKey: {SECRET_ACCESS_KEY} }} }}\n",
        head("files"),
        s3.url(),
    ));
    named(&lattice, &["files/files", "nowhere"]);

    // A host of another time: it beats, as old ones do.
    let options = NatsOptions { urls: vec![lattice.nats.url()], ..Default::default() };
    let bus = Bus::connect(&options, "default".parse().unwrap(), "test").await.unwrap();
    let old: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
    let record = HostRecord { release: "7.0.0".to_owned(), ..HostRecord::of(old.clone()) };
    bus.store().hosts().put(old.as_str(), &record).await.unwrap();
    bus.store().beats().put(old.as_str(), &Beat { count: 1, load: Default::default() }).await.unwrap();
    let said = lattice.ctl(&["doctor"]);
    for words in ["releases", "7.0.0 on NAAAAAAA", "neighbouring minor releases"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.all());
    }

    // Credentials that NATS does not take.
    let guarded = NatsServer::start_with("authorization { user: me, password: mine }\n".to_owned()).unwrap();
    let said = lattice.ctl(&["doctor", "--nats", &guarded.url(), "--nats-user", "me", "--nats-password", "yours"]);
    assert_eq!(said.code, Some(5), "{}", said.all());
    for words in ["bad ", "--nats-creds, --nats-nkey, --nats-user"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.all());
    }
}
