//! What a host runs, told by the host itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{app::UnitRecord, placement::Capacity, scale::Load};
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
    /// The term of that assignment: the host adopts none of an older one, whatever the store has lost.
    #[serde(default)]
    pub term: u64,
    /// It is about to end: it keeps what it has until others have taken it over, and gets nothing more.
    #[serde(default)]
    pub leaving: bool,
    /// Why it gets nothing more, when somebody has said so; it keeps what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cordon: Option<String>,
    /// It gets only what tolerates all of these.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<String>,
    /// What it has for units.
    #[serde(default, skip_serializing_if = "Capacity::is_unbounded")]
    pub capacity: Capacity,
    /// Whether it runs programs that users bring along.
    #[serde(default)]
    pub programs: bool,
    /// It runs only what one of these has signed, or what anybody brings when there are none. Public nkeys.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub trusts: BTreeSet<String>,
    /// The public xkey to which secrets are sealed that it can open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets_key: Option<String>,
    pub instances: Vec<InstanceReport>,
}

impl HostRecord {
    pub const VERSION: u32 = 1;

    /// The site that it is at: calls stay there while they can.
    pub fn site(&self) -> Option<&str> {
        self.labels.get("site").map(String::as_str)
    }

    /// A host of which nothing is said, and that runs nothing.
    pub fn of(host: HostId) -> Self {
        Self {
            version: Self::VERSION,
            host,
            release: String::new(),
            labels: BTreeMap::new(),
            started_ms: 0,
            generation: 0,
            term: 0,
            leaving: false,
            cordon: None,
            taints: BTreeSet::new(),
            capacity: Capacity::default(),
            programs: false,
            trusts: BTreeSet::new(),
            secrets_key: None,
            instances: Vec::new(),
        }
    }
}

/// The value of `<host>` in the beats bucket. It expires there by itself when the host stops writing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub count: u64,
    /// Of the components that follow their load, and of those that somebody here waits for.
    #[serde(default, skip_serializing_if = "Load::is_empty")]
    pub load: Load,
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

impl InstanceReport {
    /// The first instance of a unit on a host, of which there is no more to say than how it is.
    pub fn of(host: &HostId, unit: &UnitId, record: &UnitRecord, state: InstanceState) -> Self {
        Self {
            unit: unit.clone(),
            instance: InstanceId::derive(host, unit, record.revision, &record.spec.digest()),
            revision: record.revision,
            kind: record.spec.kind().to_owned(),
            what: record.spec.what().to_owned(),
            state,
            reason: None,
            serves: Vec::new(),
            json_only: false,
            bundles: false,
            address: None,
            faults: Faults::default(),
        }
    }
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
    /// HTTP answers of 500 and above.
    #[serde(default)]
    pub errors: u64,
    /// Calls that were taken until the newest of these.
    #[serde(default)]
    pub calls: u64,
    /// The newest one, in words.
    pub last: Option<String>,
}
