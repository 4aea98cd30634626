//! Changes of buckets: what a provider tells components that watch them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::model::watch::WatchSpec;

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
