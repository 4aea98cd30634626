//! The map, and what goes out of it when its time is over.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use bytes::Bytes;
use lattice_provider::keyvalue::{Ttl, position};

use crate::changes::Changes;

/// Where a key is in its bucket.
pub(crate) type Place = (u64, String);
/// Values by position and key: a listing walks them in order.
pub(crate) type Bucket = BTreeMap<Place, Entry>;

/// Entries that are looked at while the map is held.
const LOOK: usize = 1000;

pub(crate) fn place(key: String) -> Place {
    (position(&key), key)
}

#[derive(Debug)]
pub(crate) struct Entry {
    value: Bytes,
    /// `None`: it stays.
    end: Option<Instant>,
}

impl Entry {
    /// The value, unless its time is over.
    pub(crate) fn value(&self) -> Option<&Bytes> {
        self.end.is_none_or(|end| Instant::now() < end).then_some(&self.value)
    }
}

#[derive(Debug)]
pub(crate) struct Store {
    /// A lock and not a task that owns the map: a look-up takes less time than a message to a task would. No guard
    /// lives across an await, and the longest work under it is one page or one batch.
    buckets: RwLock<HashMap<String, Bucket>>,
    ttl: Option<Ttl>,
    pub(crate) changes: Changes,
}

impl Store {
    pub(crate) fn new(ttl: Option<Ttl>, changes: Changes) -> Self {
        Self { buckets: RwLock::default(), ttl, changes }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Bucket>> {
        // Nothing below panics half-way through a change, so the map is whole.
        self.buckets.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Bucket>> {
        self.buckets.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// An entry whose life begins now.
    pub(crate) fn entry(&self, value: Bytes) -> Entry {
        Entry { value, end: self.ttl.and_then(|ttl| Instant::now().checked_add(ttl.get())) }
    }

    /// Puts entries into a bucket.
    pub(crate) fn put(&self, bucket: String, entries: Vec<(Place, Entry)>) {
        let mut buckets = self.write();
        self.changes.note(&bucket, entries.iter().map(|((_, key), _)| key.as_str()));
        buckets.entry(bucket).or_default().extend(entries);
    }

    /// Removes entries, which is a change of those that are there.
    pub(crate) fn delete(&self, bucket: &str, places: impl IntoIterator<Item = Place>) {
        self.remove(bucket, places, |key, entry| {
            if entry.value().is_some() {
                self.changes.note(bucket, [key]);
            }
            true
        });
    }

    /// Removes those of `places` that `which` picks.
    fn remove(&self, bucket: &str, places: impl IntoIterator<Item = Place>, which: impl Fn(&str, &Entry) -> bool) {
        let mut buckets = self.write();
        if let Some(values) = buckets.get_mut(bucket) {
            for place in places {
                if values.get(&place).is_some_and(|entry| which(&place.1, entry)) {
                    values.remove(&place);
                }
            }
            // A guest chooses the names of buckets: one that is empty costs nothing.
            if values.is_empty() {
                buckets.remove(bucket);
            }
        }
    }

    /// Removes what is over, again and again: the map holds what was written in the last lifetime, and some of what was
    /// written in that before.
    pub(crate) async fn sweep(&self) {
        loop {
            tokio::time::sleep(Ttl::pause(self.ttl)).await;
            let names: Vec<String> = self.read().keys().cloned().collect();
            for name in names {
                let mut from = Some(Place::default());
                while let Some(place) = from {
                    from = self.sweep_some(&name, place);
                    // Calls have their turn.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Returns where to go on.
    fn sweep_some(&self, bucket: &str, from: Place) -> Option<Place> {
        let (over, next) = {
            let buckets = self.read();
            let mut entries = buckets.get(bucket)?.range(from..);
            let over = entries.by_ref().take(LOOK).filter(|(_, entry)| entry.value().is_none());
            let over: Vec<_> = over.map(|(place, _)| place.clone()).collect();
            (over, entries.next().map(|(place, _)| place.clone()))
        };
        if !over.is_empty() {
            // One may have been written anew meanwhile.
            self.remove(bucket, over, |_, entry| entry.value().is_none());
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_is_over_leaves_the_map() {
        let ttl = Ttl::try_from("200ms".to_owned()).unwrap();
        let store = Arc::new(Store::new(Some(ttl), Changes::of(&[])));
        for n in 0..5 * LOOK {
            let entry = store.entry(Bytes::from("v"));
            store.write().entry(format!("b{}", n % 3)).or_default().insert(place(n.to_string()), entry);
        }
        let stays = Entry { value: Bytes::new(), end: None };
        store.write().entry("b0".into()).or_default().insert(place("stays".into()), stays);
        let sweep = store.clone();
        let sweep = tokio::spawn(async move { sweep.sweep().await });
        let swept = async {
            while store.read().values().map(BTreeMap::len).sum::<usize>() > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), swept).await.unwrap();
        assert_eq!(store.read().keys().collect::<Vec<_>>(), ["b0"]);
        sweep.abort();
    }
}
