//! Key-value in a JetStream key-value bucket of the lattice's own NATS: replicated, and nothing else to run.

mod changes;
mod key;
mod listing;

use std::{
    collections::{HashMap, HashSet},
    future::IntoFuture,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_nats::jetstream::{
    self,
    kv::{self, Operation, UpdateErrorKind},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use lattice::wire::{LatticeName, UnitId};
use lattice_provider::{
    Capability, NatsUse, Provider, StartContext, StartError,
    keyvalue::{KeyPage, KeyValue, KeyValueError, Ttl, add, position},
};
use lattice_provider_jetstream::{JetStream, check_name, reason, uses_stream};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

/// Which bucket it is, and how it is made when it is not there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// `<lattice>-<app>-<unit>` when absent.
    pub bucket: Option<String>,
    /// Copies in the NATS cluster; 1 when absent.
    pub replicas: Option<usize>,
    /// How long an entry lives after its last write. A lifetime is the whole bucket's in NATS, so it is set in one that is
    /// there already; without this setting a bucket that others have made stays as it is.
    pub ttl: Option<Ttl>,
}

impl Config {
    fn bucket(&self, lattice: &LatticeName, unit: &UnitId) -> String {
        self.bucket.clone().unwrap_or_else(|| format!("{lattice}-{}-{}", unit.app, unit.unit))
    }
}

/// A request that takes longer counts as failed.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Requests of one batch that are under way at the same time.
const CONCURRENT: usize = 64;
/// How often an increment is tried when other processes increment the same key.
const TRIES: u32 = 200;
/// Keys that can be incremented at the same time; two that share a stripe take turns.
const STRIPES: usize = 64;
/// What NATS allows: a stream's name has at most 255 characters, of which `KV_` takes three.
const MAX_BUCKET_NAME: usize = 252;

/// The backend.
pub struct Nats {
    bucket: Bucket,
    /// Locks that are held across requests, so tokio's: without them, tasks of this process would compete for a key,
    /// and all but one of them would make their request in vain. Each remembers the last key it was held for.
    stripes: [Mutex<Option<Seen>>; STRIPES],
    /// Stops when this is dropped.
    _health: AbortOnDropHandle<()>,
}

/// A number as it was after our last increment of it.
struct Seen {
    name: String,
    revision: u64,
    value: Bytes,
}

#[derive(Clone)]
pub(crate) struct Bucket {
    pub(crate) store: kv::Store,
    jetstream: JetStream,
    /// Buckets of components that somebody watches.
    watched: Arc<HashSet<String>>,
}

impl Bucket {
    async fn open(context: &StartContext, config: Config) -> Result<Self, StartError> {
        let unit = &context.unit;
        let name = config.bucket(context.bus.lattice(), unit);
        check_name("bucket", &name, MAX_BUCKET_NAME)?;
        let jetstream = JetStream::new(&context.bus, TIMEOUT)?;
        let description = format!("Key-value of {unit} in lattice {}", context.bus.lattice());
        let store = match jetstream.context.get_key_value(&name).await {
            Ok(store) => {
                let is_ours = store.stream.cached_info().config.description.as_ref() == Some(&description);
                if is_ours || config.ttl.is_some() {
                    set_lifetime(&jetstream.context, &store, config.ttl).await?;
                }
                store
            }
            // Whether it is not there or JetStream does not answer: creating it tells.
            Err(_) => {
                let num_replicas = config.replicas.unwrap_or(1);
                let (bucket, max_age) = (name.clone(), lifetime(config.ttl));
                let made = kv::Config { bucket, description, history: 1, num_replicas, max_age, ..Default::default() };
                jetstream.context.create_key_value(made).await.map_err(|error| {
                    StartError::Backend(format!("cannot make key-value bucket {name} in NATS: {}", reason(&error)))
                })?
            }
        };
        let watched = Arc::new(changes::watched(&context.watches));
        Ok(Self { store, jetstream, watched })
    }

    pub(crate) async fn ask<T, E>(
        &self,
        request: impl IntoFuture<Output = Result<T, E>>,
    ) -> Result<Result<T, E>, KeyValueError> {
        self.jetstream.ask(request).await.map_err(KeyValueError::other)
    }

    /// The newest value and its revision; revision 0 when there was never one.
    async fn entry(&self, name: String) -> Result<(Option<Bytes>, u64), KeyValueError> {
        let entry = self.ask(self.store.entry(name)).await?.map_err(|e| failed(&e))?;
        Ok(entry.map_or((None, 0), |e| ((e.operation == Operation::Put).then_some(e.value), e.revision)))
    }

    async fn set(&self, name: String, value: Bytes) -> Result<(), KeyValueError> {
        self.ask(self.store.put(name, value)).await?.map(drop).map_err(|e| failed(&e))
    }

    /// Purges the key. A delete marker instead would stay in the bucket for ever, for each key that there ever was; where
    /// somebody watches, they remove it.
    async fn delete(&self, bucket: &str, key: &str) -> Result<(), KeyValueError> {
        let name = key::name(bucket, key);
        if self.watched.contains(bucket) {
            return match self.entry(name.clone()).await? {
                (Some(_), _) => self.ask(self.store.delete(name)).await?.map_err(|e| failed(&e)),
                (None, _) => Ok(()),
            };
        }
        let purge = self.store.stream.purge().filter(format!("{}{name}", self.store.prefix));
        self.ask(purge).await?.map(drop).map_err(|e| failed(&e))
    }
}

/// As NATS has it: zero is for ever.
fn lifetime(ttl: Option<Ttl>) -> Duration {
    ttl.map_or(Duration::ZERO, Ttl::get)
}

/// Gives the entries of a bucket that is there this lifetime.
async fn set_lifetime(jetstream: &jetstream::Context, store: &kv::Store, ttl: Option<Ttl>) -> Result<(), StartError> {
    let mut config = store.stream.cached_info().config.clone();
    if config.max_age == lifetime(ttl) {
        return Ok(());
    }
    config.max_age = lifetime(ttl);
    // NATS wants it to remember messages for a shorter time than it keeps them.
    if let Some(ttl) = ttl {
        config.duplicate_window = config.duplicate_window.min(ttl.get());
    }
    jetstream.update_stream(&config).await.map(drop).map_err(|error| {
        StartError::Backend(format!("cannot set `ttl` of key-value bucket {} in NATS: {}", store.name, reason(&error)))
    })
}

fn failed(error: &dyn std::error::Error) -> KeyValueError {
    KeyValueError::Other(format!("NATS key-value: {}", reason(error)))
}

/// A short time that is another one for each process.
fn jitter() -> Duration {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos() / 100);
    Duration::from_micros(100 + u64::from(nanos % 900))
}

