//! Key-value in a file of the host: durable, and it needs nobody else.
//!
//! Reads are transactions of their own. Writes go to one thread, [`writer`], which makes one transaction of all that
//! wait: a commit waits for the disk, and so they wait for it together.

mod changes;
mod file;
mod sweep;
mod tables;
mod writer;

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::wire::UnitId;
use lattice_provider::{
    Capability, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, PageBuilder, Ttl, Watched, tell},
};
use redb::Database;
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use self::{
    file::File,
    tables::Snapshot,
    writer::{Change, Write},
};

/// Which file it is, and how long what is in it stays there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// A name in the host's data folder; `<app>-<unit>.redb` when absent.
    pub file: Option<String>,
    /// How long an entry lives after its last write; until it is deleted when absent.
    pub ttl: Option<Ttl>,
}

/// Writes that may wait for the thread that does them.
const QUEUE: usize = 1024;

/// The backend. When it is dropped, and nobody is told of changes any more, the thread that writes finishes what waits, and then
/// closes the file.
pub struct Redb {
    access: Arc<Access>,
    /// Stops when this is dropped.
    _sweep: AbortOnDropHandle<()>,
}

/// The way to the file.
struct Access {
    file: Arc<File>,
    writes: mpsc::Sender<Write>,
    watched: Arc<Watched>,
}

/// The database file of `unit` in this folder.
fn place(folder: &Path, unit: &UnitId, file: Option<&str>) -> Result<PathBuf, StartError> {
    let name = file.map_or_else(|| format!("{}-{}.redb", unit.app, unit.unit), str::to_owned);
    let mut components = Path::new(&name).components();
    // A manifest's author does not choose where on the host files are.
    let is_name = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if is_name && !name.contains(['/', '\0']) {
        Ok(folder.join(name))
    } else {
        Err(StartError::Config(format!("file: {name:?} is not the name of a file in the host's data folder")))
    }
}

#[async_trait]
impl Provider for Redb {
    const KIND: &'static str = "keyvalue-redb";
    type Config = Config;

    fn check(config: &Config, unit: &UnitId) -> Result<(), StartError> {
        place(Path::new(""), unit, config.file.as_deref()).map(drop)
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        let path = place(&context.data_dir, &context.unit, config.file.as_deref())?;
        let shown = path.display().to_string();
        let watched = Arc::new(Watched::of(&context.watches));
        let kept = watched.clone();
        let opened = tokio::task::spawn_blocking(move || File::open(path, kept)).await;
        // A file that makes redb panic hurts nobody else.
        let file = opened.map_err(|_| StartError::Backend(format!("cannot open {shown}: it is damaged")))??;
        Self::new(file, watched, context, config.ttl)
            .map(Capability::key_value)
            .map_err(|error| StartError::Backend(format!("cannot start a thread: {error}")))
    }
}

impl Redb {
    fn new(file: File, watched: Arc<Watched>, context: StartContext, ttl: Option<Ttl>) -> std::io::Result<Self> {
        let file = Arc::new(file);
        let (writes, queue) = mpsc::channel(QUEUE);
        let writer = writer::Writer { file: file.clone(), health: context.health, ttl, watched: watched.clone() };
        std::thread::Builder::new().name("redb-writer".into()).spawn(move || writer.run(queue))?;
        let sweep = sweep::sweep(Arc::downgrade(&file), writes.downgrade(), Ttl::pause(ttl));
        let access = Arc::new(Access { file, writes, watched });
        tell(context.watches, &access, &context.work);
        Ok(Self { access, _sweep: AbortOnDropHandle::new(tokio::spawn(sweep)) })
    }

    async fn snapshot<T: Send + 'static>(
        &self,
        read: impl FnOnce(Snapshot) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, KeyValueError> {
        self.access.read(move |database| read(Snapshot::of(database)?)).await
    }
}

impl Access {
    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, KeyValueError> {
        let file = self.file.clone();
        let done = tokio::task::spawn_blocking(move || read(&*file.database()?)).await;
        let done = done.map_err(KeyValueError::other)?;
        if done.as_ref().is_err_and(file::is_broken) {
            // The thread that writes mends it; whether it has much else to do does not matter.
            let (done, _) = oneshot::channel();
            let _ = self.writes.try_send(Write { bucket: String::new(), change: Change::Sweep, done });
        }
        done.map_err(KeyValueError::other)
    }

    /// Returns when the change is on the disk.
    async fn write(&self, bucket: String, change: Change) -> Result<u64, KeyValueError> {
        let closed = || KeyValueError::Other("the database is closed".into());
        let (done, outcome) = oneshot::channel();
        self.writes.send(Write { bucket, change, done }).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl KeyValue for Redb {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        self.snapshot(move |entries| entries.get(&bucket, &key)).await
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        self.set_many(bucket, vec![(key, value)]).await
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.delete_many(bucket, vec![key]).await
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        self.snapshot(move |entries| entries.has(&bucket, &key)).await
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        self.snapshot(move |entries| {
            let mut page = PageBuilder::default();
            entries.walk(&bucket, cursor.unwrap_or(0), |position, key| page.push(position, key))?;
            Ok(page.finish())
        })
        .await
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        self.access.write(bucket, Change::Increment(key, delta)).await
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        self.snapshot(move |entries| keys.iter().map(|key| entries.get(&bucket, key)).collect()).await
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        self.access.write(bucket, Change::Set(pairs)).await.map(drop)
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        self.access.write(bucket, Change::Delete(keys)).await.map(drop)
    }
}
