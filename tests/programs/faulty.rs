//! A key-value provider in memory that can be told to be wrong: for what looks for faults.

use std::{
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use lattice_provider::{
    Capability, Provider, StartContext, StartError, async_trait,
    keyvalue::{KeyPage, KeyValue, KeyValueError, add},
    parse_config,
};
use lattice_provider_keyvalue_memory::Memory;
use serde::Deserialize;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    /// Every hundredth value that is set is acknowledged and forgotten.
    Forgets,
    /// An increment is a get and a set, and another one may come between them.
    Races,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Nothing when absent.
    fault: Option<Fault>,
}

struct Faulty {
    store: Arc<dyn KeyValue>,
    fault: Option<Fault>,
    sets: AtomicU64,
}

impl Faulty {
    /// Whether the next value is kept.
    fn keeps(&self) -> bool {
        let number = self.sets.fetch_add(1, Ordering::Relaxed) + 1;
        self.fault != Some(Fault::Forgets) || !number.is_multiple_of(100)
    }
}

#[async_trait]
impl Provider for Faulty {
    const KIND: &'static str = "faulty-keyvalue";
    type Config = Config;

    async fn start(context: StartContext, Config { fault }: Config) -> Result<Capability, StartError> {
        let memory = parse_config::<Memory>(&serde_json::Map::new())?;
        match Memory::start(context, memory).await? {
            Capability::KeyValue(store) => Ok(Capability::key_value(Self { store, fault, sets: AtomicU64::new(0) })),
            _ => Err(StartError::Config("the memory is no key-value store".to_owned())),
        }
    }
}

#[async_trait]
impl KeyValue for Faulty {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        self.store.get(bucket, key).await
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        if self.keeps() { self.store.set(bucket, key, value).await } else { Ok(()) }
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.store.delete(bucket, key).await
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        self.store.exists(bucket, key).await
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        self.store.list_keys(bucket, cursor).await
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        if self.fault != Some(Fault::Races) {
            return self.store.increment(bucket, key, delta).await;
        }
        let current = self.store.get(bucket.clone(), key.clone()).await?;
        let sum = add(&key, current.as_deref(), delta)?;
        // Long enough for another one to come between.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.store.set(bucket, key, Bytes::from(sum.to_string())).await.map(|()| sum)
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        self.store.get_many(bucket, keys).await
    }

    async fn set_many(&self, bucket: String, mut pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        pairs.retain(|_| self.keeps());
        self.store.set_many(bucket, pairs).await
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        self.store.delete_many(bucket, keys).await
    }
}

fn main() -> ExitCode {
    lattice_provider::main::<Faulty>()
}
