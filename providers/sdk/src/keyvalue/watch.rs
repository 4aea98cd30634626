//! Changes of buckets: what a provider tells components that watch them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{model::watch::WatchSpec, wire::UnitId};

use crate::NotDone;

/// A key has another value, or none any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub bucket: String,
    pub key: String,
    /// `None` when the key was deleted.
    pub value: Option<Bytes>,
}

/// A component that is told of changes.
#[async_trait]
pub trait Watcher: Send + Sync + 'static {
    /// Tells it of one, and says why it has not taken it.
    async fn changed(&self, change: &Change) -> Result<(), NotDone>;
}

/// What a manifest says that a component is told of, and the way to it.
pub struct Watch {
    pub spec: WatchSpec,
    pub to: Arc<dyn Watcher>,
}

/// How often a component is told of a change that it fails at; then the next change has its turn.
const TRIES: u32 = 5;
/// The pause before a change is told again; each further time it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The pause before one is told again that nobody could be told of.
const AWAY_PAUSE: Duration = Duration::from_millis(500);

/// The change that one watch is at, and how often the component has failed at it.
#[derive(Debug, Default)]
pub struct Attempts {
    number: u64,
    failures: u32,
}

/// What becomes of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It has been told, or is given up.
    Done,
    /// It is told again after so long.
    Again(Duration),
}

impl Attempts {
    /// After `to` was told of the change with this number, which another change of the key does not have.
    pub fn after(&mut self, to: &UnitId, change: &Change, number: u64, outcome: Result<(), NotDone>) -> Settled {
        let key = &change.key;
        let error = match outcome {
            Ok(()) => return Settled::Done,
            Err(NotDone::NotBegun(error)) => {
                tracing::debug!(%to, error, "nobody could be told of a change; trying again");
                return Settled::Again(AWAY_PAUSE);
            }
            Err(NotDone::Failed(error)) => error,
        };
        let failures = if self.number == number { self.failures + 1 } else { 1 };
        *self = Self { number, failures };
        if failures < TRIES {
            tracing::info!(%to, key, error, failures, "a change was not taken; it is told again");
            return Settled::Again(FIRST_PAUSE.saturating_mul(1 << failures).min(LONGEST_PAUSE));
        }
        tracing::error!(%to, key, error, failures, "a change was not taken, and is given up");
        Settled::Done
    }
}
