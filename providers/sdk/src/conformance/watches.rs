//! Watches: what a component is told of changes, and how often. For the backends' own tests: only providers inside a host have them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{bus::Bus, model::watch::WatchSpec, wire::UnitId};

use super::{Check, context, failed, same};
use crate::{
    Capability, NotDone, Provider, Work,
    keyvalue::{Change, KeyValue, Watch, Watcher},
};

/// How long telling may take.
const SOON: Duration = Duration::from_secs(20);
/// The watched bucket.
const BUCKET: &str = "b";

/// A component that remembers what it was told; it fails at the value `poison`, and is not there for as many calls as `away` says.
#[derive(Debug, Default)]
pub struct Recorder {
    /// A lock, for the watches of several buckets tell at a time while a check reads; it is held for one line.
    told: Mutex<Vec<String>>,
    away: AtomicU32,
}

#[async_trait]
impl Watcher for Recorder {
    async fn changed(&self, Change { bucket, key, value }: &Change) -> Result<(), NotDone> {
        if self.away.fetch_update(Ordering::AcqRel, Ordering::Acquire, |away| away.checked_sub(1)).is_ok() {
            return Err(NotDone::NotBegun("nobody is there".to_owned()));
        }
        let value = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let line = format!("{bucket}/{key} {}", value.as_deref().unwrap_or("deleted"));
        self.told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        match value.as_deref() {
            Some("poison") => Err(NotDone::Failed("it cannot take this".to_owned())),
            _ => Ok(()),
        }
    }
}

impl Recorder {
    /// What it was told so far: bucket and key, and the value or `deleted`.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it was told just this.
    pub async fn until(&self, expected: &[&str]) -> Check {
        let began = Instant::now();
        while self.told() != expected {
            if began.elapsed() > SOON {
                return same("what was told", self.told(), expected.iter().map(|line| (*line).to_owned()).collect());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// A provider whose bucket `b` is watched.
pub struct Watched {
    pub store: Arc<dyn KeyValue>,
    pub recorder: Arc<Recorder>,
    pub work: Work,
}

impl Watched {
    /// Starts it as the provider `shop/cache`.
    pub async fn start<P: Provider>(config: P::Config, folder: &Path, bus: &Bus) -> Result<Self, String> {
        let name = |text: &str| text.parse::<UnitId>().map_err(|error| error.to_string());
        let (mut context, _) = context(&name("shop/cache")?, folder, bus);
        let (recorder, work) = (Arc::<Recorder>::default(), context.work.clone());
        let spec = WatchSpec { bucket: BUCKET.to_owned(), to: name("shop/auditor")?, timeout_ms: 1000 };
        context.watches = vec![Watch { spec, to: recorder.clone() }];
        match P::start(context, config).await.map_err(|error| error.to_string())? {
            Capability::KeyValue(store) => Ok(Self { store, recorder, work }),
            _ => Err("it is no store of keys".to_owned()),
        }
    }

    pub async fn set(&self, key: &str, value: &'static str) -> Check {
        let value = Bytes::from_static(value.as_bytes());
        self.store.set(BUCKET.to_owned(), key.to_owned(), value).await.map_err(failed("set"))
    }

    pub async fn delete(&self, key: &str) -> Check {
        self.store.delete(BUCKET.to_owned(), key.to_owned()).await.map_err(failed("delete"))
    }

    /// Each change is told, in order, whichever function made it.
    pub async fn tells_in_order(&self) -> Check {
        let bucket = || BUCKET.to_owned();
        self.set("a.b c", "1").await?;
        self.recorder.until(&["b/a.b c 1"]).await?;
        self.store.set("other".to_owned(), "k".to_owned(), Bytes::from_static(b"x")).await.map_err(failed("set"))?;
        self.store.increment(bucket(), "n".to_owned(), 7).await.map_err(failed("increment"))?;
        self.recorder.until(&["b/a.b c 1", "b/n 7"]).await?;
        // One that was never there is no change.
        self.delete("never").await?;
        self.delete("n").await?;
        self.recorder.until(&["b/a.b c 1", "b/n 7", "b/n deleted"]).await?;
        self.store.delete_many(bucket(), vec!["a.b c".to_owned()]).await.map_err(failed("delete-many"))?;
        self.recorder.until(&["b/a.b c 1", "b/n 7", "b/n deleted", "b/a.b c deleted"]).await?;
        let pairs = vec![("m".to_owned(), Bytes::from_static(b"many"))];
        self.store.set_many(bucket(), pairs).await.map_err(failed("set-many"))?;
        self.recorder.until(&["b/a.b c 1", "b/n 7", "b/n deleted", "b/a.b c deleted", "b/m many"]).await?;
        let found = self.store.get(bucket(), "m".to_owned()).await.map_err(failed("get"))?;
        same("what was written", found, Some(Bytes::from_static(b"many")))?;
        self.delete("m").await
    }

    /// A change is told until it is taken, and given up only after failures; then the next one has its turn.
    pub async fn tells_until_it_is_taken(&self) -> Check {
        // More often than it may fail.
        self.recorder.away.store(8, Ordering::Release);
        self.set("k", "1").await?;
        self.recorder.until(&["b/k 1"]).await?;
        self.set("bad", "poison").await?;
        self.set("k", "2").await?;
        let poison = ["b/bad poison"; 5];
        self.recorder.until(&[&["b/k 1"][..], &poison, &["b/k 2"]].concat()).await
    }

    /// Waits until it was told this last, and so after whatever came before.
    async fn until_last(&self, expected: &str) -> Check {
        let began = Instant::now();
        while self.recorder.told().last().map(String::as_str) != Some(expected) {
            if began.elapsed() > SOON {
                return Err(format!("{expected} was not told last: {:?}", self.recorder.told()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// It goes on telling when its backend, which was restarted, is back.
    pub async fn goes_on_with_its_backend(&self) -> Check {
        let began = Instant::now();
        while let Err(error) = self.set("k", "5").await {
            if began.elapsed() > SOON {
                return Err(format!("the store is not back: {error}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.until_last("b/k 5").await
    }

    /// Of two instances of a provider one tells each change, whichever made it.
    pub async fn shares_with(&self, other: &Self) -> Check {
        for n in 0..20 {
            let writer = if n % 2 == 0 { self } else { other };
            writer.set(&n.to_string(), "v").await?;
        }
        let (began, told) = (Instant::now(), || [self.recorder.told(), other.recorder.told()].concat());
        while told().len() < 20 && began.elapsed() < SOON {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // None comes a second time.
        tokio::time::sleep(Duration::from_millis(500)).await;
        same("changes that were told", told().len(), 20)
    }

    /// What was changed when this one was over is told by the next one: of each key the newest value.
    pub async fn is_followed_by<F: Future<Output = Result<Self, String>>>(
        self,
        next: impl FnOnce() -> F,
    ) -> Result<Self, String> {
        self.set("k", "1").await?;
        self.recorder.until(&["b/k 1"]).await?;
        self.work.drain(SOON).await;
        self.set("k", "2").await?;
        self.set("k", "3").await?;
        self.set("l", "4").await?;
        same("what the first was told", self.recorder.told(), vec!["b/k 1".to_owned()])?;
        // A file can be open only once.
        drop(self);
        let next = next().await?;
        next.recorder.until(&["b/k 3", "b/l 4"]).await?;
        Ok(next)
    }
}
