//! What a host runs, told by the host itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::wire::{HostId, InstanceId, Interface, UnitId};

/// The value of `hosts.<host>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Version of this structure.
    pub version: u32,
    pub host: HostId,
    /// Version of the host's program.
    pub release: String,
    pub labels: BTreeMap<String, String>,
    /// When the process started, in milliseconds since 1970.
    pub started_ms: u64,
    /// Generation of the assignment that this inventory answers to.
    pub generation: u64,
    /// It is about to end: it keeps what it has until others have taken it over, and gets nothing more.
    #[serde(default)]
    pub leaving: bool,
    /// Whether it runs programs that users bring along.
    #[serde(default)]
    pub programs: bool,
    /// The public xkey to which secrets are sealed that it can open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_key: Option<String>,
    pub instances: Vec<InstanceReport>,
}

impl HostRecord {
    pub const VERSION: u32 = 1;
}

/// The value of `<host>` in the beats bucket. It expires there by itself when the host stops writing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub count: u64,
}

/// One instance on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    pub unit: UnitId,
    pub instance: InstanceId,
    /// The unit's revision that this instance is.
    pub revision: u64,
    /// `component` or `provider`.
    pub kind: String,
    /// The digest of a component or a program, the name of a provider.
    pub what: String,
    pub state: InstanceState,
    /// Why it is not ready, or not as well as it should be.
    pub reason: Option<String>,
    /// What it answers over the lattice, without versions.
    pub serves: Vec<Interface>,
    /// Whether it reads and writes JSON alone.
    #[serde(default)]
    pub json_only: bool,
    /// Whether it takes several calls in one message.
    #[serde(default)]
    pub bundles: bool,
    /// Where it listens, for a unit that listens.
    pub address: Option<String>,
    #[serde(default)]
    pub faults: Faults,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceState {
    /// On its way: fetching, compiling, connecting.
    Starting,
    /// Takes calls.
    Ready,
    /// Takes calls, while its backend is away: they fail fast.
    Degraded,
    /// Could not start; it is tried again.
    Failed,
    /// Finishes the calls that it has, and takes no others.
    Draining,
}

impl InstanceState {
    /// Whether calls may be sent to it.
    pub fn takes_calls(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

impl std::fmt::Display for InstanceState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Draining => "draining",
        })
    }
}

/// How often calls of an instance went wrong since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub traps: u64,
    pub timeouts: u64,
    pub refused: u64,
    /// The newest one, in words.
    pub last: Option<String>,
}
