//! Watches of the lattice's store, whose consumers go wrong in NATS.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::{self, stream::Stream};
use futures_util::TryStreamExt;
use lattice::bus::{Bus, Entry, NatsOptions, Table, View};
use lattice_provider::conformance::servers::NatsServer;
use tokio::time::timeout;

const STREAM: &str = "KV_lattice-default";
/// A watch that hears nothing looks after 15 s at the latest whether there is something to hear.
const NOTICED: Duration = Duration::from_secs(40);

struct Watched {
    server: NatsServer,
    jetstream: jetstream::Context,
    words: Table<u32>,
    view: View<u32>,
}

impl Watched {
    async fn start() -> Self {
        let server = NatsServer::start().unwrap();
        let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
        let bus = Bus::connect(&options, "default".parse().unwrap(), "test").await.unwrap();
        let jetstream = jetstream::new(bus.nats().unwrap().clone());
        let words: Table<u32> = bus.store().table("words");
        words.put("a", &1).await.unwrap();
        let view = words.follow();
        let mut watched = Self { server, jetstream, words, view };
        watched.shows(&[("a", 1)]).await;
        watched
    }

    async fn shows(&mut self, expected: &[(&str, u32)]) {
        let expected: BTreeMap<_, _> = expected.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect();
        let values = |map: &BTreeMap<String, Entry<u32>>| -> BTreeMap<String, u32> {
            map.iter().map(|(key, entry)| (key.clone(), entry.value)).collect()
        };
        let is_there = |map: &Option<BTreeMap<_, _>>| map.as_ref().is_some_and(|map| values(map) == expected);
        if timeout(NOTICED, self.view.wait_for(is_there)).await.is_err() {
            panic!("expected {expected:?}, and there is {:?}", self.view.borrow());
        }
    }

    async fn stream(&self) -> Stream {
        self.jetstream.get_stream(STREAM).await.unwrap()
    }

    async fn consumers(&self) -> Vec<String> {
        let names: Vec<_> = self.stream().await.consumer_names().try_collect().await.unwrap();
        assert!(!names.is_empty(), "nobody watches");
        names
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_well_and_tells_nothing_is_replaced() {
    let mut watched = Watched::start().await;
    // It says that it is there as before, and sends nothing.
    for name in watched.consumers().await {
        let until = serde_json::json!({ "pause_until": "2100-01-01T00:00:00Z" });
        let paused: serde_json::Value =
            watched.jetstream.request(format!("CONSUMER.PAUSE.{STREAM}.{name}"), &until).await.unwrap();
        assert_eq!(paused["paused"], true, "{paused}");
    }
    watched.words.put("b", &2).await.unwrap();
    watched.words.delete("a").await.unwrap();
    watched.shows(&[("b", 2)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_is_gone_is_replaced() {
    let mut watched = Watched::start().await;
    for name in watched.consumers().await {
        watched.stream().await.delete_consumer(&name).await.unwrap();
    }
    watched.words.put("b", &2).await.unwrap();
    watched.shows(&[("a", 1), ("b", 2)]).await;
    // As is one that went with its server; what was told before is not told again, and nothing is lost.
    watched.server.stop();
    watched.server.restart().unwrap();
    watched.words.put("a", &3).await.unwrap();
    watched.shows(&[("a", 3), ("b", 2)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_was_made_anew_is_read_anew() {
    let mut watched = Watched::start().await;
    watched.words.put("b", &2).await.unwrap();
    watched.shows(&[("a", 1), ("b", 2)]).await;
    let config = watched.stream().await.cached_info().config.clone();
    watched.jetstream.delete_stream(STREAM).await.unwrap();
    watched.jetstream.create_stream(config).await.unwrap();
    watched.words.put("c", &3).await.unwrap();
    watched.shows(&[("c", 3)]).await;
}
