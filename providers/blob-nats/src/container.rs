//! One container: its bucket, and the messages that describe its objects.

use std::future::IntoFuture;

use async_nats::{
    header::NATS_ROLLUP,
    jetstream::{
        ErrorCode,
        context::{GetStreamErrorKind, PublishErrorKind},
        message::PublishMessage,
        object_store::{self, ObjectInfo},
        stream::{LastRawMessageErrorKind, Stream},
    },
};
use futures_util::TryStreamExt;
use lattice_provider::blobstore::BlobError;
use lattice_provider_jetstream::{JetStream, reason};

use crate::names;

/// Of a chunk, in bytes, where the server takes messages of that size. It is what other clients of NATS use.
const CHUNK: usize = 128 * 1024;

/// All containers of a provider.
#[derive(Clone)]
pub(crate) struct Buckets {
    jetstream: JetStream,
    prefix: String,
    replicas: usize,
}

/// One of them, which need not be there.
#[derive(Clone)]
pub(crate) struct Container {
    pub(crate) jetstream: JetStream,
    pub(crate) bucket: String,
    pub(crate) stream: Stream<()>,
}

/// An object as it is described.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) info: ObjectInfo,
    /// The number of its description in the stream.
    pub(crate) revision: u64,
    /// When that was, in seconds since 1970.
    pub(crate) written: u64,
}

/// What became of a new description.
pub(crate) enum Described {
    /// Its number in the stream.
    Stored(u64),
    /// Somebody else was faster.
    Overtaken,
}

impl Found {
    pub(crate) fn size(&self) -> u64 {
        self.info.size as u64
    }
}

pub(crate) fn failed(error: &dyn std::error::Error) -> BlobError {
    BlobError::Other(format!("NATS objects: {}", reason(error)))
}

impl Buckets {
    pub(crate) fn new(jetstream: JetStream, prefix: String, replicas: usize) -> Self {
        Self { jetstream, prefix, replicas }
    }

    pub(crate) async fn container(&self, name: &str) -> Result<Container, BlobError> {
        let bucket = names::bucket(&self.prefix, name);
        if names::is_of_a_lattice(&bucket) {
            return Err(BlobError::Other(format!(
                "{name:?} is no name of a container here: a lattice keeps its artifacts in {bucket}"
            )));
        }
        self.open(bucket).await
    }

    async fn open(&self, bucket: String) -> Result<Container, BlobError> {
        // Which is no request.
        let stream = self.jetstream.context.get_stream_no_info(names::stream(&bucket)).await;
        let stream = stream.map_err(|error| failed(&error))?;
        Ok(Container { jetstream: self.jetstream.clone(), bucket, stream })
    }

    /// Those that are there.
    pub(crate) async fn all(&self) -> Result<Vec<Container>, BlobError> {
        let mut streams = self.jetstream.context.stream_names();
        let mut all = Vec::new();
        while let Some(stream) =
            self.jetstream.ask(streams.try_next()).await.map_err(BlobError::other)?.map_err(|error| failed(&error))?
        {
            let bucket = names::bucket_of(&stream).filter(|bucket| bucket.starts_with(&self.prefix));
            if let Some(bucket) = bucket.filter(|bucket| !names::is_of_a_lattice(bucket)) {
                all.push(self.open(bucket.to_owned()).await?);
            }
        }
        Ok(all)
    }

    pub(crate) async fn create(&self, name: &str) -> Result<(), BlobError> {
        let container = self.container(name).await?;
        match container.created().await {
            Err(BlobError::NoSuchContainer) => {}
            other => return other.map(drop),
        }
        let config = object_store::Config {
            bucket: container.bucket.clone(),
            description: Some(format!("container {name}")),
            num_replicas: self.replicas,
            ..Default::default()
        };
        container
            .ask(self.jetstream.context.create_object_store(config))
            .await?
            .map(drop)
            .map_err(|error| failed(&error))
    }
}

