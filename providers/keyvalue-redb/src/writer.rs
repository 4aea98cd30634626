//! The thread that writes. It takes all writes that wait, makes one transaction of them, and answers each of them
//! when the transaction is on the disk.

use std::sync::Arc;

use bytes::Bytes;
use lattice_provider::{
    Health, HealthReporter,
    keyvalue::{KeyValueError, add, position},
};
use redb::{Database, ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};

use crate::VALUES;

/// The most that one transaction takes: the first of its writes should not wait long for the last.
const MAX_WRITES: usize = 1024;
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A change that waits for its turn.
pub(crate) struct Write {
    pub(crate) bucket: String,
    pub(crate) change: Change,
    /// Gets the sum of an increment, and 0 of the others.
    pub(crate) done: oneshot::Sender<Result<u64, KeyValueError>>,
}

pub(crate) enum Change {
    Set(Vec<(String, Bytes)>),
    Delete(Vec<String>),
    Increment(String, u64),
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Set(pairs) => pairs.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Delete(keys) => keys.iter().map(String::len).sum(),
            Self::Increment(key, _) => key.len(),
        }
    }
}

pub(crate) struct Writer {
    pub(crate) database: Arc<Database>,
    pub(crate) health: HealthReporter,
}

impl Writer {
    /// Runs until the backend is dropped and its last write is done.
    pub(crate) fn run(self, mut queue: mpsc::Receiver<Write>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = first.change.bytes();
            let mut batch = vec![first];
            while batch.len() < MAX_WRITES
                && bytes < MAX_BYTES
                && let Ok(next) = queue.try_recv()
            {
                bytes += next.change.bytes();
                batch.push(next);
            }
            self.write(batch);
        }
    }

    fn write(&self, batch: Vec<Write>) {
        match self.commit(&batch) {
            Ok(outcomes) => {
                self.health.report(Health::Ready);
                for (write, outcome) in batch.into_iter().zip(outcomes) {
                    // A caller that is gone needs no answer.
                    let _ = write.done.send(outcome);
                }
            }
            Err(error) => {
                tracing::error!(%error, writes = batch.len(), "cannot write to the database");
                self.health.report(Health::Degraded(format!("cannot write to the database: {error}")));
                for write in batch {
                    let _ = write.done.send(Err(KeyValueError::other(&error)));
                }
            }
        }
    }

    /// What each write comes to, once all are on the disk.
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<u64, KeyValueError>>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut table = transaction.open_table(VALUES)?;
        let outcomes = batch
            .iter()
            .map(|write| apply(&mut table, &write.bucket, &write.change))
            .collect::<Result<Vec<_>, redb::Error>>()?;
        drop(table);
        transaction.commit()?;
        Ok(outcomes)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Writes are refused from now on; reads may still do.
        if std::thread::panicking() {
            self.health.report(Health::Degraded("the database is damaged: writing to it has failed".into()));
        }
    }
}

type Values<'t> = Table<'t, (&'static str, u64, &'static str), &'static [u8]>;

fn apply(values: &mut Values<'_>, bucket: &str, change: &Change) -> Result<Result<u64, KeyValueError>, redb::Error> {
    match change {
        Change::Set(pairs) => {
            for (key, value) in pairs {
                values.insert((bucket, position(key), key.as_str()), value.as_ref())?;
            }
        }
        Change::Delete(keys) => {
            for key in keys {
                values.remove((bucket, position(key), key.as_str()))?;
            }
        }
        Change::Increment(key, delta) => {
            let place = (bucket, position(key), key.as_str());
            let sum = add(key, values.get(place)?.as_ref().map(|value| value.value()), *delta);
            if let Ok(sum) = sum {
                values.insert(place, sum.to_string().as_bytes())?;
            }
            return Ok(sum);
        }
    }
    Ok(Ok(0))
}
