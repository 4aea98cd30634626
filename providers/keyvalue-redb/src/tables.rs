//! What is in the file: values, and when they end.

use std::time::SystemTime;

use bytes::Bytes;
use lattice_provider::keyvalue::position;
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata, Table, TableDefinition,
    WriteTransaction,
};

/// Bucket, position and key: a listing walks them in order.
pub(crate) type Place<'a> = (&'a str, u64, &'a str);

const VALUES: TableDefinition<'static, Place<'static>, &[u8]> = TableDefinition::new("values");
/// When the values end that do, in milliseconds since 1970. Apart from them, so that the files of releases without
/// lifetimes are as they would be now.
const ENDS: TableDefinition<'static, Place<'static>, u64> = TableDefinition::new("ends");
/// The same by time: what is over first is at its beginning.
const DUE: TableDefinition<'static, (u64, &str, u64, &str), ()> = TableDefinition::new("due");

/// By the clock of the machine, as what is in the file outlives the process. When that is set back, entries live longer.
pub(crate) fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

pub(crate) fn place<'a>(bucket: &'a str, key: &'a str) -> Place<'a> {
    (bucket, position(key), key)
}

/// The entries at one moment, without those that are over then.
pub(crate) struct Snapshot {
    values: ReadOnlyTable<Place<'static>, &'static [u8]>,
    /// `None`: all stay.
    ends: Option<ReadOnlyTable<Place<'static>, u64>>,
    now: u64,
}

impl Snapshot {
    pub(crate) fn of(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let ends = transaction.open_table(ENDS)?;
        let ends = if ends.is_empty()? { None } else { Some(ends) };
        Ok(Self { values: transaction.open_table(VALUES)?, ends, now: now() })
    }

    fn is_over(&self, place: Place<'_>) -> Result<bool, redb::Error> {
        let Some(ends) = &self.ends else { return Ok(false) };
        Ok(ends.get(place)?.is_some_and(|end| end.value() <= self.now))
    }

    pub(crate) fn has(&self, bucket: &str, key: &str) -> Result<bool, redb::Error> {
        let place = place(bucket, key);
        Ok(self.values.get(place)?.is_some() && !self.is_over(place)?)
    }

    pub(crate) fn get(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, redb::Error> {
        let place = place(bucket, key);
        match self.values.get(place)? {
            Some(value) if !self.is_over(place)? => Ok(Some(Bytes::copy_from_slice(value.value()))),
            _ => Ok(None),
        }
    }

    /// The keys of a bucket from a position on, in their order, until `take` has enough.
    pub(crate) fn walk(
        &self,
        bucket: &str,
        from: u64,
        mut take: impl FnMut(u64, &str) -> bool,
    ) -> Result<(), redb::Error> {
        for entry in self.values.range((bucket, from, "")..)? {
            let (place, _) = entry?;
            let (of, position, key) = place.value();
            if of != bucket {
                break;
            }
            if !self.is_over((of, position, key))? && !take(position, key) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether something is over and not yet removed.
pub(crate) fn is_due(database: &Database) -> Result<bool, redb::Error> {
    let due = database.begin_read()?.open_table(DUE)?;
    Ok(due.first()?.is_some_and(|(place, _)| place.value().0 <= now()))
}

/// The tables in a transaction that writes.
pub(crate) struct Tables<'t> {
    values: Table<'t, Place<'static>, &'static [u8]>,
    ends: Table<'t, Place<'static>, u64>,
    due: Table<'t, (u64, &'static str, u64, &'static str), ()>,
}

impl<'t> Tables<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            values: transaction.open_table(VALUES)?,
            ends: transaction.open_table(ENDS)?,
            due: transaction.open_table(DUE)?,
        })
    }

    /// What `read` makes of a value, or of its absence.
    pub(crate) fn read<T>(
        &self,
        place: Place<'_>,
        now: u64,
        read: impl FnOnce(Option<&[u8]>) -> T,
    ) -> Result<T, redb::Error> {
        let is_over = self.ends.get(place)?.is_some_and(|end| end.value() <= now);
        let value = self.values.get(place)?.filter(|_| !is_over);
        Ok(read(value.as_ref().map(|value| value.value())))
    }

    /// `end`: when the new value ends, if ever.
    pub(crate) fn put(&mut self, place: Place<'_>, value: &[u8], end: Option<u64>) -> Result<(), redb::Error> {
        self.values.insert(place, value)?;
        self.ends_at(place, end)
    }

    pub(crate) fn remove(&mut self, place: Place<'_>) -> Result<(), redb::Error> {
        self.values.remove(place)?;
        self.ends_at(place, None)
    }

    fn ends_at(&mut self, place: Place<'_>, end: Option<u64>) -> Result<(), redb::Error> {
        let before = match end {
            Some(end) => self.ends.insert(place, end)?.map(|before| before.value()),
            None => self.ends.remove(place)?.map(|before| before.value()),
        };
        let (bucket, position, key) = place;
        if let Some(before) = before {
            self.due.remove((before, bucket, position, key))?;
        }
        if let Some(end) = end {
            self.due.insert((end, bucket, position, key), ())?;
        }
        Ok(())
    }

    /// Removes what was over at `now`, the oldest first, and at most so many.
    pub(crate) fn sweep(&mut self, now: u64, most: usize) -> Result<(), redb::Error> {
        for _ in 0..most {
            let Some((bucket, position, key)) = self.first_over(now)? else { break };
            self.remove((&bucket, position, &key))?;
        }
        Ok(())
    }

    fn first_over(&self, now: u64) -> Result<Option<(String, u64, String)>, redb::Error> {
        let first = self.due.first()?;
        Ok(first.and_then(|(place, _)| {
            let (end, bucket, position, key) = place.value();
            (end <= now).then(|| (bucket.to_owned(), position, key.to_owned()))
        }))
    }
}
