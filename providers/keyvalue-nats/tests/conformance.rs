#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::bus::{Bus, NatsOptions};
use lattice_provider::{
    Capability, Health, Provider, StartError,
    conformance::{self, servers::NatsServer},
    keyvalue::{KeyValue, KeyValueError},
};
use lattice_provider_keyvalue_nats::{Config, Nats};
use tokio::{sync::watch, task::JoinSet};

async fn start(bus: &Bus, config: Config) -> Result<(Arc<dyn KeyValue>, watch::Receiver<Health>), StartError> {
    let unit = "shop/cache".parse().unwrap();
    let (context, health) = conformance::context(&unit, std::env::temp_dir().as_path(), bus);
    let Capability::KeyValue(backend) = Nats::start(context, config).await? else { panic!("it is a store") };
    Ok((backend, health))
}

async fn connect(server: &NatsServer) -> Bus {
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap()
}

const DEFAULT: Config = Config { bucket: None, replicas: None, ttl: None };

/// With entries that live for so long.
fn mortal(ttl: &str) -> Config {
    Config { ttl: Some(ttl.to_owned().try_into().unwrap()), ..DEFAULT }
}

#[test]
fn it_takes_what_the_catalog_says() {
    let samples = [("bucket", "b".into()), ("replicas", 3.into()), ("ttl", "10m".into())];
    conformance::configuration::<Nats>(&samples).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&connect(&server).await, DEFAULT).await.unwrap();
    conformance::key_value(backend, "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_have_their_lifetime() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&connect(&server).await, mortal("1s")).await.unwrap();
    conformance::key_value_lifetime(backend, Duration::from_secs(1), "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_has_its_end_while_entries_expire() {
    const KEYS: usize = 8000;
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&connect(&server).await, mortal("1s")).await.unwrap();
    for round in 0..3 {
        let pairs = (0..KEYS).map(|n| (format!("{round}-{n}"), Bytes::from("v"))).collect();
        backend.set_many("b".into(), pairs).await.unwrap();
        let mut left = KEYS;
        while left > 0 {
            let (began, mut cursor) = (Instant::now(), None);
            left = 0;
            loop {
                let page = backend.list_keys("b".into(), cursor).await.unwrap();
                left += page.keys.len();
                cursor = page.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            assert!(began.elapsed() < Duration::from_secs(2), "a listing took {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn a_bucket_that_is_there_gets_the_lifetime_that_is_set() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let jetstream = async_nats::jetstream::new(bus.nats().unwrap().clone());
    let max_age = async |bucket: &str| jetstream.get_key_value(bucket).await.unwrap().status().await.unwrap().max_age();
    // Ours is as the manifest says, from start to start; what is in it ends accordingly.
    let (backend, _health) = start(&bus, DEFAULT).await.unwrap();
    backend.set("b".into(), "k".into(), Bytes::from("v")).await.unwrap();
    for (config, expected) in [(mortal("10m"), 600), (mortal("1h"), 3600), (DEFAULT, 0), (mortal("1s"), 1)] {
        start(&bus, config).await.unwrap();
        assert_eq!(max_age("default-shop-cache").await, Duration::from_secs(expected));
    }
    tokio::time::timeout(Duration::from_secs(10), async {
        while backend.exists("b".into(), "k".into()).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    // One of others keeps its own, unless the manifest says otherwise.
    let made = async_nats::jetstream::kv::Config {
        bucket: "theirs".into(),
        max_age: Duration::from_secs(60),
        ..Default::default()
    };
    jetstream.create_key_value(made).await.unwrap();
    let theirs = |config: Config| Config { bucket: Some("theirs".into()), ..config };
    start(&bus, theirs(DEFAULT)).await.unwrap();
    assert_eq!(max_age("theirs").await, Duration::from_secs(60));
    start(&bus, theirs(mortal("2m"))).await.unwrap();
    assert_eq!(max_age("theirs").await, Duration::from_secs(120));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_increment_one_key() {
    let server = NatsServer::start().unwrap();
    let mut tasks = JoinSet::new();
    // Each has its own connection, locks and memory, as processes have.
    for _ in 0..8 {
        let (backend, _health) = start(&connect(&server).await, DEFAULT).await.unwrap();
        for _ in 0..2 {
            let backend = backend.clone();
            tasks.spawn(async move {
                for _ in 0..50 {
                    backend.increment("b".into(), "n".into(), 1).await.unwrap();
                }
            });
        }
    }
    while let Some(outcome) = tasks.join_next().await {
        outcome.unwrap();
    }
    let (backend, _health) = start(&connect(&server).await, DEFAULT).await.unwrap();
    assert_eq!(backend.get("b".into(), "n".into()).await, Ok(Some(Bytes::from("800"))));
}

#[tokio::test]
async fn what_others_do_to_a_number_counts() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let (backend, _health) = start(&bus, DEFAULT).await.unwrap();
    let store =
        async_nats::jetstream::new(bus.nats().unwrap().clone()).get_key_value("default-shop-cache").await.unwrap();
    let increment = async || backend.increment("b".into(), "n".into(), 1).await;
    assert_eq!(increment().await, Ok(1));
    store.put("b.n", "41".into()).await.unwrap();
    assert_eq!(increment().await, Ok(42));
    store.delete("b.n").await.unwrap();
    assert_eq!(backend.get("b".into(), "n".into()).await, Ok(None));
    assert_eq!(backend.list_keys("b".into(), None).await.unwrap().keys, Vec::<String>::new());
    assert_eq!(increment().await, Ok(1));
    store.purge("b.n").await.unwrap();
    assert_eq!(increment().await, Ok(1));
    store.put("b.n", "text".into()).await.unwrap();
    assert_eq!(increment().await, Err(KeyValueError::not_a_number("n")));
    assert_eq!(backend.get("b".into(), "n".into()).await, Ok(Some(Bytes::from("text"))));
}

#[tokio::test]
async fn a_bad_bucket_is_refused_and_no_nats_is_said() {
    let server = NatsServer::start().unwrap();
    let bus = connect(&server).await;
    let bad = Config { bucket: Some("a.b".into()), ..DEFAULT };
    let error = start(&bus, bad).await.err().unwrap().to_string();
    assert_eq!(error, "bad configuration: bucket: \"a.b\" is not made of letters, digits, '-' and '_'");
    let error = start(&bus, Config { replicas: Some(3), ..DEFAULT }).await.err().unwrap().to_string();
    assert!(error.starts_with("cannot make key-value bucket default-shop-cache in NATS: "), "{error}");
    let error = start(&Bus::memory("default".parse().unwrap()), DEFAULT).await.err().unwrap().to_string();
    assert_eq!(error, "this lattice has no NATS");
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) {
    tokio::time::timeout(Duration::from_secs(15), health.wait_for(wanted)).await.unwrap().unwrap();
}

async fn increment(backend: &Arc<dyn KeyValue>) -> Result<u64, KeyValueError> {
    let started = Instant::now();
    let outcome = backend.increment("b".into(), "n".into(), 1).await;
    assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_goes_and_comes_back() {
    let mut server = NatsServer::start().unwrap();
    let (backend, mut health) = start(&connect(&server).await, DEFAULT).await.unwrap();
    for expected in 1..=20 {
        assert_eq!(increment(&backend).await, Ok(expected));
    }
    let mut sent = 20;
    server.stop();
    for _ in 0..3 {
        increment(&backend).await.unwrap_err();
        sent += 1;
    }
    wait_for(&mut health, |health| *health != Health::Ready).await;

    server.restart().unwrap();
    wait_for(&mut health, |health| *health == Health::Ready).await;
    let sum = increment(&backend).await.unwrap();
    sent += 1;
    // What was acknowledged is there, and nothing was done twice.
    assert!((21..=sent).contains(&sum), "{sum} after {sent} increments");
    assert_eq!(increment(&backend).await, Ok(sum + 1));
    assert_eq!(backend.list_keys("b".into(), None).await.unwrap().keys, ["n"]);
}

#[tokio::test]
async fn its_health_task_ends_with_it() {
    let server = NatsServer::start().unwrap();
    let (backend, health) = start(&connect(&server).await, DEFAULT).await.unwrap();
    drop(backend);
    tokio::time::timeout(Duration::from_secs(5), async {
        while health.has_changed().is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}
