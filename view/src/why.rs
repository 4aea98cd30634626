//! Which rule has placed a unit where it is, and what keeps it from other hosts.

use std::collections::BTreeMap;

use lattice::{
    bus::{Bus, StoreError},
    model::{
        app::Scale,
        inventory::InstanceState,
        status::{UnitState, UnitStatus},
    },
    wire::{AppName, HostId, UnitId, UnitName},
};
use lattice_control::{Explanation, Reason, explain};
use serde::Serialize;

use crate::{ViewError, world::World};

/// One unit, as it is printed.
#[derive(Debug, Serialize)]
pub struct Report {
    pub unit: UnitId,
    pub state: UnitState,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub wanted: u32,
    pub ready: u32,
    /// How many copies the manifest asks for, in words.
    pub scale: String,
    pub hosts: Vec<OnHost>,
}

/// A host, and what of a unit is there.
#[derive(Debug, Serialize)]
pub struct OnHost {
    pub host: HostId,
    /// Whether it is to run there.
    pub planned: bool,
    /// Of the instance that is there; `null` when there is none.
    pub state: Option<InstanceState>,
    pub why: String,
}

/// What is to be said of a unit, or of all units of an app, and how each is.
pub async fn reports(
    bus: &Bus,
    world: &World,
    app: &AppName,
    unit: Option<&UnitName>,
) -> Result<Vec<(Report, UnitStatus)>, ViewError> {
    let planned = plan_world(bus, world).await?;
    let app = &world.app(app.as_str(), bus.lattice())?.value;
    let mut units = world.status(app).units;
    units.retain(|status| unit.is_none_or(|name| *name == status.unit));
    if let (true, Some(unit)) = (units.is_empty(), unit) {
        return Err(ViewError::no_unit(app, unit));
    }
    let mut explained = explain(&planned, |other| other.app == app.name && unit.is_none_or(|u| *u == other.unit));
    let report = |status: UnitStatus| {
        let unit = UnitId::new(app.name.clone(), status.unit.clone());
        let explanation = explained.remove(&unit)?;
        let scale = app.units.get(&status.unit)?.spec.scale();
        Some((report(unit, &status, scale, &explanation), status))
    };
    Ok(units.into_iter().filter_map(report).collect())
}

fn report(unit: UnitId, status: &UnitStatus, scale: Scale, explanation: &Explanation) -> Report {
    let on = |(host, reason): &(HostId, Reason)| OnHost {
        host: host.clone(),
        planned: explanation.planned.hosts.contains(host),
        state: status.instances.iter().find(|instance| instance.host == *host).map(|instance| instance.state),
        why: words(reason),
    };
    Report {
        unit,
        state: status.state,
        reason: status.reason.clone(),
        wanted: status.wanted,
        ready: status.ready,
        scale: scale.to_string(),
        hosts: explanation.hosts.iter().map(on).collect(),
    }
}

fn words(reason: &Reason) -> String {
    match reason {
        Reason::Stays => "it was there, and may stay".to_owned(),
        Reason::Placed => "the best place for a new copy".to_owned(),
        Reason::LeavesLater(Some(refusal)) => format!("{refusal}; it goes when others have taken over"),
        Reason::LeavesLater(None) => "it goes when others have taken over".to_owned(),
        Reason::Refused(refusal) => refusal.to_string(),
        Reason::Enough => "there are enough copies".to_owned(),
        Reason::Silent { runs: true } => "not heard of; it keeps what it has".to_owned(),
        Reason::Silent { runs: false } => "not heard of; it gets nothing".to_owned(),
    }
}

/// What a plan depends on, as far as it can be seen from here: a host that is quiet counts as silent until the controller has given it
/// up.
pub async fn plan_world(bus: &Bus, world: &World) -> Result<lattice_control::World, StoreError> {
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
