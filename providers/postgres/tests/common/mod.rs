//! A provider on a database, for the tests.

use lattice::{bus::Bus, wire::UnitId};
use lattice_provider::{Health, StartError, conformance};
use lattice_provider_postgres::{Config, Postgres};
use serde_json::{Value, json};
use tokio::sync::watch;

pub(crate) fn unit() -> UnitId {
    "shop/db".parse().unwrap()
}

pub(crate) fn memory() -> Bus {
    Bus::memory("default".parse().unwrap())
}

/// The settings for a URL, and others.
pub(crate) fn config(url: &str, others: Value) -> Config {
    let mut all = json!({ "url": url });
    all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

pub(crate) async fn start(url: &str, others: Value) -> Result<(Postgres, watch::Receiver<Health>), StartError> {
    let (context, health) = conformance::context(&unit(), std::env::temp_dir().as_path(), &memory());
    Ok((Postgres::connect(context, config(url, others)).await?, health))
}
