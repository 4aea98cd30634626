//! Key-value in the memory of one process: for tests, demos and caches that may be lost.

mod changes;
mod store;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice_provider::{
    Capability, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, PageBuilder, Ttl, add, tell},
};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use self::{
    changes::{Changes, Told},
    store::{Store, place},
};

/// How long what is in memory stays there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// How long an entry lives after its last write; until it is deleted when absent.
    pub ttl: Option<Ttl>,
}

/// The backend.
#[derive(Debug)]
pub struct Memory {
    store: Arc<Store>,
    /// Stops when this is dropped.
    _sweep: Option<AbortOnDropHandle<()>>,
}

/// A copy when the value is a small part of the message that it came in, which would otherwise stay in memory whole.
fn kept(value: Bytes) -> Bytes {
    const SMALL: usize = 4096;
    if value.len() <= SMALL { Bytes::copy_from_slice(&value) } else { value }
}

#[async_trait]
impl Provider for Memory {
    const KIND: &'static str = "keyvalue-memory";
    type Config = Config;

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        let store = Arc::new(Store::new(config.ttl, Changes::of(&context.watches)));
        tell(context.watches, &Arc::new(Told(store.clone())), &context.work);
        // Without a lifetime nothing is ever over: there is nothing here from before.
        let sweep = config.ttl.map(|_| {
            let store = store.clone();
            AbortOnDropHandle::new(tokio::spawn(async move { store.sweep().await }))
        });
        Ok(Capability::key_value(Self { store, _sweep: sweep }))
    }
}

#[async_trait]
impl KeyValue for Memory {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        let place = place(key);
        Ok(self.store.read().get(&bucket).and_then(|values| values.get(&place)?.value()).cloned())
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        self.store.put(bucket, vec![(place(key), self.store.entry(kept(value)))]);
        Ok(())
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.store.delete(&bucket, [place(key)]);
        Ok(())
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        let place = place(key);
        Ok(self.store.read().get(&bucket).and_then(|values| values.get(&place)?.value()).is_some())
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        let mut page = PageBuilder::default();
        let buckets = self.store.read();
        if let Some(values) = buckets.get(&bucket) {
            for ((position, key), entry) in values.range((cursor.unwrap_or(0), String::new())..) {
                if entry.value().is_some() && !page.push(*position, key) {
                    break;
                }
            }
        }
        Ok(page.finish())
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        let mut buckets = self.store.write();
        let place = place(key);
        let current = buckets.get(&bucket).and_then(|values| values.get(&place)?.value());
        let sum = add(&place.1, current.map(AsRef::as_ref), delta)?;
        let entry = self.store.entry(Bytes::from(sum.to_string()));
        self.store.changes.note(&bucket, [place.1.as_str()]);
        buckets.entry(bucket).or_default().insert(place, entry);
        Ok(sum)
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        let buckets = self.store.read();
        let values = buckets.get(&bucket);
        Ok(keys.into_iter().map(|key| values?.get(&place(key))?.value().cloned()).collect())
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> =
            pairs.into_iter().map(|(key, value)| (place(key), self.store.entry(kept(value)))).collect();
        self.store.put(bucket, entries);
        Ok(())
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        self.store.delete(&bucket, keys.into_iter().map(place));
        Ok(())
    }
}
