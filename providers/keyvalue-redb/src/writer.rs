//! The thread that writes. It takes all writes that wait, makes one transaction of them, and answers each of them
//! when the transaction is on the disk.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice_provider::{
    Health, HealthReporter,
    keyvalue::{KeyValueError, Ttl, Watched, add},
};
use tokio::sync::{mpsc, oneshot};

use crate::{
    changes::Noted,
    file::{File, is_broken},
    tables::{Tables, now, place},
};

/// The most that one transaction takes: the first of its writes should not wait long for the last.
const MAX_WRITES: usize = 1024;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How many entries a transaction removes that are over, beside as many as it writes: the file does not grow for ever.
const SWEEP: usize = 256;
/// The same of a transaction that is there for nothing else.
const LOT: usize = 10_000;
/// Between two attempts to open the file again, and between two looks at what waits meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(20);

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
    /// The change of this key that has this number was told.
    Told(String, u64),
    /// Nothing but what every transaction does: some of what is over is removed.
    Sweep,
}

impl Change {
    fn bytes(&self) -> usize {
        match self {
            Self::Set(pairs) => pairs.iter().map(|(key, value)| key.len() + value.len()).sum(),
            Self::Delete(keys) => keys.iter().map(String::len).sum(),
            Self::Increment(key, _) | Self::Told(key, _) => key.len(),
            Self::Sweep => 0,
        }
    }

    /// How many entries it makes, and so how many should go.
    fn entries(&self) -> usize {
        match self {
            Self::Set(pairs) => pairs.len(),
            Self::Delete(_) | Self::Told(..) => 0,
            Self::Increment(..) => 1,
            Self::Sweep => LOT,
        }
    }
}

pub(crate) struct Writer {
    pub(crate) file: Arc<File>,
    pub(crate) health: HealthReporter,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) watched: Arc<Watched>,
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
            if self.write(batch) && !self.mend(&mut queue) {
                return;
            }
        }
    }

    /// Opens the file again, however often that takes; writes fail meanwhile. False when nobody wants it any more.
    fn mend(&self, queue: &mut mpsc::Receiver<Write>) -> bool {
        loop {
            let reason = match self.file.reopen() {
                Ok(()) => {
                    tracing::info!("the database is open again");
                    self.health.report(Health::Ready);
                    return true;
                }
                Err(error) => error.to_string(),
            };
            self.health.report(Health::Degraded(reason.clone()));
            let until = Instant::now() + AGAIN;
            while Instant::now() < until {
                match queue.try_recv() {
                    Ok(write) => drop(write.done.send(Err(KeyValueError::other(&reason)))),
                    Err(mpsc::error::TryRecvError::Disconnected) => return false,
                    Err(mpsc::error::TryRecvError::Empty) => thread::sleep(LOOK),
                }
            }
        }
    }

    /// Whether the file must be opened again before anything else is done with it.
    fn write(&self, batch: Vec<Write>) -> bool {
        match self.commit(&batch) {
            Ok(outcomes) => {
                self.health.report(Health::Ready);
                batch.iter().for_each(|write| self.watched.noted(&write.bucket));
                for (write, outcome) in batch.into_iter().zip(outcomes) {
                    // A caller that is gone needs no answer.
                    let _ = write.done.send(outcome);
                }
                false
            }
            Err(error) => {
                tracing::error!(%error, writes = batch.len(), "cannot write to the database");
                self.health.report(Health::Degraded(format!("cannot write to the database: {error}")));
                for write in batch {
                    let _ = write.done.send(Err(KeyValueError::other(&error)));
                }
                is_broken(&error)
            }
        }
    }

    /// What each write comes to, once all are on the disk.
    fn commit(&self, batch: &[Write]) -> Result<Vec<Result<u64, KeyValueError>>, redb::Error> {
        let database = self.file.database()?;
        let transaction = database.begin_write()?;
        let mut tables = Tables::open(&transaction)?;
        let now = now();
        let end = self.ttl.map(|ttl| now.saturating_add(ttl.millis()));
        let watched = batch.iter().any(|write| self.watched.is(&write.bucket));
        let mut noted = if watched { Some(Noted::open(&transaction)?) } else { None };
        let outcomes = batch.iter().map(|write| {
            let noted = noted.as_mut().filter(|_| self.watched.is(&write.bucket));
            apply(&mut tables, noted, write, now, end)
        });
        let outcomes = outcomes.collect::<Result<Vec<_>, redb::Error>>()?;
        let written: usize = batch.iter().map(|write| write.change.entries()).sum();
        tables.sweep(now, written + SWEEP)?;
        drop((tables, noted));
        transaction.commit()?;
        Ok(outcomes)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Writes are refused from now on; reads may still do.
        if thread::panicking() {
            self.health.report(Health::Degraded("the database is damaged: writing to it has failed".into()));
        }
    }
}

/// `end` is when what is written at `now` is over, if ever; what has changed is `noted` where somebody watches.
fn apply(
    tables: &mut Tables<'_>,
    mut noted: Option<&mut Noted<'_>>,
    Write { bucket, change, .. }: &Write,
    now: u64,
    end: Option<u64>,
) -> Result<Result<u64, KeyValueError>, redb::Error> {
    let mut note = |key: &str| noted.as_mut().map_or(Ok(()), |noted| noted.note(bucket, key));
    match change {
        Change::Set(pairs) => {
            for (key, value) in pairs {
                tables.put(place(bucket, key), value, end)?;
                note(key)?;
            }
        }
        Change::Delete(keys) => {
            for key in keys {
                let place = place(bucket, key);
                if tables.read(place, now, |value| value.is_some())? {
                    note(key)?;
                }
                tables.remove(place)?;
            }
        }
        Change::Increment(key, delta) => {
            let place = place(bucket, key);
            let sum = tables.read(place, now, |current| add(key, current, *delta))?;
            if let Ok(sum) = sum {
                tables.put(place, sum.to_string().as_bytes(), end)?;
                note(key)?;
            }
            return Ok(sum);
        }
        Change::Told(key, number) => noted.map_or(Ok(()), |noted| noted.told(bucket, key, *number))?,
        Change::Sweep => {}
    }
    Ok(Ok(0))
}
