//! Rollouts: which hosts keep the revision before for now, and whether the newest one goes on. Pure.
//!
//! - A revision that has run everywhere, or whose units no host has in another one, goes everywhere at once. Else a few
//!   hosts get it at a time, as its `rollout:` says, and the next ones when those have taken calls for long enough.
//! - A copy that is new on its host counts like one that changes; until it is its turn it is of the revision that others have.
//! - A rollout has failed when too many calls of its copies fail, or when nothing has changed for too long. What has failed
//!   stays so until there is another revision, or an operator insists.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use lattice::{
    model::{
        app::{AppRecord, UnitRecord},
        inventory::{Faults, InstanceReport, InstanceState},
        rollout::{RolloutFailure, RolloutOrder, RolloutReport},
    },
    wire::{AppName, HostId, UnitId, UnitName},
};

use crate::{
    field::rank,
    plan::{Facts, Home, World},
};

/// Calls that must have failed before they are taken for a sign.
const LEAST_ERRORS: u64 = 5;

/// The apps whose newest revision has not run everywhere yet.
pub(crate) struct Trials<'w>(HashMap<&'w AppName, Trial<'w>>);

struct Trial<'w> {
    app: &'w AppRecord,
    complete: u64,
    failed: Option<RolloutFailure>,
    /// Whether all units that were looked at run everywhere they should.
    settled: bool,
}

/// The hosts that keep the revision of a unit that they have, or that others have, for now.
pub(crate) type Behind<'w> = BTreeMap<HostId, &'w UnitRecord>;

impl<'w> Trials<'w> {
    pub(crate) fn of(world: &'w World) -> Self {
        let trial = |(name, app): (&'w AppName, &'w AppRecord)| {
            let complete = world.complete(name);
            let of_this = world.reports.get(name).filter(|report| report.revision == app.revision);
            let failed = of_this.and_then(|report| report.rollout.as_ref()).and_then(|rollout| rollout.failed.clone());
            let failed = failed.filter(|_| app.order != RolloutOrder::Insist);
            (complete != app.revision).then_some((name, Trial { app, complete, failed, settled: true }))
        };
        let mut trials: HashMap<_, _> = world.apps.iter().filter_map(trial).collect();
        if !trials.is_empty() {
            for host in world.hosts.values() {
                for report in &host.instances {
                    if let Some(trial) = trials.get_mut(&report.unit.app) {
                        trial.judge(&host.host, report);
                    }
                }
            }
        }
        Self(trials)
    }

    /// Looks at the next unit, which is to be in `home`.
    pub(crate) fn behind(
        &mut self,
        facts: &Facts<'w>,
        unit: &UnitId,
        record: &'w UnitRecord,
        home: &Home<'w>,
    ) -> Behind<'w> {
        let Some(trial) = self.0.get_mut(&unit.app) else { return Behind::new() };
        let behind = trial.behind(facts, unit, record, &home.hosts);
        let wants = facts.copies(unit, record) > 0;
        let done = |host: &HostId| facts.is_done(unit, host, record.revision);
        let all = behind.is_empty() && home.hosts.iter().all(done) && !(wants && home.hosts.is_empty());
        if all && home.leaving.is_empty() {
            return behind;
        }
        trial.settled = false;
        if !all && trial.may_fail() && facts.world.late.contains(unit) {
            let reason = facts.unready(unit, record.revision).unwrap_or_else(|| "nothing has changed".to_owned());
            let time = Duration::from_millis(record.spec.rollout().deadline_ms);
            trial.fail(&unit.unit, format!("no progress for {time:?}: {reason}"));
        }
        behind
    }

    /// What there is to say of an app when all of its units were looked at.
    pub(crate) fn report(&mut self, app: &AppRecord) -> RolloutReport {
        match self.0.remove(&app.name) {
            None => RolloutReport { complete: app.revision, failed: None },
            Some(Trial { complete, failed, settled, .. }) => {
                let complete = if settled && failed.is_none() { app.revision } else { complete };
                RolloutReport { complete, failed }
            }
        }
    }
}

impl<'w> Trial<'w> {
    /// Whether there is a revision before to which one could hold.
    fn may_fail(&self) -> bool {
        self.complete > 0 && self.failed.is_none() && self.app.order != RolloutOrder::Insist
    }

    fn fail(&mut self, unit: &UnitName, reason: String) {
        self.failed = Some(RolloutFailure { unit: unit.clone(), reason });
    }

    fn is_held(&self) -> bool {
        match self.app.order {
            RolloutOrder::Proceed => self.failed.is_some(),
            RolloutOrder::Pause => true,
            RolloutOrder::Insist => false,
        }
    }

