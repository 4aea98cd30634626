//! Watches: what is told, how often, and what is left in the bucket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::jetstream;
use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    model::watch::WatchSpec,
};
use lattice_provider::{
    Capability, NotDone, Provider, Work, async_trait,
    conformance::{self, servers::NatsServer},
    keyvalue::{Change, KeyValue, Watch, Watcher},
};
use lattice_provider_keyvalue_nats::{Config, Nats};

const SOON: Duration = Duration::from_secs(20);

/// A component that remembers what it was told; it fails at `poison`, and is not there for as many calls as `away` says.
#[derive(Default)]
struct Recorder {
    told: Mutex<Vec<String>>,
    away: AtomicU32,
}

#[async_trait]
impl Watcher for Recorder {
    async fn changed(&self, change: &Change) -> Result<(), NotDone> {
        let there = self.away.fetch_update(Ordering::AcqRel, Ordering::Acquire, |away| away.checked_sub(1));
        if there.is_ok() {
            return Err(NotDone::NotBegun("nobody is there".to_owned()));
        }
        let Change { bucket, key, value } = change;
        let value = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        self.told.lock().unwrap().push(format!("{bucket}/{key} {}", value.as_deref().unwrap_or("deleted")));
        match value.as_deref() {
            Some("poison") => Err(NotDone::Failed("it cannot take this".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Recorder {
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }

    async fn until(&self, expected: &[&str]) {
        let began = Instant::now();
        while self.told() != expected {
            assert!(began.elapsed() < SOON, "{:?} instead of {expected:?}", self.told());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A provider whose bucket `b` is watched.
struct Watched {
    store: Arc<dyn KeyValue>,
    recorder: Arc<Recorder>,
    work: Work,
}

impl Watched {
    async fn start(server: &NatsServer) -> Self {
        let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
        let bus = Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap();
        let unit = "shop/cache".parse().unwrap();
        let (mut context, _) = conformance::context(&unit, std::env::temp_dir().as_path(), &bus);
        let (recorder, work) = (Arc::<Recorder>::default(), context.work.clone());
        let spec = WatchSpec { bucket: "b".to_owned(), to: "shop/auditor".parse().unwrap(), timeout_ms: 1000 };
        context.watches = vec![Watch { spec, to: recorder.clone() }];
        let config = Config { bucket: None, replicas: None, ttl: None };
        let Capability::KeyValue(store) = Nats::start(context, config).await.unwrap() else { panic!("a store") };
        Self { store, recorder, work }
    }

    async fn set(&self, key: &str, value: &'static str) {
        self.store.set("b".to_owned(), key.to_owned(), Bytes::from_static(value.as_bytes())).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        self.store.delete("b".to_owned(), key.to_owned()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_order_and_deleted_keys_leave_nothing() {
    let server = NatsServer::start().unwrap();
    let watched = Watched::start(&server).await;
    watched.set("a.b c", "1").await;
    watched.recorder.until(&["b/a.b c 1"]).await;
    watched.store.set("other".to_owned(), "k".to_owned(), Bytes::from_static(b"x")).await.unwrap();
    watched.store.increment("b".to_owned(), "n".to_owned(), 7).await.unwrap();
    watched.recorder.until(&["b/a.b c 1", "b/n 7"]).await;
    // One that was never there is no change.
    watched.delete("never").await;
    watched.delete("n").await;
    watched.store.delete_many("b".to_owned(), vec!["a.b c".to_owned()]).await.unwrap();
    watched.recorder.until(&["b/a.b c 1", "b/n 7", "b/n deleted", "b/a.b c deleted"]).await;

    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream("KV_default-shop-cache").await.unwrap();
    let began = Instant::now();
    // The key of the other bucket alone.
    while stream.get_info().await.unwrap().state.messages != 1 {
        assert!(began.elapsed() < SOON, "markers of deleted keys are left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_until_it_is_taken_and_given_up_only_after_failures() {
    let server = NatsServer::start().unwrap();
    let watched = Watched::start(&server).await;
    // More often than it may fail.
    watched.recorder.away.store(8, Ordering::Release);
    watched.set("k", "1").await;
    watched.recorder.until(&["b/k 1"]).await;
    watched.set("bad", "poison").await;
    watched.set("k", "2").await;
    let poison = ["b/bad poison"; 5];
    watched.recorder.until(&[&["b/k 1"][..], &poison, &["b/k 2"]].concat()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was_after_the_provider_and_nats_were_away() {
    let mut server = NatsServer::start().unwrap();
    let first = Watched::start(&server).await;
    first.set("k", "1").await;
    first.recorder.until(&["b/k 1"]).await;
    first.work.drain(SOON).await;
    // Nobody listens now; of one key the newest value is what is left to tell.
    first.set("k", "2").await;
    first.set("k", "3").await;
    first.set("l", "4").await;
    let second = Watched::start(&server).await;
    second.recorder.until(&["b/k 3", "b/l 4"]).await;
    assert_eq!(first.recorder.told(), ["b/k 1"]);

    server.stop();
    server.restart().unwrap();
    let began = Instant::now();
    while second.store.set("b".to_owned(), "k".to_owned(), Bytes::from_static(b"5")).await.is_err() {
        assert!(began.elapsed() < SOON, "the store is not back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    while second.recorder.told().last().map(String::as_str) != Some("b/k 5") {
        assert!(began.elapsed() < SOON, "{:?}", second.recorder.told());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
