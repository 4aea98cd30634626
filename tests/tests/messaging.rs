//! Messages: components that are given them, once or until they are done, and that send them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{collections::BTreeMap, time::Duration};

use async_nats::{Client, HeaderMap, Subscriber, jetstream};
use futures_util::StreamExt;
use lattice_tests::{
    Lattice,
    certificates::Certificates,
    get,
    lattice::{head, image},
    operator::Operator,
    places::{free_address, repository},
    request,
};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(30);
/// In which nothing more comes.
const QUIET: Duration = Duration::from_millis(700);

/// An app whose component is given messages.
fn app(subscriptions: &str, more: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}, {more} links: {{ wasmcloud:messaging: broker }} }}\n  providers:\n    broker:\n      \
         use: messaging-nats\n      subscriptions: {{ {subscriptions} }}\n",
        head("post"),
        image("messages")
    )
}

async fn nats(lattice: &Lattice) -> Client {
    async_nats::connect(lattice.nats.url()).await.unwrap()
}

async fn listen(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.unwrap();
    // When this is answered, the server knows of it.
    let _ = client.request(client.new_inbox(), "".into()).await;
    subscriber
}

async fn next(subscriber: &mut Subscriber) -> (String, String) {
    let message = timeout(SOON, subscriber.next()).await.expect("a message").unwrap();
    (message.subject.to_string(), String::from_utf8(message.payload.to_vec()).unwrap())
}

/// Waits for `body`. What a server that was killed had not stored of our answers is brought again before it: at least once.
async fn until(subscriber: &mut Subscriber, body: &str) {
    while next(subscriber).await.1 != body {}
}

