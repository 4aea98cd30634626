//! A table as the store has it, with our own writes ahead of the live view.
//!
//! A view lags behind a write by a moment. Planning from it in that moment would write the same again, and conflict.

use std::{collections::BTreeMap, time::Duration};

use lattice::bus::{Entry, StoreError, Table, View};
use tokio::time::Instant;

use crate::keeper::within;

pub(crate) struct Mirror<T> {
    pub(crate) view: View<T>,
    table: Table<T>,
    ahead: BTreeMap<String, (Entry<T>, Instant)>,
    limit: Duration,
}

impl<T: serde::Serialize + serde::de::DeserializeOwned + Clone + Send + Sync + 'static> Mirror<T> {
    /// `limit` is how long a write may take.
    pub(crate) fn new(table: Table<T>, limit: Duration) -> Self {
        Self { view: table.follow(), table, ahead: BTreeMap::new(), limit }
    }

    /// All values, as new as we know them.
    pub(crate) fn read(&mut self) -> BTreeMap<String, Entry<T>> {
        let mut all = self.view.borrow_and_update().clone().unwrap_or_default();
        // A view without the key does not say whether it lags or somebody deleted the key. It does not lag for long.
        self.ahead.retain(|key, (ours, since)| {
            since.elapsed() < self.limit && all.get(key).is_none_or(|seen| seen.revision < ours.revision)
        });
        for (key, (ours, _)) in &self.ahead {
            all.insert(key.clone(), ours.clone());
        }
        all
    }

    /// Writes over the revision that was read, or where nothing was.
    pub(crate) async fn write(&mut self, key: &str, value: T, over: Option<u64>) -> Result<(), StoreError> {
        let written = match over {
            Some(revision) => within(self.limit, self.table.update(key, &value, revision)).await,
            None => within(self.limit, self.table.create(key, &value)).await,
        };
        // Whatever went wrong, what we thought to be there may not be; the view tells.
        self.ahead.remove(key);
        let revision = written?;
        self.ahead.insert(key.to_owned(), (Entry { value, revision }, Instant::now()));
        Ok(())
    }

    /// Deletes what was read.
    pub(crate) async fn delete(&mut self, key: &str, revision: u64) -> Result<(), StoreError> {
        self.ahead.remove(key);
        within(self.limit, self.table.delete_at(key, revision)).await
    }
}
