//! What has changed in watched buckets and is not told yet.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lattice_provider::keyvalue::{Change, KeyValueError, Untold, Watch, Watched};

use crate::store::{Store, place};

/// The changes of all watched buckets.
#[derive(Debug)]
pub(crate) struct Changes {
    /// A lock that is held for one look-up, also by whoever holds the map: what has changed is noted with the change itself.
    buckets: Mutex<HashMap<String, Waiting>>,
    watched: Watched,
}

/// The keys of a bucket that have changed, by the order of their last changes.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    keys: BTreeMap<u64, String>,
    numbers: HashMap<String, u64>,
}

impl Changes {
    pub(crate) fn of(watches: &[Watch]) -> Self {
        let buckets = watches.iter().map(|watch| (watch.spec.bucket.clone(), Waiting::default())).collect();
        Self { buckets: Mutex::new(buckets), watched: Watched::of(watches) }
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        // Nothing below panics half-way through a change.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that these keys have changed, if anybody watches the bucket.
    pub(crate) fn note<'k>(&self, bucket: &str, keys: impl IntoIterator<Item = &'k str>) {
        if !self.watched.is(bucket) {
            return;
        }
        let mut buckets = self.buckets();
        let Some(waiting) = buckets.get_mut(bucket) else { return };
        for key in keys {
            waiting.last += 1;
            if let Some(before) = waiting.numbers.insert(key.to_owned(), waiting.last) {
                waiting.keys.remove(&before);
            }
            waiting.keys.insert(waiting.last, key.to_owned());
        }
        self.watched.noted(bucket);
    }
}

/// The map, and what is noted of it.
pub(crate) struct Told(pub(crate) Arc<Store>);

#[async_trait]
impl Untold for Told {
    async fn next(&self, bucket: &str, _: Duration) -> Result<Option<(u64, Change)>, KeyValueError> {
        let Self(store) = self;
        let first = {
            let buckets = store.changes.buckets();
            buckets.get(bucket).and_then(|waiting| waiting.keys.first_key_value()).map(|(at, key)| (*at, key.clone()))
        };
        let Some((number, key)) = first else { return Ok(None) };
        let place = place(key);
        let value = store.read().get(bucket).and_then(|values| values.get(&place)?.value()).cloned();
        Ok(Some((number, Change { bucket: bucket.to_owned(), key: place.1, value })))
    }

    async fn told(&self, bucket: &str, key: &str, number: u64) -> Result<(), KeyValueError> {
        let mut buckets = self.0.changes.buckets();
        if let Some(waiting) = buckets.get_mut(bucket)
            && waiting.keys.remove(&number).is_some()
        {
            waiting.numbers.remove(key);
        }
        Ok(())
    }

    async fn more(&self, bucket: &str) {
        self.0.changes.watched.more(bucket).await;
    }
}