async fn nothing(subscriber: &mut Subscriber) {
    if let Ok(message) = timeout(QUIET, subscriber.next()).await {
        panic!("{message:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_given_messages_and_answers_them() {
    let lattice = Lattice::start(2);
    // The provider and the component on different hosts, and what it sends by a process of its own.
    let manifest = app("\"orders.*.new\": main, \"audit.>\": main", "placement: { require: { zone: [b] } },")
        .replace("use: messaging-nats", "use: messaging-nats\n      placement: { require: { zone: [a] } }");
    let manifest = manifest.replace("{ wasmcloud:messaging: broker }", "{ wasmcloud:messaging: sender }");
    let manifest = manifest + "    sender: { use: messaging-nats, isolate: process }\n";
    lattice.apply(&manifest);
    let client = nats(&lattice).await;
    let mut seen = listen(&client, "seen.>").await;
    let answer = client.request("orders.eu.new", "hello".into()).await.unwrap();
    assert_eq!(answer.payload, "HELLO");
    for (subject, body) in [("orders.us.new", "one"), ("audit.a", "two"), ("audit.a.b.c", "three")] {
        client.publish(subject, body.into()).await.unwrap();
        assert_eq!(next(&mut seen).await, (format!("seen.{subject}"), body.to_uppercase()));
    }
    for other in ["orders.new", "orders.a.b.new", "orders.a.old", "audit"] {
        client.publish(other, "not for it".into()).await.unwrap();
    }
    nothing(&mut seen).await;
    // An error or a trap is that message's alone.
    for bad in ["fail", "trap"] {
        client.publish("audit.bad", bad.into()).await.unwrap();
    }
    client.publish("audit.good", "after".into()).await.unwrap();
    assert_eq!(next(&mut seen).await.1, "AFTER");
    lattice.wait("the failure in the log", SOON, || {
        lattice.hosts[0].log().contains("told to fail by audit.bad").then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_sends_and_asks_where_it_may() {
    let lattice = Lattice::start(1);
    lattice.apply(&app("work: main", ""));
    let client = nats(&lattice).await;
    let (mut seen, mut elsewhere) = (listen(&client, "seen.>").await, listen(&client, "elsewhere").await);
    let mut service = listen(&client, "service").await;
    let answering = client.clone();
    tokio::spawn(async move {
        while let Some(question) = service.next().await {
            assert_eq!(question.payload, "question");
            answering.publish(question.reply.unwrap(), "answer".into()).await.unwrap();
        }
    });
    for (told, said) in [
        ("ask service", "answer"),
        ("ask nobody.is.here", "error: nobody answers requests to `nobody.is.here`"),
        ("send elsewhere", "ok"),
        (
            "send lattice.default.call.a.b.c.d",
            "error: `lattice.default.call.a.b.c.d` belongs to NATS or to the lattice itself",
        ),
        ("ask $JS.API.INFO", "error: `$JS.API.INFO` belongs to NATS or to the lattice itself"),
        ("send a.*", "error: `a.*` has a wildcard, which only subscriptions may have"),
        ("send ", "error: a subject cannot be empty"),
    ] {
        client.publish("work", told.into()).await.unwrap();
        assert_eq!(next(&mut seen).await.1, said, "{told}");
    }
    assert_eq!(next(&mut elsewhere).await, ("elsewhere".into(), "sent".into()));
    // Without a connection it is told so at once.
    let nobody = client.request("work", "ask mute".into());
    let mut mute = listen(&client, "mute").await;
    drop(nobody);
    client.publish("work", "ask mute".into()).await.unwrap();
    assert_eq!(next(&mut mute).await.1, "question");
    assert_eq!(next(&mut seen).await.1, "error: no answer to `mute` within 1000 ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_goes_to_one_of_several_instances_also_when_one_leaves() {
    const MESSAGES: usize = 300;
    let mut lattice = Lattice::start(2);
    let manifest = app("\"work.*\": { to: main, inFlight: 8 }", "perHost: 1,")
        .replace("use: messaging-nats", "use: messaging-nats\n      perHost: 1");
    lattice.apply(&manifest);
    let client = nats(&lattice).await;
    let mut seen = listen(&client, "seen.>").await;
    for number in 0..MESSAGES {
        client.publish(format!("work.{number}"), "do it".into()).await.unwrap();
        if number == MESSAGES / 2 {
            client.flush().await.unwrap();
            lattice.host("b").ask_to_end();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..MESSAGES {
        *times.entry(next(&mut seen).await.0).or_default() += 1;
    }
    nothing(&mut seen).await;
    assert_eq!((times.len(), times.values().max()), (MESSAGES, Some(&1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stream_keeps_is_brought_until_it_is_done_or_buried() {
    let mut lattice = Lattice::start(2);
    let client = nats(&lattice).await;
    let jetstream = jetstream::new(client.clone());
    let stream = |name: &str, subjects: &[&str]| jetstream::stream::Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        ..Default::default()
    };
    jetstream.create_stream(stream("JOBS", &["jobs.>"])).await.unwrap();
    jetstream.create_stream(stream("DEAD", &["dead.>"])).await.unwrap();
    // Before there is anybody to take it.
    let keep = async |subject: &'static str, body: &'static str| {
        jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    };
    keep("jobs.early", "early").await;
    let mut seen = listen(&client, "seen.>").await;
    let manifest = app(
        "\"jobs.*\": { to: main, stream: JOBS, deliveries: 3, backoff: 100ms, deadLetter: dead.jobs, inFlight: 4 }",
        "limits: { timeout: 3s }, perHost: 1,",
    )
    .replace("use: messaging-nats", "use: messaging-nats\n      perHost: 1");
    lattice.apply(&manifest);
    assert_eq!(next(&mut seen).await, ("seen.jobs.early".into(), "EARLY".into()));
    for bad in ["fail", "trap"] {
        keep("jobs.bad", bad).await;
    }
    let dead = jetstream.get_stream("DEAD").await.unwrap();
    let reader = dead.create_consumer(jetstream::consumer::pull::Config::default()).await.unwrap();
    let mut letters = reader.messages().await.unwrap();
    let mut why = BTreeMap::new();
    for _ in 0..2 {
        let letter = timeout(SOON, letters.next()).await.unwrap().unwrap().unwrap();
        letter.ack().await.unwrap();
        let headers: &HeaderMap = letter.headers.as_ref().unwrap();
        let header = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(
            (header("lattice-dead-subject"), header("lattice-dead-deliveries")),
            ("jobs.bad".into(), "3".into())
        );
        why.insert(String::from_utf8(letter.payload.to_vec()).unwrap(), header("lattice-dead-error"));
    }
    assert_eq!(why["fail"], "told to fail by jobs.bad");
    assert!(why["trap"].contains("unreachable"), "{why:?}");
    // A host that is killed with messages in its hands: the other one gets them when their time is over.
    for _ in 0..8 {
        keep("jobs.slow", "slow").await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    lattice.host("b").kill();
    let mut times = 0;
    while times < 8 {
        assert_eq!(next(&mut seen).await, ("seen.jobs.slow".into(), "SLOW".into()));
        times += 1;
    }
    // NATS away, and back with what it had.
    keep("jobs.last", "last").await;
    until(&mut seen, "LAST").await;
    lattice.nats.stop();
    lattice.nats.restart().unwrap();
    let kept = async || {
        let sent = jetstream.publish("jobs.again", "again".into()).await.ok()?;
        timeout(Duration::from_secs(5), sent).await.ok()?.ok()
    };
    while kept().await.is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until(&mut seen, "AGAIN").await;
    lattice.wait_ready("post");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_may_go_by_another_nats_with_credentials_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let (cert, key, ca) = (certificates.certificate_file(), certificates.key_file(), certificates.ca_file());
    let tls = format!("tls {{ cert_file: \"{}\", key_file: \"{}\" }}", cert.display(), key.display());
    let operator = Operator::start_with(folder.path(), &tls).unwrap();
    let url = operator.nats.url().replace("nats://", "tls://");
    let lattice = Lattice::start(1);
    let with = |creds: &str, ca: &str| {
        let config =
            format!("use: messaging-nats\n      config: {{ url: \"{url}\", creds: \"{creds}\", caFile: \"{ca}\" }}");
        app("\"orders.new\": main", "").replace("use: messaging-nats", &config)
    };
    // By an authority that nobody has signed for, and with credentials of nobody, there is no connection, and it is said why.
    let (other, stranger) = (Certificates::new(), tempfile::tempdir().unwrap());
    let foreign = Operator::start(stranger.path()).unwrap();
    let ca = ca.display().to_string();
    for (manifest, why) in [
        (with(&operator.creds, &other.ca_file().display().to_string()), "certificate"),
        (with(&foreign.creds, &ca), "authorization"),
    ] {
        lattice.write("app.yaml", manifest);
        let refused = lattice.ctl(&["apply", "-f", "app.yaml"]);
        assert_eq!(refused.code, Some(5), "{}", refused.all());
        assert!(refused.stderr.to_lowercase().contains(why), "{why}: {}", refused.stderr);
    }
    lattice.apply(&with(&operator.creds, &ca));
    let options = async_nats::ConnectOptions::with_credentials_file(&operator.creds).await.unwrap();
    let client = options.add_root_certificates(ca.into()).connect(&url).await.unwrap();
    let mut seen = listen(&client, "seen.>").await;
    client.publish("orders.new", "there".into()).await.unwrap();
    assert_eq!(next(&mut seen).await, ("seen.orders.new".into(), "THERE".into()));
    // The lattice's own NATS has nothing of it.
    let own = nats(&lattice).await;
    let mut nothing_there = listen(&own, "seen.>").await;
    own.publish("orders.new", "here".into()).await.unwrap();
    nothing(&mut nothing_there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_counts_every_order_also_those_that_were_sent_while_nobody_was_there() {
    let mut lattice = Lattice::start(1);
    let address = free_address();
    let text = std::fs::read_to_string(repository().join("examples/events/app.yaml")).unwrap();
    lattice.apply(&text.replace("127.0.0.1:8080", &address.to_string()).replace("./events.wasm", &image("events")));
    for (name, times) in [("tea", 3), ("coffee", 2)] {
        for _ in 0..times {
            let ordered = request(address, "POST", &format!("/{name}"), b"").unwrap();
            assert_eq!((ordered.status, ordered.text()), (200, format!("ordered {name}\n")));
        }
    }
    let counted = |wanted: &str| {
        let counts = || get(address, "/").ok().map(|response| response.text()).filter(|text| text == wanted);
        lattice.wait(&format!("{wanted:?} counted"), SOON, counts);
    };
    counted("coffee 2\ntea 3\n");
    lattice.hosts[0].kill();
    let jetstream = jetstream::new(nats(&lattice).await);
    for _ in 0..4 {
        jetstream.publish("orders.tea", "".into()).await.unwrap().await.unwrap();
    }
    lattice.hosts[0].spawn();
    let counts = || get(address, "/").ok().map(|response| response.text()).filter(|text| text == "coffee 2\ntea 7\n");
    lattice.wait("what was ordered meanwhile", SOON, counts);
}

#[test]
fn what_cannot_work_is_refused_before_anything_moves() {
    let lattice = Lattice::start(1);
    for (subscriptions, said) in [
        ("\"a b\": main", "`a b` has a space or a control character"),
        ("\"$JS.>\": main", "`$JS.>` belongs to NATS or to the lattice itself"),
        ("\">\": main", "`>` belongs to NATS or to the lattice itself"),
        ("\"a.>.b\": main", "in `a.>.b` a `*` is not a part by itself, or a `>` is not the last part by itself"),
        ("a: broker", "`broker` is a provider, which takes no messages"),
        ("a: nobody", "there is no unit `nobody`"),
        ("a: { to: main, deliveries: 3 }", "only a subscription to what a stream keeps has this"),
        ("a: { to: main, inFlight: 0 }", "inFlight is 0"),
        ("a: { to: main, stream: \"a b\" }", "`a b` is no name of a stream"),
        ("a: { to: main, stream: A, backoff: soon }", "`soon` is not a time"),
        ("a: { to: main, strem: A }", "unknown key `strem`"),
    ] {
        let refused = lattice.try_apply(&app(subscriptions, ""));
        assert_eq!(refused.code, Some(3), "{}", refused.all());
        assert!(refused.stderr.contains(said), "{subscriptions}: {}", refused.all());
    }
    let hello = app("a: main", "")
        .replace(&image("messages"), &image("hello"))
        .replace("links: { wasmcloud:messaging: broker }", "");
    let refused = lattice.try_apply(&hello);
    assert!(refused.stderr.contains("does not export wasmcloud:messaging/handler@0.2.0"), "{}", refused.all());
    let apart = app("a: main", "").replace("use: messaging-nats", "use: messaging-nats\n      isolate: process");
    let refused = lattice.try_apply(&apart);
    assert!(refused.stderr.contains("a provider with subscriptions runs only inside the host"), "{}", refused.all());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_keeps_other_subjects_is_named_in_the_status() {
    let lattice = Lattice::start(1);
    let jetstream = jetstream::new(nats(&lattice).await);
    let other = jetstream::stream::Config {
        name: "OTHER".to_owned(),
        subjects: vec!["others.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(other).await.unwrap();
    lattice.write("app.yaml", app("\"jobs.*\": { to: main, stream: OTHER }", ""));
    lattice.ctl(&["apply", "-f", "app.yaml", "--timeout", "3s"]);
    let said = lattice.ctl(&["status", "post"]).all();
    assert!(said.contains("stream OTHER keeps others.>, and not `jobs.*`"), "{said}");
}
