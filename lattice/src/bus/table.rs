//! Typed values in the store, and live views of them.

use std::{collections::BTreeMap, marker::PhantomData, time::Duration};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use super::store::{Bucket, Expect, Keys, Store, StoreError, WatchEvent};

/// A value and the revision at which it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<T> {
    pub value: T,
    pub revision: u64,
}

/// A live copy of a table: the newest state after each change. `None` until the first whole state is there.
pub type View<T> = watch::Receiver<Option<BTreeMap<String, Entry<T>>>>;

/// The values of one type under one prefix, as JSON.
#[derive(Clone)]
pub struct Table<T> {
    store: Store,
    bucket: Bucket,
    prefix: &'static str,
    value: PhantomData<fn() -> T>,
}

/// How long a view waits before it begins again after its watch broke.
const RETRY: Duration = Duration::from_millis(250);

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Table<T> {
    pub(super) fn new(store: Store, bucket: Bucket, prefix: &'static str) -> Self {
        Self { store, bucket, prefix, value: PhantomData }
    }

    fn path(&self, key: &str) -> String {
        format!("{}.{key}", self.prefix)
    }

    fn encode(&self, key: &str, value: &T) -> Result<Bytes, StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|e| StoreError::Unreadable { key: self.path(key), reason: e.to_string() })?;
        Ok(bytes.into())
    }

    fn decode(&self, path: &str, bytes: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(bytes)
            .map_err(|e| StoreError::Unreadable { key: path.to_owned(), reason: e.to_string() })
    }

    pub async fn get(&self, key: &str) -> Result<Option<Entry<T>>, StoreError> {
        let path = self.path(key);
        let found = self.store.0.get(self.bucket, &path).await?;
        found.map(|(bytes, revision)| Ok(Entry { value: self.decode(&path, &bytes)?, revision })).transpose()
    }

    /// Writes whatever was there; returns the new revision.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, StoreError> {
        self.store.0.put(self.bucket, &self.path(key), self.encode(key, value)?, Expect::Any).await
    }

    /// Writes only if the key is not there.
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, StoreError> {
        self.store.0.put(self.bucket, &self.path(key), self.encode(key, value)?, Expect::Absent).await
    }

    /// Writes only over `revision`.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, StoreError> {
        self.store.0.put(self.bucket, &self.path(key), self.encode(key, value)?, Expect::Revision(revision)).await
    }

    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store.0.delete(self.bucket, &self.path(key), Expect::Any).await
    }

    /// Deletes only what was written at `revision`.
    pub async fn delete_at(&self, key: &str, revision: u64) -> Result<(), StoreError> {
        self.store.0.delete(self.bucket, &self.path(key), Expect::Revision(revision)).await
    }

    /// Everything in the table now. A value that cannot be read is left out, with a warning that names it.
    pub async fn list(&self) -> Result<BTreeMap<String, Entry<T>>, StoreError> {
        self.list_below(self.prefix).await
    }

    /// As [`list`](Self::list), of the keys that begin with `group` and a dot; they are without both.
    pub async fn list_of(&self, group: &str) -> Result<BTreeMap<String, Entry<T>>, StoreError> {
        self.list_below(&self.path(group)).await
    }

    async fn list_below(&self, prefix: &str) -> Result<BTreeMap<String, Entry<T>>, StoreError> {
        let mut events = self.store.0.watch(self.bucket, Keys::Below(prefix.to_owned())).await?;
        let mut map = BTreeMap::new();
        while let Some(event) = events.recv().await {
            if event == WatchEvent::Synced {
                return Ok(map);
            }
            self.apply(prefix, &mut map, event);
        }
        Err(StoreError::Unavailable("the connection was lost while reading".to_owned()))
    }

    /// A live view. It survives reconnects: whenever it may have missed something it reads everything again.
    /// It ends when the last receiver is dropped.
    pub fn follow(&self) -> View<T> {
        self.follow_keys(Keys::Below(self.prefix.to_owned()))
    }

    /// The same of one key, whose value alone is told.
    pub fn follow_one(&self, key: &str) -> View<T> {
        self.follow_keys(Keys::One(self.path(key)))
    }

    fn follow_keys(&self, keys: Keys) -> View<T> {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(self.clone().keep(keys, sender));
        receiver
    }

    async fn keep(self, keys: Keys, view: watch::Sender<Option<BTreeMap<String, Entry<T>>>>) {
        loop {
            let watched = tokio::select! {
                watched = self.keep_once(&keys, &view) => watched,
                () = view.closed() => return,
            };
            if let Err(error) = watched {
                tracing::debug!(table = self.prefix, %error, "cannot watch; trying again");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn keep_once(
        &self,
        keys: &Keys,
        view: &watch::Sender<Option<BTreeMap<String, Entry<T>>>>,
    ) -> Result<(), StoreError> {
        let mut events = self.store.0.watch(self.bucket, keys.clone()).await?;
        let mut first = Some(BTreeMap::new());
        while let Some(event) = events.recv().await {
            match (&mut first, event) {
                (Some(_), WatchEvent::Synced) => drop(view.send_replace(first.take())),
                (Some(map), event) => self.apply(self.prefix, map, event),
                (None, WatchEvent::Synced) => {}
                (None, event) => view.send_modify(|map| self.apply(self.prefix, map.get_or_insert_default(), event)),
            }
        }
        Ok(())
    }

    fn apply(&self, prefix: &str, map: &mut BTreeMap<String, Entry<T>>, event: WatchEvent) {
        let strip =
            |path: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).unwrap_or(path).to_owned();
        match event {
            WatchEvent::Put { key, value, revision } => match self.decode(&key, &value) {
                Ok(value) => drop(map.insert(strip(&key), Entry { value, revision })),
                // What is unreadable is not gone: the last value that could be read stays.
                Err(error) => tracing::warn!(%error, "passed over a value of the lattice's store"),
            },
            WatchEvent::Delete { key } => drop(map.remove(&strip(&key))),
            WatchEvent::Synced => {}
        }
    }
}
