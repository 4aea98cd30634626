//! What the desired state and the hosts' inventories amount to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    app::AppRecord,
    assignment::PlanReport,
    inventory::{Faults, HostRecord, InstanceState},
};
use crate::wire::{AppName, HostId, InstanceId, UnitName};

/// How an app is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppStatus {
    pub app: AppName,
    pub revision: u64,
    /// Everything runs as the manifest says, and nothing else of this app runs.
    pub ready: bool,
    pub units: Vec<UnitStatus>,
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
            let reason = reason.or_else(|| fused_into(app, name));
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
    let ready = !strangers && units.iter().all(|u| u.state == UnitState::Ready);
    AppStatus { app: app.name.clone(), revision: app.revision, ready, units }
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
            app::{AppRecord, Isolation, Placement, ProviderSpec, Scale, UnitSpec},
            assignment::PlannedUnit,
            inventory::InstanceReport,
        },
        wire::UnitId,
    };

    fn host(letter: &str) -> HostId {
        format!("N{}", letter.repeat(55)).parse().unwrap()
    }

    fn app() -> AppRecord {
        let spec = UnitSpec::Provider(ProviderSpec {
            kind: "keyvalue-memory".into(),
            config: serde_json::Map::new(),
            isolate: Isolation::Host,
            scale: Scale::Replicas(1),
            placement: Placement::default(),
            routes: Vec::new(),
            subscriptions: Vec::new(),
            schedules: Vec::new(),
            watches: Vec::new(),
            limits: Default::default(),
            program: None,
        });
        let units = BTreeMap::from([("cache".parse().unwrap(), spec)]);
        AppRecord::next("shop".parse().unwrap(), None, String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap()
    }

    fn plan(hosts: &[HostId]) -> PlanReport {
        let unit = PlannedUnit { wanted: 1, hosts: hosts.to_vec(), problem: None };
        PlanReport { version: 1, revision: 1, units: BTreeMap::from([("cache".parse().unwrap(), unit)]) }
    }

    fn record(id: HostId, revision: u64, state: InstanceState) -> HostRecord {
        let unit: UnitId = "shop/cache".parse().unwrap();
        let report = InstanceReport {
            instance: InstanceId::derive(&id, &unit, revision, &crate::wire::Digest::of(b"")),
            unit,
            revision,
            kind: "provider".into(),
            what: "keyvalue-memory".into(),
            state,
            reason: Some("because".into()),
            serves: Vec::new(),
            json_only: false,
            bundles: false,
            address: None,
            faults: Faults::default(),
        };
        HostRecord {
            version: 1,
            host: id,
            release: String::new(),
            labels: BTreeMap::new(),
            started_ms: 0,
            generation: 1,
            leaving: false,
            programs: false,
            secrets_key: None,
            instances: vec![report],
        }
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
