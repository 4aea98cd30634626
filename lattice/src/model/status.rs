//! What the desired state and the hosts' inventories amount to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    app::AppRecord,
    assignment::PlanReport,
    inventory::{Faults, HostRecord, InstanceState},
    rollout::RolloutOrder,
};
use crate::wire::{AppName, HostId, InstanceId, UnitName};

/// How an app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppStatus {
    pub app: AppName,
    pub revision: u64,
    /// Everything runs as the manifest says, and nothing else of this app runs.
    pub ready: bool,
    pub rollout: RolloutStatus,
    pub units: Vec<UnitStatus>,
}

/// How far the newest revision has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RolloutStatus {
    pub state: RolloutState,
    /// The newest revision that has run everywhere it should; `null` when there was none yet.
    pub complete: Option<u64>,
    /// Why it goes no further.
    pub reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// It has run everywhere it should.
    Complete,
    Progressing,
    Paused,
    Failed,
}

impl std::fmt::Display for RolloutState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Complete => "complete",
            Self::Progressing => "progressing",
            Self::Paused => "paused",
            Self::Failed => "failed",
        })
    }
}

/// How a unit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnitStatus {
    pub unit: UnitName,
    pub kind: String,
    pub what: String,
    pub revision: u64,
    pub wanted: u32,
    pub ready: u32,
    pub state: UnitState,
    /// Why it is not ready.
    pub reason: Option<String>,
    pub instances: Vec<InstanceStatus>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    Ready,
    /// Runs, and its backend is away.
    Degraded,
    /// On its way to what the manifest says.
    Progressing,
    /// Not as the manifest says, with a reason.
    Failed,
}

impl std::fmt::Display for UnitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Progressing => "progressing",
            Self::Failed => "failed",
        })
    }
}

/// One instance of a unit, on a host that is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceStatus {
    pub host: HostId,
    pub instance: InstanceId,
    pub revision: u64,
    pub state: InstanceState,
    pub reason: Option<String>,
    pub address: Option<String>,
    pub faults: Faults,
}

/// The status of `app`. `hosts` are all inventories, `alive` the hosts that show signs of life.
pub fn app_status<'a>(
    app: &AppRecord,
    plan: Option<&PlanReport>,
    hosts: impl IntoIterator<Item = &'a HostRecord> + Clone,
    alive: &BTreeSet<HostId>,
) -> AppStatus {
    let mut instances: BTreeMap<UnitName, Vec<InstanceStatus>> = BTreeMap::new();
    let mut strangers = false;
    for host in hosts.into_iter().filter(|h| alive.contains(&h.host)) {
        for report in host.instances.iter().filter(|r| r.unit.app == app.name) {
            strangers |= !app.units.contains_key(&report.unit.unit);
            instances.entry(report.unit.unit.clone()).or_default().push(InstanceStatus {
                host: host.host.clone(),
                instance: report.instance.clone(),
                revision: report.revision,
                state: report.state,
                reason: report.reason.clone(),
                address: report.address.clone(),
                faults: report.faults.clone(),
            });
        }
    }
    let plan = plan.filter(|p| p.revision == app.revision);
    let units: Vec<_> = app
        .units
        .iter()
        .map(|(name, record)| {
            let planned = plan.and_then(|p| p.units.get(name));
            let instances = instances.remove(name).unwrap_or_default();
            let current = || instances.iter().filter(|i| i.revision == record.revision);
            let ready = current().filter(|i| i.state.takes_calls()).count() as u32;
            let wanted = planned.map_or(1, |p| p.wanted);
            let placed: BTreeSet<_> = planned.map(|p| p.hosts.iter().collect()).unwrap_or_default();
            let leftover = instances.iter().any(|i| i.revision != record.revision || !placed.contains(&i.host));
            let (state, reason) =
                judge(planned.is_some(), planned.and_then(|p| p.problem.clone()), wanted, ready, leftover, current());
            let reason = reason.or_else(|| fused_into(app, name)).or_else(|| {
                let sleeps = planned.is_some() && wanted == 0 && record.spec.scale().may_sleep();
                sleeps.then(|| "asleep until it is called".to_owned())
            });
            UnitStatus {
                unit: name.clone(),
                kind: record.spec.kind().to_owned(),
                what: record.spec.what().to_owned(),
                revision: record.revision,
                wanted,
                ready,
                state,
                reason,
                instances,
            }
        })
        .collect();
    let rollout = rollout_status(app, plan);
    // What is on trial may be taken back.
    let stays = plan.is_none_or(|plan| plan.rollout.is_none()) || rollout.state == RolloutState::Complete;
    let ready = stays && !strangers && units.iter().all(|u| u.state == UnitState::Ready);
    AppStatus { app: app.name.clone(), revision: app.revision, ready, rollout, units }
}

