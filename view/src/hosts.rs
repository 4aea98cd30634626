//! The hosts of a lattice, as they are listed.

use std::collections::{BTreeMap, BTreeSet};

use lattice::model::{inventory::HostRecord, placement::Capacity};
use serde::Serialize;

use crate::world::World;

/// One host.
#[derive(Debug, Clone, Serialize)]
pub struct Host {
    pub id: String,
    pub short_id: String,
    /// Whether it shows signs of life.
    pub alive: bool,
    pub release: String,
    pub labels: BTreeMap<String, String>,
    /// It gets only units that tolerate all of these.
    pub taints: BTreeSet<String>,
    /// Why it gets nothing more; `null` when it does.
    pub cordon: Option<String>,
    /// It gives what it has to others.
    pub leaving: bool,
    /// What it has for units; what has no bound is left out.
    pub capacity: Capacity,
    /// Whether it runs programs that manifests bring along.
    pub programs: bool,
    /// It runs only what one of these signers has signed; whatever there is when there are none.
    pub trusts: BTreeSet<String>,
    pub units: usize,
    /// `null` for a host that is lost.
    pub uptime_seconds: Option<u64>,
    pub generation: u64,
}

/// All hosts that the lattice knows.
pub fn all_hosts(world: &World, now_ms: u64) -> Vec<Host> {
    let host = |record: &HostRecord| {
        let alive = world.alive.contains(&record.host);
        Host {
            id: record.host.to_string(),
            short_id: record.host.short().to_owned(),
            alive,
            release: record.release.clone(),
            labels: record.labels.clone(),
            taints: record.taints.clone(),
            cordon: record.cordon.clone(),
            leaving: record.leaving,
            capacity: record.capacity,
            programs: record.programs,
            trusts: record.trusts.clone(),
            units: record.instances.len(),
            uptime_seconds: alive.then(|| now_ms.saturating_sub(record.started_ms) / 1000),
            generation: record.generation,
        }
    };
    world.hosts.values().map(|entry| host(&entry.value)).collect()
}
