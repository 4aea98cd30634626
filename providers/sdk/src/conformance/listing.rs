//! Listings: every key that stays is listed, however many there are.

use std::collections::BTreeSet;

use bytes::Bytes;
use lattice::wire::MAX_KEY;

use super::{Check, Subject, failed, same};
use crate::keyvalue::{KeyPage, PAGE};

const MANY: usize = 10_000;
const BATCH: usize = 500;
/// A listing that has not ended by then is in a circle.
const MAX_PAGES: usize = 1000;

impl Subject {
    async fn list(&self, cursor: Option<u64>) -> Result<KeyPage, String> {
        let page = self.backend.list_keys(self.bucket.clone(), cursor).await.map_err(failed("list-keys"))?;
        let keys = page.keys.len();
        // Redis and keys of the same position may make it a little longer.
        if keys > PAGE * 2 { Err(format!("a page of {keys} keys; {PAGE} is the limit")) } else { Ok(page) }
    }

    pub(super) async fn list_all(&self) -> Result<Vec<String>, String> {
        let mut keys = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = self.list(cursor).await?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(keys);
            }
        }
        Err(format!("a listing of more than {MAX_PAGES} pages"))
    }

    /// Leaves the bucket empty, as far as the backend lets it.
    pub(super) async fn clear(&self) {
        for keys in self.list_all().await.unwrap_or_default().chunks(BATCH) {
            // What a check has left there is no reason to fail: it may have failed over this very backend.
            let _ = self.delete_many(keys.iter().cloned()).await;
        }
    }

    async fn fill(&self, prefix: &str, keys: std::ops::Range<usize>) -> Result<BTreeSet<String>, String> {
        let keys: BTreeSet<String> = keys.map(|n| format!("{prefix}{n}")).collect();
        let pairs: Vec<_> = keys.iter().map(|key| (key.clone(), Bytes::from("v"))).collect();
        for batch in pairs.chunks(BATCH) {
            self.set_many(batch.iter().cloned()).await?;
        }
        Ok(keys)
    }
}

pub(super) async fn an_empty_bucket_has_no_keys(subject: Subject) -> Check {
    same("the keys of an empty bucket", subject.list_all().await?, vec![])?;
    subject.set("k", "v").await?;
    subject.delete("k").await?;
    same("the keys of a bucket that is empty again", subject.list_all().await?, vec![])
}

pub(super) async fn every_key_is_listed(subject: Subject) -> Check {
    let keys = subject.fill("key ", 0..MANY).await?;
    let listed: BTreeSet<String> = subject.list_all().await?.into_iter().collect();
    same("how many keys are listed", listed.len(), MANY)?;
    same("whether they are the right ones", listed == keys, true)?;
    subject.delete_many(keys).await?;
    same("the keys that are left", subject.list_all().await?, vec![])
}

pub(super) async fn keys_that_stay_are_listed_while_others_come_and_go(subject: Subject) -> Check {
    let stay = subject.fill("stay ", 0..MANY / 2).await?;
    let mut going = subject.fill("go ", 0..MANY / 2).await?.into_iter();
    let mut listed = BTreeSet::new();
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = subject.list(cursor).await?;
        listed.extend(page.keys);
        pages += 1;
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
        same("a listing in a circle", pages > MAX_PAGES, false)?;
        subject.delete_many(going.by_ref().take(BATCH)).await?;
        subject.fill("come ", pages * BATCH..(pages + 1) * BATCH).await?;
    }
    same("how many keys stayed and were not listed", stay.difference(&listed).count(), 0)?;
    same("whether there were pages", pages > 1, true)
}

pub(super) async fn long_keys_make_short_pages(subject: Subject) -> Check {
    let keys: BTreeSet<String> = (0..PAGE).map(|n| format!("{n:0width$}", width = MAX_KEY)).collect();
    let pairs: Vec<_> = keys.iter().map(|key| (key.clone(), Bytes::new())).collect();
    for batch in pairs.chunks(BATCH) {
        subject.set_many(batch.iter().cloned()).await?;
    }
    let (mut listed, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = subject.list(cursor).await?;
        let bytes: usize = page.keys.iter().map(String::len).sum();
        // A stock NATS server takes messages of 1 MiB.
        same("a page that no message holds", bytes > 1_000_000, false)?;
        listed.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            return same("whether all long keys are listed", listed == keys, true);
        }
    }
}
