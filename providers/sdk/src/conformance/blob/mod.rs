//! Stores of objects.

mod names;
mod objects;
mod streams;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;

use super::{
    Check, Lasting, Report, Suite, lasting,
    suite::{CheckFn, checks},
};
use crate::{
    ByteStream,
    blobstore::{BlobError, Blobstore},
};

/// How long a check may take: nothing hangs.
const CHECK_LIMIT: Duration = Duration::from_secs(180);

/// How much a backend under test is asked for.
#[derive(Debug, Clone, Copy)]
pub struct BlobTest {
    /// Objects in the listing that is checked.
    pub names: usize,
    /// Of the longest name that is tried, in bytes: some servers take less than they should.
    pub longest: usize,
    /// Of the large object, in MiB.
    pub large: u64,
    /// How much more memory the provider's process may have while that goes through it, in MiB; `None` where it keeps it.
    pub memory: Option<u64>,
}

/// A backend under test, and the container that one check has for itself.
#[derive(Clone)]
struct Store {
    backend: Arc<dyn Blobstore>,
    container: String,
    test: BlobTest,
    /// What the names of containers begin with.
    tag: Arc<str>,
    /// The provider's process.
    process: u32,
}

const CHECKS: &[(&str, CheckFn<Store>)] = checks![
    objects::containers_come_and_go,
    objects::an_object_comes_and_goes,
    objects::any_bytes_are_an_object,
    objects::a_range_has_both_its_ends,
    objects::what_is_not_there_is_named,
    objects::objects_are_copied_and_moved,
    names::odd_names_are_names,
    names::names_that_lead_elsewhere_are_refused,
    names::every_name_is_listed,
    names::containers_are_apart,
    streams::large_objects_need_little_memory,
    streams::a_writer_that_stops_leaves_nothing,
    streams::a_writer_that_goes_away_leaves_nothing,
    streams::a_reader_may_stop,
    streams::of_several_writers_one_wins,
];

/// Every check of objects against a backend. It has the rules in front of it that
/// [`Capability::blobstore`](crate::Capability::blobstore) puts there; the containers that it uses were not there.
pub async fn blobstore(backend: Arc<dyn Blobstore>, name: &str, test: BlobTest) -> Report {
    blobstore_suite(backend, "", test, std::process::id()).run(name, |_| ()).await
}

/// The same, to be made, of a provider that is the process of this number; the names of its containers begin with `tag`, and
/// are gone when it has run.
pub fn blobstore_suite(backend: Arc<dyn Blobstore>, tag: &str, test: BlobTest, process: u32) -> Suite {
    let mut suite = Suite::new(CHECK_LIMIT);
    for (name, check) in CHECKS {
        let container = format!("{tag}check-{}", name.split("::").last().unwrap_or_default());
        let store = Store { backend: backend.clone(), container, test, tag: tag.into(), process };
        suite.add(name, async move {
            store.backend.create_container(store.container.clone()).await.map_err(failed("create-container"))?;
            let outcome = check(store.clone()).await;
            let deleted = store.backend.delete_container(store.container.clone()).await;
            outcome.and(deleted.map_err(failed("delete-container")))
        });
    }
    suite
}

/// What is written to a store of objects, to be looked for later.
pub fn blobstore_lasting(backend: Arc<dyn Blobstore>, tag: &str) -> impl Lasting + use<> {
    let test = BlobTest { names: 0, longest: 0, large: 0, memory: None };
    Store { backend, container: format!("{tag}lasting"), test, tag: tag.into(), process: 0 }
}

#[async_trait]
impl Lasting for Store {
    async fn prepare(&self) -> Check {
        self.backend.create_container(self.container.clone()).await.map_err(failed("create-container"))
    }

    async fn write(&self, number: u32) -> Check {
        Store::write(self, &number.to_string(), lasting::value(number)).await
    }

    async fn has(&self, number: u32) -> Result<bool, String> {
        match self.part(&number.to_string(), 0, u64::MAX).await {
            Ok(found) => Ok(found == lasting::value(number)),
            Err(BlobError::NoSuchObject | BlobError::NoSuchContainer) => Ok(false),
            Err(error) => Err(format!("read \"{number}\": {error}")),
        }
    }

    async fn clear(&self) {
        // Nothing depends on it.
        let _ = self.backend.delete_container(self.container.clone()).await;
    }
}

/// What a backend said, as the reason why a check failed.
fn failed(doing: impl std::fmt::Display) -> impl FnOnce(BlobError) -> String {
    move |error| format!("{doing}: {error}")
}

impl Store {
    fn other(&self, container: &str) -> Self {
        Self { container: container.to_owned(), ..self.clone() }
    }

    /// Another container of this run.
    fn sibling(&self, name: &str) -> Self {
        self.other(&format!("{}{name}", self.tag))
    }

    async fn write(&self, object: &str, data: impl Into<ByteStream>) -> Check {
        let written = self.backend.write(self.container.clone(), object.to_owned(), data.into());
        written.await.map_err(failed(format!("write {object:?}")))
    }

    async fn part(&self, object: &str, start: u64, end: u64) -> Result<Bytes, BlobError> {
        let (size, data) = self.backend.read(self.container.clone(), object.to_owned(), start, end).await?;
        let pieces: Vec<_> = data.collect().await;
        let pieces: Result<Vec<Bytes>, _> = pieces.into_iter().collect();
        let whole = Bytes::from(pieces?.concat());
        if whole.len() as u64 != size {
            return Err(BlobError::Other(format!("{} bytes came of {size} that were promised", whole.len())));
        }
        Ok(whole)
    }

    async fn read(&self, object: &str) -> Result<Bytes, String> {
        self.part(object, 0, u64::MAX).await.map_err(failed(format!("read {object:?}")))
    }

    async fn has(&self, object: &str) -> Result<bool, String> {
        let has = self.backend.has_object(self.container.clone(), object.to_owned());
        has.await.map_err(failed(format!("has-object {object:?}")))
    }

    async fn delete(&self, object: &str) -> Check {
        let deleted = self.backend.delete_object(self.container.clone(), object.to_owned());
        deleted.await.map_err(failed(format!("delete-object {object:?}")))
    }
}
