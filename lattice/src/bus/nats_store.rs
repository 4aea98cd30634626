//! The store on JetStream key-value, and the artifacts on its object store.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        self,
        consumer::{DeliverPolicy, ReplayPolicy, push},
        kv::{self, CreateErrorKind, UpdateErrorKind},
        object_store,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::{
    artifacts::Artifacts,
    connect::ConnectError,
    store::{Bucket, Expect, RawStore, Store, StoreError, WatchEvent},
};
use crate::wire::{CHUNK, LatticeName, PAYLOAD_HEADROOM};

/// A sign of life that is older than this is gone.
const BEAT_MAX_AGE: Duration = Duration::from_secs(4);
/// A request to JetStream that takes longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

struct NatsStore {
    client: Client,
    state: kv::Store,
    beats: kv::Store,
}

/// The buckets of a lattice: what it is, signs of life, and artifacts.
fn buckets(lattice: &LatticeName) -> [String; 3] {
    ["", "-beats", "-artifacts"].map(|what| format!("lattice-{lattice}{what}"))
}

/// The streams in which a lattice keeps what it is.
pub fn own_streams(lattice: &LatticeName) -> [String; 3] {
    let [state, beats, artifacts] = buckets(lattice);
    [format!("KV_{state}"), format!("KV_{beats}"), format!("OBJ_{artifacts}")]
}

/// Makes sure that the lattice's buckets exist, and opens them.
pub(super) async fn open(client: &Client, lattice: &LatticeName) -> Result<(Store, Artifacts), ConnectError> {
    let mut context = jetstream::new(client.clone());
    context.set_timeout(REQUEST_TIMEOUT);
    let info = client.server_info();
    let unavailable =
        |reason: String| ConnectError::NoJetStream { server: format!("{}:{}", info.host, info.port), reason };
    // A clustered server keeps three copies; the cluster may be smaller than that, and then one copy has to do.
    let copies: &[usize] = if info.cluster.is_some() { &[3, 1] } else { &[1] };
    let [state, beats, artifacts] = buckets(lattice);
    let state = kv::Config {
        bucket: state,
        description: format!("State of lattice {lattice}"),
        history: 1,
        ..Default::default()
    };
    let beats = kv::Config {
        bucket: beats,
        description: format!("Signs of life of the hosts of lattice {lattice}"),
        history: 1,
        max_age: BEAT_MAX_AGE,
        ..Default::default()
    };
    let state = bucket(&context, state, copies).await.map_err(&unavailable)?;
    let beats = bucket(&context, beats, copies).await.map_err(&unavailable)?;
    let artifacts = objects(&context, artifacts, copies).await.map_err(&unavailable)?;
    let store = NatsStore { client: client.clone(), state, beats };
    let chunk = CHUNK.min(client.max_payload().saturating_sub(PAYLOAD_HEADROOM)).max(1);
    Ok((Store(Arc::new(store)), Artifacts::nats(artifacts, chunk)))
}

async fn bucket(context: &jetstream::Context, config: kv::Config, copies: &[usize]) -> Result<kv::Store, String> {
    if let Ok(store) = context.get_key_value(&config.bucket).await {
        return Ok(store);
    }
    let mut reason = String::new();
    for copies in copies {
        match context.create_key_value(kv::Config { num_replicas: *copies, ..config.clone() }).await {
            Ok(store) => return Ok(store),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

async fn objects(
    context: &jetstream::Context,
    bucket: String,
    copies: &[usize],
) -> Result<object_store::ObjectStore, String> {
    if let Ok(store) = context.get_object_store(&bucket).await {
        return Ok(store);
    }
    let mut reason = String::new();
    for copies in copies {
        let config = object_store::Config { bucket: bucket.clone(), num_replicas: *copies, ..Default::default() };
        match context.create_object_store(config).await {
            Ok(store) => return Ok(store),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl NatsStore {
    fn bucket(&self, bucket: Bucket) -> &kv::Store {
        match bucket {
            Bucket::State => &self.state,
            Bucket::Beats => &self.beats,
        }
    }
}

#[async_trait]
impl RawStore for NatsStore {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<(Bytes, u64)>, StoreError> {
        let entry = self.bucket(bucket).entry(key).await.map_err(unavailable)?;
        Ok(entry.filter(|e| e.operation == kv::Operation::Put).map(|e| (e.value, e.revision)))
    }

    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect) -> Result<u64, StoreError> {
        let store = self.bucket(bucket);
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
        let store = self.bucket(bucket);
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

    async fn watch(&self, bucket: Bucket, prefix: &str) -> Result<mpsc::Receiver<WatchEvent>, StoreError> {
        // The key-value API's own watch does not say when an empty bucket is in sync; the consumer below it does.
        let store = self.bucket(bucket);
        let config = push::OrderedConfig {
            deliver_subject: self.client.new_inbox(),
            filter_subject: format!("{}{prefix}.>", store.prefix),
            deliver_policy: DeliverPolicy::LastPerSubject,
            replay_policy: ReplayPolicy::Instant,
            ..Default::default()
        };
        let consumer = store.stream.create_consumer(config).await.map_err(unavailable)?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer.messages().await.map_err(unavailable)?;
        let (sender, receiver) = mpsc::channel(256);
        tokio::spawn(pump(messages, store.prefix.clone(), pending, sender));
        Ok(receiver)
    }
}

/// Turns a consumer's messages into events, until one side ends.
async fn pump(mut messages: push::Ordered, prefix: String, pending: u64, events: mpsc::Sender<WatchEvent>) {
    let mut synced = pending == 0;
    if synced && events.send(WatchEvent::Synced).await.is_err() {
        return;
    }
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = events.closed() => return,
        };
        let Some(Ok(message)) = message else { return };
        let Ok(info) = message.info() else { return };
        let left = info.pending;
        let Some(key) = message.subject.strip_prefix(&prefix).map(str::to_owned) else { continue };
        let gone = message
            .headers
            .as_ref()
            .is_some_and(|h| h.get("KV-Operation").is_some_and(|op| matches!(op.as_str(), "DEL" | "PURGE")));
        let event = if gone {
            WatchEvent::Delete { key }
        } else {
            WatchEvent::Put { key, value: message.payload.clone(), revision: info.stream_sequence }
        };
        if events.send(event).await.is_err() {
            return;
        }
        if !synced && left == 0 {
            synced = true;
            if events.send(WatchEvent::Synced).await.is_err() {
                return;
            }
        }
    }
}