#[async_trait]
impl Provider for Nats {
    const KIND: &'static str = "keyvalue-nats";
    type Config = Config;

    fn check(config: &Config, _: &UnitId) -> Result<(), StartError> {
        config.bucket.as_deref().map_or(Ok(()), |name| check_name("bucket", name, MAX_BUCKET_NAME))
    }

    fn nats_use(config: &Config, lattice: &LatticeName, unit: &UnitId) -> NatsUse {
        let bucket = config.bucket(lattice, unit);
        uses_stream(&format!("KV_{bucket}"), format!("$KV.{bucket}.>"))
    }

    async fn start(mut context: StartContext, config: Config) -> Result<Capability, StartError> {
        let bucket = Bucket::open(&context, config).await?;
        changes::begin(&bucket, &mut context).await?;
        let stream = bucket.store.stream.clone();
        let health = bucket.jetstream.report_health(context.health, move || {
            let stream = stream.clone();
            async move { stream.get_info().await.map_err(|error| failed(&error)) }
        });
        let stripes = std::array::from_fn(|_| Mutex::new(None));
        Ok(Capability::key_value(Self { bucket, stripes, _health: health }))
    }
}

#[async_trait]
impl KeyValue for Nats {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        Ok(self.bucket.entry(key::name(&bucket, &key)).await?.0)
    }

    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        self.bucket.set(key::name(&bucket, &key), value).await
    }

    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        self.bucket.delete(&bucket, &key).await
    }

    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        self.get(bucket, key).await.map(|value| value.is_some())
    }

    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        listing::page(&self.bucket, &bucket, cursor.unwrap_or(0)).await
    }

    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        let name = key::name(&bucket, &key);
        let mut stripe = self.stripes[position(&name) as usize % STRIPES].lock().await;
        for _ in 0..TRIES {
            let seen = stripe.take().filter(|seen| seen.name == name);
            let fresh = seen.is_none();
            let (current, revision) = match seen {
                Some(seen) => (Some(seen.value), seen.revision),
                None => self.bucket.entry(name.clone()).await?,
            };
            let sum = match add(&key, current.as_deref(), delta) {
                Ok(sum) => sum,
                Err(error) if fresh => return Err(error),
                // What we remember may no longer be what is there.
                Err(_) => continue,
            };
            let value = Bytes::from(sum.to_string());
            match self.bucket.ask(self.bucket.store.update(&name, value.clone(), revision)).await? {
                Ok(revision) => {
                    *stripe = Some(Seen { name, revision, value });
                    return Ok(sum);
                }
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    if fresh {
                        tokio::time::sleep(jitter()).await;
                    }
                }
                Err(error) => return Err(failed(&error)), // Perhaps it was carried out: not again.
            }
        }
        Err(KeyValueError::Other(format!("others changed {key:?} each of {TRIES} times that we tried")))
    }

    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        let gets = keys.into_iter().map(|key| self.bucket.entry(key::name(&bucket, &key)));
        stream::iter(gets).buffered(CONCURRENT).map_ok(|(value, _)| value).try_collect().await
    }

    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        // They are under way at the same time: of a key that is there twice, only the last pair counts.
        let pairs: HashMap<_, _> = pairs.into_iter().collect();
        let sets = pairs.into_iter().map(|(key, value)| self.bucket.set(key::name(&bucket, &key), value));
        stream::iter(sets).buffer_unordered(CONCURRENT).try_collect().await
    }

    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        let (kv, bucket) = (&self.bucket, bucket.as_str());
        let deletes = keys.into_iter().map(|key| async move { kv.delete(bucket, &key).await });
        stream::iter(deletes).buffer_unordered(CONCURRENT).try_collect().await
    }
}
