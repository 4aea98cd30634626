//! Watches, also over the end of a provider.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use lattice::bus::Bus;
use lattice_provider::conformance::watches::Watched;
use lattice_provider_keyvalue_redb::{Config, Redb};

async fn start(folder: &Path) -> Result<Watched, String> {
    let bus = Bus::memory("default".parse().unwrap());
    let begun = tokio::time::Instant::now();
    loop {
        let config = Config { file: None, ttl: None };
        match Watched::start::<Redb>(config, folder, &bus).await {
            // The file is closed by a thread when its last write is done.
            Err(error) if error.contains("has it open") && begun.elapsed().as_secs() < 10 => {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            other => return other,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_told_in_order() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path()).await.unwrap().tells_in_order().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_told_until_it_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    start(folder.path()).await.unwrap().tells_until_it_is_taken().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).await.unwrap();
    first.is_followed_by(|| start(folder.path())).await.unwrap();
}
