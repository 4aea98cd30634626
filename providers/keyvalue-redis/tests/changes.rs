//! Watches, also over the end of a provider and beside another instance of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lattice::bus::Bus;
use lattice_provider::conformance::{servers::RedisServer, watches::Watched};
use lattice_provider_keyvalue_redis::{Config, Redis};

async fn start(server: &RedisServer) -> Result<Watched, String> {
    let bus = Bus::memory("default".parse().unwrap());
    let config = Config { url: server.url(), prefix: None, ttl: None };
    Watched::start::<Redis>(config, std::env::temp_dir().as_path(), &bus).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_order() {
    let server = RedisServer::start().unwrap();
    start(&server).await.unwrap().tells_in_order().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_until_it_is_taken() {
    let server = RedisServer::start().unwrap();
    start(&server).await.unwrap().tells_until_it_is_taken().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was() {
    let mut server = RedisServer::start().unwrap();
    let first = start(&server).await.unwrap();
    let second = first.is_followed_by(|| start(&server)).await.unwrap();
    tokio::task::block_in_place(|| server.restart()).unwrap();
    second.goes_on_with_its_backend().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_instances_one_tells_each_change() {
    let server = RedisServer::start().unwrap();
    let (first, second) = (start(&server).await.unwrap(), start(&server).await.unwrap());
    first.shares_with(&second).await.unwrap();
}
