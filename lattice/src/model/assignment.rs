//! What one host must run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{app::UnitRecord, rollout::RolloutReport};
use crate::wire::{HostId, UnitId, UnitName};

/// The value of `assignments.<host>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Version of this structure.
    pub version: u32,
    pub host: HostId,
    /// The lease term of the controller that wrote it.
    pub term: u64,
    /// Grows with each change. A host refuses an assignment that is older than the one that it has.
    pub generation: u64,
    pub units: BTreeMap<UnitId, UnitRecord>,
    /// The host was lost when this was written: the units are what it goes on with when it is back, as nobody else could be given
    /// them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

impl Assignment {
    pub const VERSION: u32 = 1;

    /// Whether this one may take the place of `current`.
    pub fn supersedes(&self, current: &Assignment) -> bool {
        (self.term, self.generation) > (current.term, current.generation)
    }
}

/// The value of `lease`: who plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Version of this structure.
    pub version: u32,
    pub holder: HostId,
    /// Grows with each change of the holder.
    pub term: u64,
    /// Grows with each renewal, so that watchers see life without comparing clocks.
    pub renewals: u64,
}

/// The value of `control.state`: what the host that plans has to say of the lattice as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlReport {
    /// Version of this structure.
    pub version: u32,
    /// The lease term of the controller that wrote it.
    pub term: u64,
    /// Most hosts are silent: nothing of theirs moves, or slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holding: Option<Holding>,
    /// Hosts that are lost though their inventories say that they run something: who calls that may wait for long.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub lost: BTreeSet<HostId>,
}

impl ControlReport {
    pub const VERSION: u32 = 1;
    /// Its key.
    pub const KEY: &'static str = "state";
}

/// How many hosts are silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holding {
    pub silent: u32,
    pub of: u32,
    /// Of the silent ones.
    pub given_up: u32,
}

impl std::fmt::Display for Holding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { silent, of, given_up } = self;
        match given_up {
            0 => write!(f, "{silent} of {of} hosts are silent: holding still, nothing of theirs moves"),
            given_up => write!(f, "{silent} of {of} hosts are silent: giving them up slowly, {given_up} so far"),
        }
    }
}

/// The value of `plans.<app>`: what the controller has to say about an app that the hosts cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Version of this structure.
    pub version: u32,
    /// The app's revision that was planned.
    pub revision: u64,
    /// For each unit: how many copies there shall be, and where.
    pub units: BTreeMap<UnitName, PlannedUnit>,
    /// Absent where a controller planned that did not know of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutReport>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    pub wanted: u32,
    pub hosts: Vec<HostId>,
    /// Why fewer copies are placed than wanted.
    pub problem: Option<String>,
}
