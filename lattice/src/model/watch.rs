//! Watches: which component is told of changes in which bucket.

use serde::{Deserialize, Serialize};

use crate::wire::UnitId;

/// The interface by which a component that exports `wasi:keyvalue/watcher` is told over the lattice: there the bucket is a
/// name.
pub const WATCHER: &str = "lattice:keyvalue/watcher@0.1.0";

/// One watch of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchSpec {
    pub bucket: String,
    pub to: UnitId,
    /// How long the component may take, in milliseconds: its own limit.
    pub timeout_ms: u64,
}
