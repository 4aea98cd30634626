//! Watches: what is told, how often, and what is left in the bucket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use async_nats::jetstream;
use lattice::bus::{Bus, NatsOptions};
use lattice_provider::conformance::{servers::NatsServer, watches::Watched};
use lattice_provider_keyvalue_nats::{Config, Nats};

const SOON: Duration = Duration::from_secs(20);

async fn start(server: &NatsServer) -> Result<Watched, String> {
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let bus = Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap();
    let config = Config { bucket: None, replicas: None, ttl: None };
    Watched::start::<Nats>(config, std::env::temp_dir().as_path(), &bus).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_order_and_deleted_keys_leave_nothing() {
    let server = NatsServer::start().unwrap();
    let watched = start(&server).await.unwrap();
    watched.tells_in_order().await.unwrap();
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
    start(&server).await.unwrap().tells_until_it_is_taken().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was_after_the_provider_and_nats_were_away() {
    let mut server = NatsServer::start().unwrap();
    let first = start(&server).await.unwrap();
    let second = first.is_followed_by(|| start(&server)).await.unwrap();

    server.stop();
    server.restart().unwrap();
    second.goes_on_with_its_backend().await.unwrap();
}
