//! The store on JetStream key-value.

use async_nats::{
    HeaderMap,
    connection::State,
    jetstream::{
        kv::{self, CreateErrorKind, UpdateErrorKind},
        message::StreamMessage,
        stream::{LastRawMessageError, LastRawMessageErrorKind},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    buckets::{AGREE, ATTEMPT, Buckets, PAUSE},
    store::{Bucket, Expect, Keys, RawStore, StoreError, WatchEvent},
    watched::{Watch, Watched},
};

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Buckets {
    /// Asks again while a cluster elects who answers. It never answers what it was asked meanwhile; with the connection gone there
    /// is nobody to ask.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F + Send + Sync) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let begin = Instant::now();
        loop {
            let answer = timeout(ATTEMPT, ask()).await;
            let answer = answer.unwrap_or_else(|_| Err(unavailable(format!("nothing came for {ATTEMPT:?}"))));
            let Err(StoreError::Unavailable(reason)) = answer else { return answer };
            if self.client.connection_state() != State::Connected || begin.elapsed() >= AGREE {
                return Err(StoreError::Unavailable(reason));
            }
            sleep(PAUSE).await;
        }
    }

    async fn bucket(&self, bucket: Bucket) -> Result<&kv::Store, StoreError> {
        let open = self.opened().await.map_err(StoreError::Unavailable)?;
        Ok(match bucket {
            Bucket::State => &open.state,
            Bucket::Beats => &open.beats,
        })
    }
}

/// The newest message of a key, or of all keys that a pattern matches, from the server that leads the stream. The key-value API reads whichever
/// copy is near, which may be behind, and hosts go by what they read.
pub(super) async fn newest(store: &kv::Store, key: &str) -> Result<Option<StreamMessage>, LastRawMessageError> {
    match store.stream.get_last_raw_message_by_subject(&format!("{}{key}", store.prefix)).await {
        Ok(message) => Ok(Some(message)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a message says that its key is no more.
pub(super) fn is_gone(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
}

#[async_trait]
impl RawStore for Buckets {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<(Bytes, u64)>, StoreError> {
        let store = self.bucket(bucket).await?;
        let entry = self.patiently(|| async { newest(store, key).await.map_err(unavailable) }).await?;
        Ok(entry.filter(|message| !is_gone(&message.headers)).map(|message| (message.payload, message.sequence)))
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect) -> Result<u64, StoreError> {
        let store = self.bucket(bucket).await?;
        let conflict = || StoreError::Conflict { key: key.to_owned() };
        match expect {
            Expect::Any => store.put(key, value).await.map_err(unavailable),
            Expect::Absent => store.create(key, value).await.map_err(|error| match error.kind() {
                CreateErrorKind::AlreadyExists => conflict(),
                _ => unavailable(error),
            }),
            Expect::Revision(revision) => {
                store.update(key, value, revision).await.map_err(|error| match error.kind() {
                    UpdateErrorKind::WrongLastRevision => conflict(),
                    _ => unavailable(error),
                })
            }
        }
    }

    async fn delete(&self, bucket: Bucket, key: &str, expect: Expect) -> Result<(), StoreError> {
        let store = self.bucket(bucket).await?;
        match expect {
            Expect::Any | Expect::Absent => store.delete(key).await.map_err(unavailable),
            Expect::Revision(revision) => {
                store.delete_expect_revision(key, Some(revision)).await.map_err(|error| match error.kind() {
                    UpdateErrorKind::WrongLastRevision => StoreError::Conflict { key: key.to_owned() },
                    _ => unavailable(error),
                })
            }
        }
    }

    async fn watch(&self, bucket: Bucket, keys: Keys) -> Result<mpsc::Receiver<WatchEvent>, StoreError> {
        let store = self.bucket(bucket).await?.clone();
        let context = self.opened().await.map_err(StoreError::Unavailable)?.context.clone();
        let watched = Watched { context, bucket, store, keys, connected: self.connected.clone() };
        let feed = self.patiently(|| async { watched.open(None).await.map_err(unavailable) }).await?;
        let (sender, receiver) = mpsc::channel(256);
        tokio::spawn(Watch::new(watched, sender).run(feed));
        Ok(receiver)
    }
}