    /// Whether so many calls of a new copy fail that the rollout has failed.
    fn judge(&mut self, host: &HostId, report: &InstanceReport) {
        let Some(record) = self.app.units.get(&report.unit.unit) else { return };
        let is_new = report.revision == record.revision && record.revision > self.complete;
        if !is_new || !self.may_fail() {
            return;
        }
        let Faults { traps, timeouts, errors, calls, last, .. } = &report.faults;
        let failed = traps + timeouts + errors;
        let most = u64::from(record.spec.rollout().max_errors);
        if failed >= LEAST_ERRORS && failed.saturating_mul(100) > calls.saturating_mul(most) {
            let last = last.as_deref().map(|last| format!("; the last one: {last}")).unwrap_or_default();
            let reason = format!("{failed} of {calls} calls failed on host {}{last}", host.short());
            self.fail(&report.unit.unit, reason);
        }
    }

    fn behind(&self, facts: &Facts<'w>, unit: &UnitId, record: &'w UnitRecord, home: &BTreeSet<HostId>) -> Behind<'w> {
        let before = facts.before(unit);
        let older = before.iter().map(|(_, before)| *before).filter(|before| before.revision != record.revision);
        let older = older.max_by_key(|before| before.revision).filter(|_| record.revision > self.complete);
        let Some(older) = older else { return Behind::new() };
        let (mut changing, mut waiting) = (0, Vec::new());
        for host in home {
            match facts.had(unit, host) {
                Some(has) if has.revision == record.revision => {
                    changing += usize::from(!facts.is_done(unit, host, record.revision));
                }
                has => waiting.push((host, has.unwrap_or(older))),
            }
        }
        let places = match self.is_held() {
            true => 0,
            false => record.spec.rollout().at_once(home.len()).saturating_sub(changing),
        };
        // First where nothing can get worse; of a host that is silent it is not known when it would follow.
        waiting.sort_by_cached_key(|(host, has)| {
            (facts.silent(host), facts.serves(unit, host, has.revision), rank(unit, host))
        });
        waiting.into_iter().skip(places).map(|(host, has)| (host.clone(), has)).collect()
    }
}

/// What only time tells of rollouts.
#[derive(Default)]
pub(crate) struct Clock {
    /// Since when a copy of the newest revision takes calls.
    since: BTreeMap<(UnitId, HostId), (u64, Duration)>,
    /// Since when a unit has as many of them, in this revision.
    progress: BTreeMap<UnitId, (u64, usize, Duration)>,
}

impl Clock {
    /// Looks at the world, and tells it which copies are young and which units are late.
    pub(crate) fn tell(&mut self, now: Duration, world: &mut World) {
        let on_trial = |(name, app): &(&AppName, &AppRecord)| world.complete(name) != app.revision;
        let trials: HashMap<_, _> = world.apps.iter().filter(on_trial).collect();
        let (mut since, mut young) = (BTreeMap::new(), BTreeSet::new());
        let mut done: BTreeMap<UnitId, usize> = BTreeMap::new();
        let reports = world.hosts.values().flat_map(|host| host.instances.iter().map(move |report| (host, report)));
        for (host, report) in reports.filter(|(_, report)| !trials.is_empty() && report.state == InstanceState::Ready) {
            let record = trials.get(&report.unit.app).and_then(|app| app.units.get(&report.unit.unit));
            let Some(record) = record.filter(|record| record.revision == report.revision) else { continue };
            let key = (report.unit.clone(), host.host.clone());
            let known = self.since.get(&key).filter(|(revision, _)| *revision == record.revision);
            let begun = known.map_or(now, |(_, since)| *since);
            if now < begun + Duration::from_millis(record.spec.rollout().min_ready_ms) {
                young.insert(key.clone());
            } else {
                *done.entry(report.unit.clone()).or_default() += 1;
            }
            since.insert(key, (record.revision, begun));
        }
        let (mut progress, mut late) = (BTreeMap::new(), BTreeSet::new());
        for (unit, record) in trials.values().flat_map(|app| app.unit_ids()) {
            let is_paused = trials.get(&unit.app).is_some_and(|app| app.order == RolloutOrder::Pause);
            let state = (record.revision, done.get(&unit).copied().unwrap_or(0));
            let known = self.progress.get(&unit).filter(|known| !is_paused && (known.0, known.1) == state);
            let begun = known.map_or(now, |(.., since)| *since);
            if now >= begun + Duration::from_millis(record.spec.rollout().deadline_ms) {
                late.insert(unit.clone());
            }
            progress.insert(unit, (state.0, state.1, begun));
        }
        (self.since, self.progress) = (since, progress);
        (world.young, world.late) = (young, late);
    }
}
