//! What has changed in watched buckets and is not told yet. It is in the file, and written with the change itself.

use std::time::Duration;

use async_trait::async_trait;
use lattice_provider::keyvalue::{Change as Changed, KeyValueError, Untold, Watched};
use redb::{ReadableDatabase, ReadableTable, Table, TableDefinition, WriteTransaction};

use crate::{Access, tables::Snapshot, writer::Change};

/// The keys that have changed, by bucket and in the order of their last changes.
const UNTOLD: TableDefinition<'static, (&str, u64), &str> = TableDefinition::new("untold");
/// The number that a key has there.
const NUMBERS: TableDefinition<'static, (&str, &str), u64> = TableDefinition::new("untold_numbers");

/// The tables in a transaction that writes.
pub(crate) struct Noted<'t> {
    untold: Table<'t, (&'static str, u64), &'static str>,
    numbers: Table<'t, (&'static str, &'static str), u64>,
}

impl<'t> Noted<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self { untold: transaction.open_table(UNTOLD)?, numbers: transaction.open_table(NUMBERS)? })
    }

    /// Forgets what was to be told of buckets that nobody watches any more.
    pub(crate) fn only(&mut self, watched: &Watched) -> Result<(), redb::Error> {
        self.untold.retain(|(bucket, _), _| watched.is(bucket))?;
        self.numbers.retain(|(bucket, _), _| watched.is(bucket))?;
        Ok(())
    }

    pub(crate) fn note(&mut self, bucket: &str, key: &str) -> Result<(), redb::Error> {
        let last = self.untold.range((bucket, 0)..=(bucket, u64::MAX))?.next_back().transpose()?;
        let number = last.map_or(0, |(place, _)| place.value().1) + 1;
        let before = self.numbers.insert((bucket, key), number)?.map(|before| before.value());
        if let Some(before) = before {
            self.untold.remove((bucket, before))?;
        }
        self.untold.insert((bucket, number), key)?;
        Ok(())
    }

    pub(crate) fn told(&mut self, bucket: &str, key: &str, number: u64) -> Result<(), redb::Error> {
        let newest = self.numbers.get((bucket, key))?.map(|newest| newest.value());
        if newest == Some(number) {
            self.numbers.remove((bucket, key))?;
            self.untold.remove((bucket, number))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Untold for Access {
    async fn next(&self, bucket: &str, _: Duration) -> Result<Option<(u64, Changed)>, KeyValueError> {
        let bucket = bucket.to_owned();
        self.read(move |database| {
            let untold = database.begin_read()?.open_table(UNTOLD)?;
            let first = untold.range((bucket.as_str(), 0)..=(bucket.as_str(), u64::MAX))?.next().transpose()?;
            let Some((place, key)) = first else { return Ok(None) };
            let (number, key) = (place.value().1, key.value().to_owned());
            let value = Snapshot::of(database)?.get(&bucket, &key)?;
            Ok(Some((number, Changed { bucket, key, value })))
        })
        .await
    }

    async fn told(&self, bucket: &str, key: &str, number: u64) -> Result<(), KeyValueError> {
        self.write(bucket.to_owned(), Change::Told(key.to_owned(), number)).await.map(drop)
    }

    async fn more(&self, bucket: &str) {
        self.watched.more(bucket).await;
    }
}
