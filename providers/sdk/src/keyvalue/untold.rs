//! Telling watchers of changes that a store itself keeps until they are told: for stores that keep no history.
//!
//! A store remembers which keys of a watched bucket have changed, with a number for the newest change of each, together with the
//! change itself. Whoever watches is told the value that a key has then.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::Notify;
use uuid::Uuid;

use super::{Attempts, Change, KeyValueError, Settled, Watch};
use crate::Work;

/// Beside the component's own time, how long a change that is being told is left alone by other instances of the provider.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked for what other instances of the provider have noted.
const LOOK: Duration = Duration::from_millis(250);
/// The pause after a store that does not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Changes that are not told yet.
#[async_trait]
pub trait Untold: Send + Sync + 'static {
    /// The change of a bucket that has waited longest, and its number; nobody else gets one of that bucket within `claim`. `None`
    /// when there is none, or somebody else has it.
    async fn next(&self, bucket: &str, claim: Duration) -> Result<Option<(u64, Change)>, KeyValueError>;
    /// The change with this number has been told. One that came after it stays.
    async fn told(&self, bucket: &str, key: &str, number: u64) -> Result<(), KeyValueError>;
    /// Waits until there may be another one in the bucket.
    async fn more(&self, bucket: &str);
}

/// The buckets of a store that somebody watches.
#[derive(Debug)]
pub struct Watched {
    buckets: HashMap<String, Notify>,
    /// Of this instance, among others of the same provider.
    id: String,
}

impl Watched {
    pub fn of(watches: &[Watch]) -> Self {
        let buckets = watches.iter().map(|watch| (watch.spec.bucket.clone(), Notify::new())).collect();
        Self { buckets, id: Uuid::now_v7().simple().to_string() }
    }

    pub fn is(&self, bucket: &str) -> bool {
        self.buckets.contains_key(bucket)
    }

    pub fn is_any(&self) -> bool {
        !self.buckets.is_empty()
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// Something was noted in a bucket by this instance.
    pub fn noted(&self, bucket: &str) {
        if let Some(more) = self.buckets.get(bucket) {
            more.notify_one();
        }
    }

    /// Waits until something was noted by this instance since the last time.
    pub async fn more(&self, bucket: &str) {
        match self.buckets.get(bucket) {
            Some(more) => more.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The same where other instances may have noted something as well.
    pub async fn more_of_all(&self, bucket: &str) {
        // Either way it is time to look.
        let _ = tokio::time::timeout(LOOK, self.more(bucket)).await;
    }
}

/// Begins to tell of changes, until the provider ends.
pub fn tell(watches: Vec<Watch>, untold: &Arc<impl Untold>, work: &Work) {
    for watch in watches {
        let teller = Teller { watch, untold: untold.clone(), attempts: Attempts::default() };
        let (tasks, stop) = (&work.tasks, work.stop.clone());
        tasks.spawn(async move {
            let mut teller = teller;
            // What is cancelled only waits: whoever is being told is told to the end.
            while let Some(next) = stop.run_until_cancelled(teller.next()).await {
                let Some((number, change)) = next else { continue };
                let again = teller.one(number, &change).await;
                if stop.run_until_cancelled(tokio::time::sleep(again)).await.is_none() {
                    return;
                }
            }
        });
    }
}

struct Teller<U> {
    watch: Watch,
    untold: Arc<U>,
    attempts: Attempts,
}

impl<U: Untold> Teller<U> {
    /// Waits for the next change; `None` when it is time to look again.
    async fn next(&self) -> Option<(u64, Change)> {
        let spec = &self.watch.spec;
        let claim = Duration::from_millis(spec.timeout_ms) + GRACE;
        match self.untold.next(&spec.bucket, claim).await {
            Ok(Some(next)) => Some(next),
            Ok(None) => {
                self.untold.more(&spec.bucket).await;
                None
            }
            Err(error) => {
                tracing::debug!(bucket = spec.bucket, %error, "cannot look for changes; trying again");
                tokio::time::sleep(PAUSE).await;
                None
            }
        }
    }

    /// Tells of one change. Returns how long to wait before the next.
    async fn one(&mut self, number: u64, change: &Change) -> Duration {
        let outcome = self.watch.to.changed(change).await;
        match self.attempts.after(&self.watch.spec.to, change, number, outcome) {
            Settled::Again(pause) => pause,
            Settled::Done => match self.untold.told(&change.bucket, &change.key, number).await {
                Ok(()) => Duration::ZERO,
                Err(error) => {
                    // It is told once more.
                    tracing::debug!(key = change.key, %error, "cannot say that a change was told");
                    PAUSE
                }
            },
        }
    }
}
