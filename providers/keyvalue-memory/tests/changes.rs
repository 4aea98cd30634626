//! Watches.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lattice::bus::Bus;
use lattice_provider::conformance::watches::Watched;
use lattice_provider_keyvalue_memory::{Config, Memory};

async fn start() -> Watched {
    let bus = Bus::memory("default".parse().unwrap());
    Watched::start::<Memory>(Config { ttl: None }, std::env::temp_dir().as_path(), &bus).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_order() {
    start().await.tells_in_order().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_until_it_is_taken() {
    start().await.tells_until_it_is_taken().await.unwrap();
}
