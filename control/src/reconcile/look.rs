//! What the controller sees: the store, and who is alive.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    bus::Entry,
    model::{
        app::{AppRecord, UnitSpec},
        assignment::{Assignment, PlanReport},
        inventory::HostRecord,
        scale::Load,
    },
    wire::{AppName, HostId, UnitId},
};

use super::{Leader, changed};
use crate::{
    keeper::within,
    liveness::{Roll, Verdict},
};

/// Everything as it is in the store.
pub(super) struct Sight {
    pub(super) apps: BTreeMap<AppName, Entry<AppRecord>>,
    pub(super) hosts: BTreeMap<HostId, HostRecord>,
    pub(super) assignments: BTreeMap<HostId, Entry<Assignment>>,
    pub(super) plans: BTreeMap<AppName, Entry<PlanReport>>,
}

impl Leader {
    pub(super) fn is_synced(&self) -> bool {
        self.apps.borrow().is_some()
            && self.hosts.borrow().is_some()
            && self.beats.borrow().is_some()
            && self.assignments.view.borrow().is_some()
            && self.plans.view.borrow().is_some()
            && self.quotas.borrow().is_some()
            && self.signatures.borrow().is_some()
    }

    /// Any change of what we look at; true when only beats changed. Each arm waits for a flag, and is safe to cancel.
    pub(super) async fn change(&mut self) -> bool {
        tokio::select! {
            () = changed(&mut self.apps) => false,
            () = changed(&mut self.hosts) => false,
            () = changed(&mut self.assignments.view) => false,
            () = changed(&mut self.plans.view) => false,
            () = changed(&mut self.quotas) => false,
            () = changed(&mut self.signatures) => false,
            () = changed(&mut self.connected) => false,
            () = changed(&mut self.held) => false,
            () = changed(&mut self.beats) => true,
        }
    }

    pub(super) fn observe(&mut self) {
        let now = self.now();
        let beats = self.beats.borrow_and_update();
        // Before the first whole state, an empty one would be taken for it.
        if beats.is_some() {
            self.liveness.observe(now, &values(&beats, |beat| beat.count));
        }
    }

    pub(super) fn judge(&mut self) -> Verdict {
        self.observe();
        self.liveness.judge(self.now(), &self.roll)
    }

    /// What the hosts that are alive say of the load of units.
    pub(super) fn load(&self) -> Load {
        let mut sum = Load::new();
        for (host, beat) in self.beats.borrow().iter().flatten().filter(|(_, beat)| !beat.value.load.is_empty()) {
            if host.parse().is_ok_and(|host| self.verdict.alive.contains(&host)) {
                beat.value.load.iter().for_each(|(unit, load)| *sum.entry(unit.clone()).or_default() += load);
            }
        }
        sum
    }

    pub(super) fn is_short(&self) -> bool {
        let load = self.load();
        if load.is_empty() {
            return false;
        }
        let apps = self.apps.borrow();
        let record = |unit: &UnitId| Some(&apps.as_ref()?.get(unit.app.as_str())?.value.units.get(&unit.unit)?.spec);
        self.scaler.is_short(&load, |unit| record(unit).map(UnitSpec::scale))
    }

    pub(super) fn look(&mut self) -> Sight {
        let sight = Sight {
            apps: by_id(self.apps.borrow_and_update().clone().unwrap_or_default()),
            hosts: values(&self.hosts.borrow_and_update(), HostRecord::clone),
            assignments: by_id(self.assignments.read()),
            plans: by_id(self.plans.read()),
        };
        let busy = sight.assignments.iter().filter(|(_, entry)| !entry.value.units.is_empty() && !entry.value.given_up);
        let burdened: BTreeSet<_> = busy.map(|(id, _)| id.clone()).collect();
        // A host that took back both its inventory and its beat has left; there is nobody to wait for.
        let known = {
            let beats = self.beats.borrow();
            let beats = |host: &HostId| beats.as_ref().is_some_and(|beats| beats.contains_key(host.as_str()));
            let here = |host: &&HostId| sight.hosts.contains_key(*host) || beats(host);
            sight.hosts.keys().chain(&burdened).filter(here).cloned().collect()
        };
        self.roll = Roll { known, burdened };
        self.verdict = self.judge();
        sight
    }

    /// Makes sure that apps which are assigned or reported and not in the view are really gone: to stop an app because
    /// its record cannot be read would be a disaster. Returns those that are there or may be there.
    pub(super) async fn find_missing_apps(&mut self, sight: &mut Sight) -> BTreeSet<AppName> {
        let assigned = sight.assignments.values().flat_map(|entry| entry.value.units.keys()).map(|unit| &unit.app);
        let missing: BTreeSet<_> =
            assigned.chain(sight.plans.keys()).filter(|app| !sight.apps.contains_key(*app)).cloned().collect();
        let mut unreadable = BTreeSet::new();
        for app in missing {
            match within(self.timing.step_down, self.bus.store().apps().get(app.as_str())).await {
                Ok(None) => {}
                Ok(Some(entry)) => drop(sight.apps.insert(app, entry)),
                Err(error) => {
                    tracing::warn!(%app, %error, "cannot read an app; it goes on as it is");
                    unreadable.insert(app);
                }
            }
        }
        unreadable
    }
}

/// The readable ids and what stands there.
fn by_id<K: std::str::FromStr + Ord, T>(map: BTreeMap<String, T>) -> BTreeMap<K, T> {
    map.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, value))).collect()
}

pub(super) fn values<K: std::str::FromStr + Ord, T, V>(
    map: &Option<BTreeMap<String, Entry<T>>>,
    value: impl Fn(&T) -> V,
) -> BTreeMap<K, V> {
    let entries = map.iter().flatten();
    entries.filter_map(|(key, entry)| Some((key.parse().ok()?, value(&entry.value)))).collect()
}