impl Container {
    pub(crate) async fn ask<T, E>(
        &self,
        request: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, BlobError> {
        self.jetstream.ask(request).await.map_err(BlobError::other)
    }

    /// How large chunks are that this server takes.
    pub(crate) fn chunk_size(&self) -> usize {
        CHUNK.min(self.jetstream.client().server_info().max_payload)
    }

    /// When it was made, in seconds since 1970.
    pub(crate) async fn created(&self) -> Result<u64, BlobError> {
        let stream = self.ask(self.jetstream.context.get_stream(names::stream(&self.bucket))).await?;
        let stream = stream.map_err(|error| match error.kind() {
            GetStreamErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                BlobError::NoSuchContainer
            }
            _ => failed(&error),
        })?;
        Ok(u64::try_from(stream.cached_info().created.unix_timestamp()).unwrap_or(0))
    }

    pub(crate) async fn delete(&self) -> Result<(), BlobError> {
        self.created().await?;
        let deleted = self.ask(self.jetstream.context.delete_stream(names::stream(&self.bucket))).await?;
        deleted.map(drop).map_err(|error| failed(&error))
    }

    /// What is known of an object; asked of who leads the stream, so that what was written is there.
    pub(crate) async fn found(&self, object: &str) -> Result<Option<Found>, BlobError> {
        Ok(self.described(object).await?.filter(|found| !found.info.deleted))
    }

    /// The same, also when it only says that the object was deleted: other clients leave that behind.
    pub(crate) async fn described(&self, object: &str) -> Result<Option<Found>, BlobError> {
        let subject = names::description(&self.bucket, object);
        let message = match self.ask(self.stream.get_last_raw_message_by_subject(&subject)).await? {
            Ok(message) => message,
            Err(error) => {
                return match error.kind() {
                    LastRawMessageErrorKind::NoMessageFound => Ok(None),
                    LastRawMessageErrorKind::JetStream(why) if why.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                        Err(BlobError::NoSuchContainer)
                    }
                    _ => Err(failed(&error)),
                };
            }
        };
        let info: ObjectInfo = serde_json::from_slice(&message.payload).map_err(|error| {
            BlobError::Other(format!("what describes {object:?} in {} is odd: {error}", self.bucket))
        })?;
        let written = info.modified.unwrap_or(message.time).unix_timestamp();
        Ok(Some(Found { info, revision: message.sequence, written: u64::try_from(written).unwrap_or(0) }))
    }

    /// Describes an object over the description with the number `over`; 0 when there is none.
    pub(crate) async fn describe(&self, object: &str, info: &ObjectInfo, over: u64) -> Result<Described, BlobError> {
        let text = serde_json::to_vec(info).map_err(BlobError::other)?;
        let message = PublishMessage::build()
            .payload(text.into())
            // It replaces those before it of the same subject.
            .header(NATS_ROLLUP, "sub")
            .expected_last_subject_sequence(over);
        let subject = names::description(&self.bucket, object);
        let sent = async { self.jetstream.context.send_publish(subject, message).await?.await };
        match self.ask(sent).await? {
            Ok(ack) => Ok(Described::Stored(ack.sequence)),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(Described::Overtaken),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Removes an object, as it is now.
    pub(crate) async fn remove_newest(&self, object: &str) -> Result<(), BlobError> {
        match self.described(object).await? {
            Some(found) => self.remove(object, &found).await,
            None => Ok(()),
        }
    }

    /// Removes this version of an object, and no newer one. A description that says "deleted" would stay for ever.
    pub(crate) async fn remove(&self, object: &str, found: &Found) -> Result<(), BlobError> {
        let subject = names::description(&self.bucket, object);
        let purge = self.stream.purge().filter(subject).sequence(found.revision + 1);
        let purged = self.ask(purge).await?.map_err(|error| failed(&error))?;
        if purged.purged > 0 { self.forget(&found.info.nuid).await } else { Ok(()) }
    }

    /// Removes the chunks of a version.
    pub(crate) async fn forget(&self, version: &str) -> Result<(), BlobError> {
        if version.is_empty() {
            return Ok(());
        }
        let purge = self.stream.purge().filter(names::chunks(&self.bucket, version));
        self.ask(purge).await?.map(drop).map_err(|error| failed(&error))
    }
}
