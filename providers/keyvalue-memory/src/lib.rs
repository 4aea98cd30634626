//! Key-value in the memory of one process: for tests, demos and caches that may be lost.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice_provider::{
    Capability, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, PageBuilder, add, position},
};
use serde::Deserialize;

/// There is nothing to set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

/// Values by position and key: a listing walks them in order.
type Bucket = BTreeMap<(u64, String), Bytes>;

/// The backend.
#[derive(Debug, Default)]
pub struct Memory {
    /// A lock and not a task that owns the map: a look-up takes less time than a message to a task would. No guard
    /// lives across an await, and the longest work under it is one page or one batch.
    buckets: RwLock<HashMap<String, Bucket>>,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Bucket>> {
        // Nothing below panics half-way through a change, so the map is whole.
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn remove(&self, bucket: &str, keys: impl IntoIterator<Item = String>) {
        let mut buckets = self.write();
        if let Some(values) = buckets.get_mut(bucket) {
            for key in keys {
                values.remove(&(position(&key), key));
            }
            // A guest chooses the names of buckets: one that is empty costs nothing.
            if values.is_empty() {
                buckets.remove(bucket);
            }
        }
    }
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

    async fn start(_: StartContext, _: Config) -> Result<Capability, StartError> {
        Ok(Capability::key_value(Self::default()))
    }
}

#[async_trait]
impl KeyValue for Memory {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        let key = (position(&key), key);
        Ok(self.read().get(&bucket).and_then(|values| values.get(&key)).cloned())
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        let (key, value) = ((position(&key), key), kept(value));
        self.write().entry(bucket).or_default().insert(key, value);
        Ok(())
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.remove(&bucket, [key]);
        Ok(())
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        let key = (position(&key), key);
        Ok(self.read().get(&bucket).is_some_and(|values| values.contains_key(&key)))
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        let mut page = PageBuilder::default();
        let buckets = self.read();
        if let Some(values) = buckets.get(&bucket) {
            for (position, key) in values.range((cursor.unwrap_or(0), String::new())..).map(|(place, _)| place) {
                if !page.push(*position, key) {
                    break;
                }
            }
        }
        Ok(page.finish())
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        let mut buckets = self.write();
        let place = (position(&key), key);
        let current = buckets.get(&bucket).and_then(|values| values.get(&place));
        let sum = add(&place.1, current.map(AsRef::as_ref), delta)?;
        buckets.entry(bucket).or_default().insert(place, Bytes::from(sum.to_string()));
        Ok(sum)
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        let buckets = self.read();
        let values = buckets.get(&bucket);
        Ok(keys.into_iter().map(|key| values?.get(&(position(&key), key)).cloned()).collect())
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let values = pairs.into_iter().map(|(key, value)| ((position(&key), key), kept(value)));
        self.write().entry(bucket).or_default().extend(values);
        Ok(())
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        self.remove(&bucket, keys);
        Ok(())
    }
}
