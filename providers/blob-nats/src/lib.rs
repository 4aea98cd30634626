//! Objects in JetStream of the lattice's own NATS, in the form of its own object stores: `nats object ls` shows them.
//!
//! A container is a bucket, which is a stream of its own. An object is chunks, all with one subject that belongs to this version
//! of it, and after them the message that describes it, on a subject made of its name. That message is replaced only over the one
//! that was read, so whoever replaces it knows which chunks nobody needs any more, and a reader sees one version or the other.

mod chunks;
mod container;
mod listing;
mod names;
mod runs;
mod sweep;
mod upload;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use lattice::wire::{LatticeName, UnitId};
use lattice_provider::{
    ByteStream, Capability, NatsUse, Provider, StartContext, StartError,
    blobstore::{BlobError, Blobstore, Metadata, ObjectPage},
};
use lattice_provider_jetstream::{JetStream, check_name, reason, uses_streams};
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

use self::{
    container::{Buckets, Container},
    names::LONGEST_PREFIX,
};

/// A request that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Objects that are removed at a time.
const CONCURRENT: usize = 32;

/// Which buckets they are, and how they are made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// What their names begin with; `<lattice>-<app>-<unit>-` when absent.
    pub prefix: Option<String>,
    /// Copies in the NATS cluster; 1 when absent.
    pub replicas: Option<usize>,
}

/// The backend.
pub struct NatsObjects {
    buckets: Buckets,
    _health: AbortOnDropHandle<()>,
    _sweep: AbortOnDropHandle<()>,
}

#[async_trait]
impl Provider for NatsObjects {
    const KIND: &'static str = "blob-nats";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        config.prefix.as_deref().map_or(Ok(()), |prefix| check_name("prefix", prefix, LONGEST_PREFIX))
    }

    fn nats_use(_: &Config, lattice: &LatticeName, _: &UnitId) -> NatsUse {
        uses_streams(lattice, "$O.>".to_owned())
    }

    async fn start(context: StartContext, config: Config) -> Result<Capability, StartError> {
        Self::check(&config, &context.unit)?;
        let jetstream = JetStream::new(&context.bus, TIMEOUT)?;
        let away = |why: String| StartError::Backend(format!("JetStream does not answer: {why}"));
        let account = jetstream.ask(jetstream.context.query_account()).await;
        account.map_err(|error| away(error.to_string()))?.map_err(|error| away(reason(&error)))?;
        let unit = &context.unit;
        let prefix = config.prefix.unwrap_or_else(|| format!("{}-{}-{}-", context.bus.lattice(), unit.app, unit.unit));
        let context_of = jetstream.context.clone();
        let health = jetstream.report_health(context.health, move || {
            let context = context_of.clone();
            async move { context.query_account().await.map_err(|error| reason(&error)) }
        });
        let buckets = Buckets::new(jetstream, prefix, config.replicas.unwrap_or(1));
        let sweep = sweep::begin(buckets.clone());
        Ok(Capability::blobstore(Self { buckets, _health: health, _sweep: sweep }))
    }
}

impl NatsObjects {
    async fn container(&self, name: &str) -> Result<Container, BlobError> {
        self.buckets.container(name).await
    }
}

#[async_trait]
impl Blobstore for NatsObjects {
    async fn create_container(&self, container: String) -> Result<(), BlobError> {
        self.buckets.create(&container).await
    }

    async fn delete_container(&self, container: String) -> Result<(), BlobError> {
        self.container(&container).await?.delete().await
    }

    async fn container_exists(&self, container: String) -> Result<bool, BlobError> {
        match self.container(&container).await?.created().await {
            Ok(_) => Ok(true),
            Err(BlobError::NoSuchContainer) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn container_created(&self, container: String) -> Result<u64, BlobError> {
        self.container(&container).await?.created().await
    }

    async fn clear_container(&self, container: String) -> Result<(), BlobError> {
        let container = self.container(&container).await?;
        let mut from = Some(0);
        while let Some(at) = from {
            let names;
            (names, from) = listing::page(&container, at).await?;
            remove_all(&container, names.objects).await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        container: String,
        object: String,
        start: u64,
        end: u64,
    ) -> Result<(u64, ByteStream), BlobError> {
        let container = self.container(&container).await?;
        let found = container.found(&object).await?.ok_or(BlobError::NoSuchObject)?;
        chunks::read(container, found, start, end).await
    }

    async fn write(&self, container: String, object: String, data: ByteStream) -> Result<(), BlobError> {
        let container = self.container(&container).await?;
        container.created().await?;
        // In a task of its own: when the caller goes away the data ends with an error, and what was sent is taken back.
        let upload = tokio::spawn(async move { upload::upload(&container, &object, data).await });
        upload.await.map_err(BlobError::other)?
    }

    async fn object_info(&self, container: String, object: String) -> Result<Metadata, BlobError> {
        let found = self.container(&container).await?.found(&object).await?.ok_or(BlobError::NoSuchObject)?;
        Ok(Metadata { size: found.size(), created_at: found.written })
    }

    async fn has_object(&self, container: String, object: String) -> Result<bool, BlobError> {
        Ok(self.container(&container).await?.found(&object).await?.is_some())
    }

    async fn list_objects(&self, container: String, cursor: Option<String>) -> Result<ObjectPage, BlobError> {
        let from = cursor.as_deref().unwrap_or("0").parse();
        let from =
            from.map_err(|_| BlobError::Other(format!("{:?} is no cursor of this store", cursor.unwrap_or_default())))?;
        let (page, next) = listing::page(&self.container(&container).await?, from).await?;
        Ok(ObjectPage { cursor: next.map(|next| next.to_string()), ..page })
    }

    async fn delete_object(&self, container: String, object: String) -> Result<(), BlobError> {
        self.container(&container).await?.remove_newest(&object).await
    }

    async fn delete_objects(&self, container: String, objects: Vec<String>) -> Result<(), BlobError> {
        let container = self.container(&container).await?;
        container.created().await?;
        remove_all(&container, objects).await
    }

    async fn copy_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        self.copy((&container, &object), (&to_container, &to_object)).await.map(drop)
    }

    async fn move_object(
        &self,
        container: String,
        object: String,
        to_container: String,
        to_object: String,
    ) -> Result<(), BlobError> {
        let copied = self.copy((&container, &object), (&to_container, &to_object)).await?;
        if (&container, &object) == (&to_container, &to_object) {
            return Ok(());
        }
        // What was copied, and no newer version of it.
        self.container(&container).await?.remove(&object, &copied).await
    }
}

impl NatsObjects {
    /// NATS copies nothing by itself, so it goes through here. Returns what was copied.
    async fn copy(&self, from: (&str, &str), to: (&str, &str)) -> Result<container::Found, BlobError> {
        let source = self.container(from.0).await?;
        let found = source.found(from.1).await?.ok_or(BlobError::NoSuchObject)?;
        if from != to {
            let (_, data) = chunks::read(source, found.clone(), 0, u64::MAX).await?;
            self.write(to.0.to_owned(), to.1.to_owned(), data).await?;
        }
        Ok(found)
    }
}

async fn remove_all(container: &Container, objects: Vec<String>) -> Result<(), BlobError> {
    let removed = objects.into_iter().map(|object| async move { container.remove_newest(&object).await });
    stream::iter(removed).buffer_unordered(CONCURRENT).try_collect().await
}
