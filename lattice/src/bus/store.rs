//! The store below the typed tables: keys with revisions, conditional writes, and watches that begin with what is there.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::mpsc;

use super::table::Table;

/// A write's condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Revision(u64),
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote in between.
    #[error("{key} was changed by somebody else meanwhile")]
    Conflict { key: String },
    #[error("{key} has a value that this version cannot read: {reason}")]
    Unreadable { key: String, reason: String },
    #[error("the lattice's store does not answer: {0}")]
    Unavailable(String),
}

/// What a watch tells. After `Synced` follow changes; before it, what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    Put { key: String, value: Bytes, revision: u64 },
    Delete { key: String },
    Synced,
}

/// Buckets of the lattice's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bucket {
    /// Desired state, assignments, inventories, the lease: kept for ever.
    State,
    /// Signs of life: gone by themselves when they are not renewed.
    Beats,
}

/// Which keys of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Keys {
    /// Those that begin with this and a dot.
    Below(String),
    One(String),
}

impl Keys {
    /// As a subject of NATS, after what all keys of the bucket begin with.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Below(prefix) => format!("{prefix}.>"),
            Self::One(key) => key.clone(),
        }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        match self {
            Self::Below(prefix) => key.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.')),
            Self::One(one) => one == key,
        }
    }
}

#[async_trait]
pub(super) trait RawStore: Send + Sync {
    async fn get(&self, bucket: Bucket, key: &str) -> Result<Option<(Bytes, u64)>, StoreError>;
    async fn put(&self, bucket: Bucket, key: &str, value: Bytes, expect: Expect) -> Result<u64, StoreError>;
    async fn delete(&self, bucket: Bucket, key: &str, expect: Expect) -> Result<(), StoreError>;
    /// What these keys are, and then what they become. The stream ends when it may have missed something.
    async fn watch(&self, bucket: Bucket, keys: Keys) -> Result<mpsc::Receiver<WatchEvent>, StoreError>;
}

/// The store of one lattice.
#[derive(Clone)]
pub struct Store(pub(super) Arc<dyn RawStore>);

impl Store {
    /// The values under `<prefix>.`, all of type `T`.
    pub fn table<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static>(
        &self,
        prefix: &'static str,
    ) -> Table<T> {
        Table::new(self.clone(), Bucket::State, prefix)
    }

    /// Signs of life by host.
    pub fn beats(&self) -> Table<crate::model::inventory::Beat> {
        Table::new(self.clone(), Bucket::Beats, "beats")
    }

    /// Apps by name.
    pub fn apps(&self) -> Table<crate::model::app::AppRecord> {
        self.table("apps")
    }

    /// Assignments by host.
    pub fn assignments(&self) -> Table<crate::model::assignment::Assignment> {
        self.table("assignments")
    }

    /// Inventories by host.
    pub fn hosts(&self) -> Table<crate::model::inventory::HostRecord> {
        self.table("hosts")
    }

    /// What operators have said of hosts, by host.
    pub fn orders(&self) -> Table<crate::model::orders::HostOrders> {
        self.table("orders")
    }

    /// Apps as they were, by `<app>.<revision>`.
    pub fn history(&self) -> Table<crate::model::app::AppRecord> {
        self.table("history")
    }

    /// The controller's reports by app.
    pub fn plans(&self) -> Table<crate::model::assignment::PlanReport> {
        self.table("plans")
    }

    /// What the controller says of the lattice as a whole.
    pub fn control(&self) -> Table<crate::model::assignment::ControlReport> {
        self.table("control")
    }

    /// Sealed secrets by `<app>.<name>`.
    pub fn secrets(&self) -> Table<crate::model::secret::SealedSecret> {
        self.table("secrets")
    }

    /// What holds where manifests say nothing.
    pub fn defaults(&self) -> Table<crate::model::manifest::DefaultsRecord> {
        self.table("defaults")
    }

    /// How much apps may have, by app.
    pub fn quotas(&self) -> Table<crate::model::quota::Quota> {
        self.table("quotas")
    }

    /// Signatures by `<digest>.<signer>`, the digest by its hexadecimal part.
    pub fn signatures(&self) -> Table<crate::model::signature::Signature> {
        self.table("signatures")
    }

    /// How far schedules have come, by `<app>.<unit>.<schedule>`.
    pub fn ticks(&self) -> Table<crate::model::schedule::Tick> {
        self.table("ticks")
    }

    /// Leases by name; the controller's is `controller`.
    pub fn leases(&self) -> Table<crate::model::assignment::Lease> {
        self.table("leases")
    }
}