fn rollout_status(app: &AppRecord, plan: Option<&PlanReport>) -> RolloutStatus {
    let report = plan.and_then(|plan| plan.rollout.as_ref());
    let complete = report.map(|report| report.complete).filter(|complete| *complete > 0);
    // Who has just insisted need not wait for the controller to take note of it.
    let failed = report.and_then(|report| report.failed.as_ref()).filter(|_| app.order != RolloutOrder::Insist);
    let (state, reason) = match failed {
        _ if complete == Some(app.revision) => (RolloutState::Complete, None),
        Some(failed) => (RolloutState::Failed, Some(failed.to_string())),
        None if app.order == RolloutOrder::Pause => (RolloutState::Paused, None),
        None => (RolloutState::Progressing, None),
    };
    RolloutStatus { state, complete, reason }
}

/// Why a unit has no instances and needs none.
fn fused_into(app: &AppRecord, unit: &UnitName) -> Option<String> {
    let holders: Vec<_> = app.fused_into(unit).into_iter().map(ToString::to_string).collect();
    (!holders.is_empty()).then(|| format!("fused into {}", holders.join(" and ")))
}

fn judge<'a>(
    planned: bool,
    problem: Option<String>,
    wanted: u32,
    ready: u32,
    leftover: bool,
    current: impl Iterator<Item = &'a InstanceStatus> + Clone,
) -> (UnitState, Option<String>) {
    let failed = current.clone().find(|i| i.state == InstanceState::Failed);
    let degraded = current.clone().find(|i| i.state == InstanceState::Degraded);
    if !planned {
        return (UnitState::Progressing, Some("waiting for a controller to plan it".to_owned()));
    }
    if let Some(problem) = problem {
        return (UnitState::Failed, Some(problem));
    }
    if let Some(failed) = failed {
        let reason = failed.reason.clone().unwrap_or_else(|| "it did not say why".to_owned());
        return (UnitState::Failed, Some(format!("on host {}: {reason}", failed.host.short())));
    }
    if ready < wanted {
        let on = current.map(|i| format!("{} on {}", i.state, i.host.short())).collect::<Vec<_>>();
        let on = if on.is_empty() { "not started yet".to_owned() } else { on.join(", ") };
        return (UnitState::Progressing, Some(format!("{ready} of {wanted} ready; {on}")));
    }
    if let Some(degraded) = degraded {
        return (UnitState::Degraded, degraded.reason.clone());
    }
    if leftover {
        return (UnitState::Progressing, Some("what ran before is being drained".to_owned()));
    }
    (UnitState::Ready, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{
            app::{AppRecord, ProviderSpec, UnitRecord, UnitSpec},
            assignment::PlannedUnit,
            inventory::InstanceReport,
        },
        wire::UnitId,
    };

    fn host(letter: &str) -> HostId {
        format!("N{}", letter.repeat(55)).parse().unwrap()
    }

    fn app() -> AppRecord {
        let spec = UnitSpec::Provider(ProviderSpec::of("keyvalue-memory"));
        let units = BTreeMap::from([("cache".parse().unwrap(), spec)]);
        AppRecord::next("shop".parse().unwrap(), None, String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap()
    }

    fn plan(hosts: &[HostId]) -> PlanReport {
        let unit = PlannedUnit { wanted: 1, hosts: hosts.to_vec(), problem: None };
        let units = BTreeMap::from([("cache".parse().unwrap(), unit)]);
        PlanReport { version: 1, revision: 1, units, rollout: None }
    }

    fn record(id: HostId, revision: u64, state: InstanceState) -> HostRecord {
        let unit: UnitId = "shop/cache".parse().unwrap();
        let spec = UnitSpec::Provider(ProviderSpec::of("keyvalue-memory"));
        let mut report = InstanceReport::of(&id, &unit, &UnitRecord { revision, spec }, state);
        report.reason = Some("because".into());
        HostRecord { instances: vec![report], ..HostRecord::of(id) }
    }

    fn state(hosts: &[HostRecord], alive: &[HostId]) -> (bool, UnitState, Option<String>) {
        let status = app_status(&app(), Some(&plan(&[host("A")])), hosts, &alive.iter().cloned().collect());
        (status.ready, status.units[0].state, status.units[0].reason.clone())
    }

    #[test]
    fn ready_only_when_it_runs_on_a_live_host_as_planned() {
        let (a, b) = (host("A"), host("B"));
        assert!(state(&[record(a.clone(), 1, InstanceState::Ready)], std::slice::from_ref(&a)).0);
        // The host is silent.
        assert_eq!(state(&[record(a.clone(), 1, InstanceState::Ready)], &[]).1, UnitState::Progressing);
        // An old revision is not the unit.
        assert_eq!(
            state(&[record(a.clone(), 0, InstanceState::Ready)], std::slice::from_ref(&a)).1,
            UnitState::Progressing
        );
        // A copy too many is being drained.
        let both = [record(a.clone(), 1, InstanceState::Ready), record(b.clone(), 1, InstanceState::Ready)];
        assert_eq!(state(&both, &[a.clone(), b]).1, UnitState::Progressing);
        let failed = state(&[record(a.clone(), 1, InstanceState::Failed)], std::slice::from_ref(&a));
        assert_eq!(failed.2.unwrap(), "on host NAAAAAAA: because");
    }
}
