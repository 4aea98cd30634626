//! Where copies of a unit may be, and what hosts have for them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::wire::UnitId;

/// For each label the values that a host may have.
pub type Labels = BTreeMap<String, Vec<String>>;

/// Which hosts may run a unit, and which of them go first.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Placement {
    #[serde(default)]
    pub require: Labels,
    /// Hosts that have more of these labels go before others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub prefer: Labels,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Units that are never on the same host.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub apart: BTreeSet<UnitId>,
    /// Taints of hosts that keep it away from none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tolerate: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "Offline::is_keep")]
    pub offline: Offline,
}

/// What becomes of a copy whose host is cut off from the lattice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offline {
    /// It goes on. Others may run it as well meanwhile.
    #[default]
    Keep,
    /// It stops before anybody else can be given it.
    Stop,
}

impl Offline {
    fn is_keep(&self) -> bool {
        *self == Self::Keep
    }
}

/// How copies are spread over the values of a label. Hosts without the label are one group more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    pub label: String,
    /// How many copies more there may be for one value than for another, at least 1. Without it they are spread as
    /// evenly as there is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_skew: Option<u32>,
}

/// What a host has for units; as much as they ask for where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The sum of what its components may serve at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u64>,
}

impl Capacity {
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}

/// What one copy of a unit counts for, by its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// Of a component the memory of one instance, of a process its limit.
    pub memory_bytes: u64,
    pub concurrency: u64,
}
