//! The lattice as a controller sees it, so that the CLI can say what it would make of it.

use std::collections::BTreeMap;

use lattice::{bus::Bus, wire::HostId};

use crate::{failure::Result, world::World};

/// What a plan depends on, as far as it can be seen from here: a host that is quiet counts as silent until the controller has given it
/// up.
pub(crate) async fn plan_world(bus: &Bus, world: &World) -> Result<lattice_control::World> {
    let assignments = bus.store().assignments().list().await?;
    let known = assignments.into_iter().filter_map(|(host, entry)| Some((host.parse::<HostId>().ok()?, entry.value)));
    let known: BTreeMap<_, _> = known.filter(|(_, assignment)| !assignment.units.is_empty()).collect();
    let signatures = bus.store().signatures().list().await?;
    let reports = world.plans.iter().filter_map(|(app, entry)| Some((app.parse().ok()?, entry.value.clone())));
    let labels = |host: &HostId| world.hosts.get(host.as_str()).map(|entry| entry.value.labels.clone());
    let silent = known.iter().filter(|(host, assignment)| !world.alive.contains(*host) && !assignment.given_up);
    Ok(lattice_control::World {
        apps: world.apps.values().map(|entry| (entry.value.name.clone(), entry.value.clone())).collect(),
        hosts: world.live_hosts().map(|host| (host.host.clone(), host.clone())).collect(),
        silent: silent.map(|(host, _)| (host.clone(), labels(host).unwrap_or_default())).collect(),
        assigned: known.iter().map(|(host, assignment)| (host.clone(), assignment.units.clone())).collect(),
        reports: reports.collect(),
        quotas: world.quotas.clone(),
        signers: signatures.into_values().map(|entry| entry.value).collect(),
        ..lattice_control::World::default()
    })
}
