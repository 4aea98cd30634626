//! What one host must run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::app::UnitRecord;
use crate::wire::{HostId, UnitId};

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

/// The value of `plans.<app>`: what the controller has to say about an app that the hosts cannot know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanReport {
    /// Version of this structure.
    pub version: u32,
    /// The app's revision that was planned.
    pub revision: u64,
    /// For each unit: how many copies there shall be, and where.
    pub units: BTreeMap<crate::wire::UnitName, PlannedUnit>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedUnit {
    pub wanted: u32,
    pub hosts: Vec<HostId>,
    /// Why fewer copies are placed than wanted.
    pub problem: Option<String>,
}
