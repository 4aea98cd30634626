//! The plan: which host runs which units. Pure: the same world gives the same plan, whoever makes it and whenever.
//!
//! - `Replicas(n)`: one copy on each of n hosts that the placement allows. Where there are fewer hosts, one copy on
//!   each of them is all that is wanted: an instance serves many calls at a time, so that a second one on the same
//!   host would add nothing. It is a problem only when no host is allowed.
//! - `PerHost`: one copy on every allowed host.
//! - `Follow`: as many copies as [`World::scales`] says, which knows the load, placed like `Replicas`.
//! - A program of the user's own goes only to hosts that run programs, and what is not signed only to hosts that ask for no signature.
//! - What is placed stays where it is while it may. A new host gets what is short of copies, and nothing else moves.
//! - Make before break: when a unit must leave a host that lives, the copy there stays until its successors take calls.
//! - What is fused into other components runs in their instances and has none of its own. Copies that it had stay until all
//!   of these components serve as they are now.
//! - An app gets no more copies than its quota allows; of one that was lowered it keeps what it has.
//! - A host that leaves keeps what it has until others have it, and gets nothing more.
//! - A lost host keeps what others could not be given: it may go on with it where it is, and has it without a gap when it is back.
//! - A silent host (see [`World::silent`]) keeps what it has, and gets nothing more.
//! - A new revision goes to a few hosts at a time, see [`crate::rollout`].
//! - What a host has room for, what is kept apart and a skew that has a bound move copies from where they are too many, if
//!   there is another place for them.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::{
        app::{AppRecord, Scale, UnitRecord},
        assignment::{PlanReport, PlannedUnit},
        inventory::{HostRecord, InstanceState},
        quota::{Quota, Usage},
        signature::Signers,
    },
    wire::{AppName, HostId, UnitId},
};
use rustc_hash::FxHashMap;

use crate::{
    explain,
    field::{Field, rank},
    rollout::Trials,
    rules::cannot_run,
};

/// The units of each host.
pub type Assigned = BTreeMap<HostId, BTreeMap<UnitId, UnitRecord>>;

/// All that a plan depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct World {
    /// What shall run.
    pub apps: BTreeMap<AppName, AppRecord>,
    /// Apps that are there and cannot be read now (a newer version wrote them). They go on as they were assigned.
    pub unreadable: BTreeSet<AppName>,
    /// The hosts that are alive.
    pub hosts: BTreeMap<HostId, HostRecord>,
    /// Hosts of which it is not known whether they are alive, with the labels that they had. A host that is neither here nor
    /// in `hosts` is lost.
    pub silent: BTreeMap<HostId, BTreeMap<String, String>>,
    /// The plan before: what each host was given,
    pub assigned: Assigned,
    /// and what was said of each app: where its units were to be (others that have one keep it only until it is there), and how
    /// far its rollout was.
    pub reports: BTreeMap<AppName, PlanReport>,
    /// Copies of a newest revision that have not taken calls for long enough yet.
    pub young: BTreeSet<(UnitId, HostId)>,
    /// Units of which for too long no further copy has come to their newest revision.
    pub late: BTreeSet<UnitId>,
    /// How many copies there shall be of units that follow their load. Of one that is not here there shall be as many as before.
    pub scales: BTreeMap<UnitId, u32>,
    /// How much apps may have, by app, and by [`Quota::DEFAULT`] for those that are not there.
    pub quotas: BTreeMap<String, Quota>,
    /// Who has signed which artifacts.
    pub signers: Signers,
}

/// What each host shall run, and what there is to say about each app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every host that the world mentions is here; a lost one with what it goes on with when it is back.
    pub units: Assigned,
    pub reports: BTreeMap<AppName, PlanReport>,
}

/// Plans `world`.
pub fn plan(world: &World) -> Plan {
    let units = units(world);
    let mut draft = Draft::new(world, &units);
    let mut trials = Trials::of(world);
    let mut plan = Plan::default();
    let mut given = Given::to(world.hosts.keys().chain(world.silent.keys()).chain(world.assigned.keys()));
    for (unit, record, home) in draft.settle_all(&units) {
        if let Some(app) = world.apps.get(&unit.app) {
            let planned = explain::describe(&mut draft, unit, record, &home);
            let report = plan.reports.entry(unit.app.clone()).or_insert_with(|| empty_report(app));
            report.units.insert(unit.unit.clone(), planned);
        }
        let mut behind = trials.behind(&draft.facts, unit, record, &home);
        for (host, record) in draft.facts.left_behind(unit, record, &home.hosts) {
            given.add(host, unit, record);
        }
        for host in &home.hosts {
            given.add(host, unit, behind.remove(host).unwrap_or(record));
        }
        for (host, old) in home.leaving {
            given.add(host, unit, old);
        }
    }
    plan.units = given.assigned();
    for (name, app) in &world.apps {
        let report = plan.reports.entry(name.clone()).or_insert_with(|| empty_report(app));
        report.rollout = Some(trials.report(app));
    }
    plan
}

/// What each host is given, unit by unit: put together in the end, as a map that grows asks for each unit where it belongs.
struct Given<'w> {
    places: FxHashMap<&'w HostId, usize>,
    units: Vec<(&'w HostId, Vec<(UnitId, UnitRecord)>)>,
}

impl<'w> Given<'w> {
    fn to(hosts: impl Iterator<Item = &'w HostId>) -> Self {
        let hosts: BTreeSet<_> = hosts.collect();
        Self {
            places: hosts.iter().enumerate().map(|(at, host)| (*host, at)).collect(),
            units: hosts.into_iter().map(|host| (host, Vec::new())).collect(),
        }
    }

    /// A host that the world mentions is given a unit; of two records of it the later one counts.
    fn add(&mut self, host: &HostId, unit: &UnitId, record: &UnitRecord) {
        if let Some(at) = self.places.get(host) {
            self.units[*at].1.push((unit.clone(), record.clone()));
        }
    }

    fn assigned(self) -> Assigned {
        self.units.into_iter().map(|(host, units)| (host.clone(), units.into_iter().collect())).collect()
    }
}

/// Where one unit is in a plan.
pub(crate) struct Home<'w> {
    /// The hosts that shall run it.
    pub(crate) hosts: BTreeSet<HostId>,
    /// Copies elsewhere that stay until these take their place.
    pub(crate) leaving: Vec<(&'w HostId, &'w UnitRecord)>,
}

/// A plan that is being made. All that stays is known before anything is placed: new copies go where the load is least in the
/// end.
pub(crate) struct Draft<'w> {
    pub(crate) facts: Facts<'w>,
    pub(crate) field: Field<'w>,
    /// Of each unit, in their order.
    homes: Vec<BTreeSet<HostId>>,
    /// What each app has that has a quota.
    usage: BTreeMap<AppName, Usage>,
}

impl<'w> Draft<'w> {
    pub(crate) fn new(world: &'w World, units: &BTreeMap<UnitId, &'w UnitRecord>) -> Self {
        let facts = Facts::of(world);
        let mut field = Field::new(world, units.iter().map(|(unit, record)| (unit, &record.spec)));
        let (mut homes, mut usage) = (Vec::with_capacity(units.len()), BTreeMap::<AppName, Usage>::new());
        for (unit, record) in units {
            let home = facts.keep(unit, record, &field);
            home.iter().for_each(|host| field.take(host, unit, &record.spec));
            if Quota::of(&unit.app, &world.quotas).is_some() {
                usage.entry(unit.app.clone()).or_default().add(&record.spec, home.len() as u64);
            }
            homes.push(home);
        }
        Self { facts, field, homes, usage }
    }

    /// Moves what is too much where it is, and places what is short of copies. Each step makes a place better and none worse, so
    /// it comes to an end; and where it ended nothing is left to do, so that the same world is planned the same way again.
    pub(crate) fn settle_all<'u>(
        &mut self,
        units: &'u BTreeMap<UnitId, &'w UnitRecord>,
    ) -> Vec<(&'u UnitId, &'w UnitRecord, Home<'w>)> {
        // What has to move goes first: what is new must not have taken its place. What has moved may have made room.
        loop {
            let relieved = self.each(units, Self::relieve);
            self.each(units, Self::fill);
            if !(self.each(units, Self::level) || relieved) {
                break;
            }
        }
        let homes = std::mem::take(&mut self.homes);
        let home = |((unit, record), hosts): ((&'u UnitId, &&'w UnitRecord), BTreeSet<HostId>)| {
            let leaving = self.facts.leaving(unit, record, &hosts);
            (unit, *record, Home { hosts, leaving })
        };
        units.iter().zip(homes).map(home).collect()
    }

    /// Whether `step` did anything for any unit.
    fn each(
        &mut self,
        units: &BTreeMap<UnitId, &'w UnitRecord>,
        step: fn(&mut Self, &UnitId, &'w UnitRecord, &mut BTreeSet<HostId>) -> bool,
    ) -> bool {
        let mut homes = std::mem::take(&mut self.homes);
        let all = units.iter().zip(&mut homes);
        let done = all.fold(false, |done, ((unit, record), home)| step(self, unit, record, home) | done);
        self.homes = homes;
        done
    }

    /// Moves copies from hosts that have no room for them, if there is another place.
    fn relieve(&mut self, unit: &UnitId, record: &'w UnitRecord, home: &mut BTreeSet<HostId>) -> bool {
        let spec = &record.spec;
        let crowded: Vec<_> =
            home.iter().filter(|host| self.field.crowds(host, unit, spec).is_some()).cloned().collect();
        crowded.iter().fold(false, |done, host| self.field.relieve(host, unit, spec, home) | done)
    }

    /// Why an app may not have one copy more of a unit.
    pub(crate) fn over_quota(&self, unit: &UnitId, record: &UnitRecord) -> Option<String> {
        let quota = Quota::of(&unit.app, &self.facts.world.quotas)?;
        let mut usage = self.usage.get(&unit.app).copied().unwrap_or_default();
        usage.add(&record.spec, 1);
        quota.exceeded(usage)
    }

    fn fill(&mut self, unit: &UnitId, record: &'w UnitRecord, home: &mut BTreeSet<HostId>) -> bool {
        let short = self.facts.copies(unit, record).saturating_sub(home.len());
        if short == 0 || self.over_quota(unit, record).is_some() {
            return false;
        }
        let there: Vec<_> = self.facts.before(unit).iter().map(|(host, _)| *host).collect();
        let mut chosen = self.field.choose(unit, &record.spec, home, &there, short);
        if Quota::of(&unit.app, &self.facts.world.quotas).is_some() {
            let mut allowed = 0;
            while allowed < chosen.len() && self.over_quota(unit, record).is_none() {
                self.usage.entry(unit.app.clone()).or_default().add(&record.spec, 1);
                allowed += 1;
            }
            chosen.truncate(allowed);
        }
        for host in &chosen {
            self.field.take(host, unit, &record.spec);
            home.insert(host.clone());
        }
        !chosen.is_empty()
    }

    fn level(&mut self, unit: &UnitId, record: &'w UnitRecord, home: &mut BTreeSet<HostId>) -> bool {
        let facts = &self.facts;
        let worst = |host: &HostId| (!facts.serves(unit, host, record.revision), rank(unit, host));
        let mut done = false;
        while self.field.level(unit, &record.spec, home, worst) {
            done = true;
        }
        done
    }
}

/// All units that shall run. Those of unreadable apps are taken from the assignments, which hold whole records.
pub(crate) fn units(world: &World) -> BTreeMap<UnitId, &UnitRecord> {
    let mut units: BTreeMap<_, _> = world.apps.values().flat_map(AppRecord::unit_ids).collect();
    for (unit, record) in world.assigned.values().flatten() {
        if world.unreadable.contains(&unit.app) && !world.apps.contains_key(&unit.app) {
            let newest = units.entry(unit.clone()).or_insert(record);
            if newest.revision < record.revision {
                *newest = record;
            }
        }
    }
    units
}

/// The units that are parts of others, with these.
fn holders(world: &World) -> BTreeMap<UnitId, Vec<UnitId>> {
    let mut holders: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for app in world.apps.values() {
        for (part, holder) in app.fusions() {
            let [part, holder] = [part, holder].map(|unit| UnitId::new(app.name.clone(), unit.clone()));
            let known = holders.entry(part).or_default();
            // Several links of one component may lead there.
            if known.last() != Some(&holder) {
                known.push(holder);
            }
        }
    }
    holders
}

/// The world, ordered by what a plan asks of it. The hash maps are only asked for single keys, or whether all or any of their
/// entries are so: their order means nothing.
pub(crate) struct Facts<'w> {
    pub(crate) world: &'w World,
    /// Where each unit was assigned, hosts that are lost left out. In the order of the hosts.
    before: FxHashMap<&'w UnitId, Vec<(&'w HostId, &'w UnitRecord)>>,
    /// The same of hosts that are lost.
    lost: FxHashMap<&'w UnitId, Vec<(&'w HostId, &'w UnitRecord)>>,
    /// The instances of each unit, in the order of the hosts.
    states: FxHashMap<&'w UnitId, Vec<(&'w HostId, State)>>,
    /// For each unit that is a part of others, these.
    holders: BTreeMap<UnitId, Vec<UnitId>>,
}

/// The revision of an instance, and how it is.
type State = (u64, InstanceState);

/// Deeper than parts of parts can be: circles are refused before they are written.
const MAX_PARTS: usize = 16;

impl World {
    /// The newest revision of an app that has run everywhere it should; 0 when there was none yet.
    pub(crate) fn complete(&self, app: &AppName) -> u64 {
        self.reports.get(app).and_then(|report| report.rollout.as_ref()).map_or(0, |rollout| rollout.complete)
    }

    /// What was said of a unit in the plan before.
    pub(crate) fn planned(&self, unit: &UnitId) -> Option<&PlannedUnit> {
        self.reports.get(&unit.app).and_then(|report| report.units.get(&unit.unit))
    }
}

impl<'w> Facts<'w> {
    fn of(world: &'w World) -> Self {
        let mut before: FxHashMap<_, Vec<_>> = FxHashMap::default();
        let mut lost: FxHashMap<_, Vec<_>> = FxHashMap::default();
        for (host, units) in &world.assigned {
            let known = world.hosts.contains_key(host) || world.silent.contains_key(host);
            let of = if known { &mut before } else { &mut lost };
            units.iter().for_each(|(unit, record)| of.entry(unit).or_default().push((host, record)));
        }
        let mut states: FxHashMap<_, Vec<_>> = FxHashMap::default();
        for (host, record) in &world.hosts {
            for report in &record.instances {
                states.entry(&report.unit).or_default().push((host, (report.revision, report.state)));
            }
        }
        Self { world, before, lost, states, holders: holders(world) }
    }

    /// How many copies a unit shall have.
    pub(crate) fn copies(&self, unit: &UnitId, record: &UnitRecord) -> usize {
        match record.spec.scale() {
            _ if self.holders.contains_key(unit) => 0,
            Scale::Replicas(n) => n as usize,
            Scale::PerHost => usize::MAX,
            Scale::Follow(follow) => {
                let before = || self.world.planned(unit).map(|planned| planned.wanted);
                let told = self.world.scales.get(unit).copied().or_else(before);
                told.map_or(follow.first(), |copies| follow.within(copies)) as usize
            }
        }
    }

    /// Whether nobody calls instances of `unit` any more: all that it is a part of run as they are now, and no older.
    fn is_merged(&self, unit: &UnitId, depth: usize) -> bool {
        let Some(holders) = self.holders.get(unit) else { return false };
        holders.iter().all(|holder| {
            let Some(record) = self.world.apps.get(&holder.app).and_then(|app| app.units.get(&holder.unit)) else {
                return true;
            };
            if self.holders.contains_key(holder) {
                return depth > 0 && self.is_merged(holder, depth - 1);
            }
            let states = self.states.get(holder).map_or(&[][..], Vec::as_slice);
            let absent = self.copies(holder, record) == 0 && states.is_empty();
            let serves = states.iter().any(|(_, (_, state))| state.takes_calls());
            absent || (serves && states.iter().all(|(_, (revision, _))| *revision == record.revision))
        })
    }

    pub(crate) fn before(&self, unit: &UnitId) -> &[(&'w HostId, &'w UnitRecord)] {
        self.before.get(unit).map_or(&[], Vec::as_slice)
    }

    /// What `host` was given of a unit.
    pub(crate) fn had(&self, unit: &UnitId, host: &HostId) -> Option<&'w UnitRecord> {
        on(host, self.before(unit)).next().copied()
    }

    fn state(&self, unit: &UnitId, host: &HostId, revision: u64) -> Option<InstanceState> {
        let mut here = on(host, self.states.get(unit)?);
        here.find(|(known, _)| *known == revision).map(|(_, state)| *state)
    }

    pub(crate) fn serves(&self, unit: &UnitId, host: &HostId, revision: u64) -> bool {
        self.state(unit, host, revision).is_some_and(InstanceState::takes_calls)
    }

    /// Whether a copy of the newest revision, which is `revision`, takes calls, has nothing to complain of, and has done so for long
    /// enough.
    pub(crate) fn is_done(&self, unit: &UnitId, host: &HostId, revision: u64) -> bool {
        let young = || !self.world.young.is_empty() && self.world.young.contains(&(unit.clone(), host.clone()));
        self.state(unit, host, revision) == Some(InstanceState::Ready) && !young()
    }

    /// A copy of `revision` that takes no calls, in words.
    pub(crate) fn unready(&self, unit: &UnitId, revision: u64) -> Option<String> {
        let reports =
            self.world.hosts.values().flat_map(|host| host.instances.iter().map(move |report| (host, report)));
        let mut of_unit = reports.filter(|(_, report)| report.unit == *unit && report.revision == revision);
        let (host, report) = of_unit.find(|(_, report)| report.state != InstanceState::Ready)?;
        let reason = report.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        Some(format!("{} on host {}{reason}", report.state, host.host.short()))
    }

    pub(crate) fn silent(&self, host: &HostId) -> bool {
        !self.world.hosts.contains_key(host)
    }

    /// The hosts on which the unit stays, as far as they are looked at one by one: of those that it was planned for, when there
    /// are too many, live ones that serve.
    fn keep(&self, unit: &UnitId, record: &UnitRecord, field: &Field<'w>) -> BTreeSet<HostId> {
        let may_stay = |host: &HostId| match self.world.hosts.get(host) {
            Some(live) => !live.leaving && cannot_run(&record.spec, live).is_none(),
            // Its labels may be out of date or unknown; it is judged when it speaks again.
            None => true,
        };
        let mut hosts: Vec<_> = self.before(unit).iter().map(|(host, _)| *host).filter(|h| may_stay(h)).collect();
        let most = self.copies(unit, record);
        let home: BTreeSet<_> = self.world.planned(unit).into_iter().flat_map(|planned| &planned.hosts).collect();
        if hosts.iter().any(|host| home.contains(*host)) {
            hosts.retain(|host| home.contains(*host));
        }
        hosts.sort_by_cached_key(|host| {
            (self.silent(host), !self.serves(unit, host, record.revision), rank(unit, host))
        });
        field.evenly(&record.spec, hosts, most).into_iter().cloned().collect()
    }

    /// The lost hosts that keep the unit, as it was, because there are not enough others.
    fn left_behind(
        &self,
        unit: &UnitId,
        record: &UnitRecord,
        home: &BTreeSet<HostId>,
    ) -> Vec<(&'w HostId, &'w UnitRecord)> {
        let short = self.copies(unit, record).saturating_sub(home.len());
        self.lost.get(unit).into_iter().flatten().take(short).copied().collect()
    }

    /// The copies that are not in `home` and stay until those in `home` take their place.
    fn leaving(
        &self,
        unit: &UnitId,
        record: &UnitRecord,
        home: &BTreeSet<HostId>,
    ) -> Vec<(&'w HostId, &'w UnitRecord)> {
        let mut old: Vec<_> = self.before(unit).iter().filter(|(host, _)| !home.contains(*host)).copied().collect();
        let copies = self.copies(unit, record);
        if self.holders.contains_key(unit) && !self.is_merged(unit, MAX_PARTS) {
            return old;
        }
        if old.is_empty() || copies == 0 {
            return Vec::new();
        }
        // A listener that cannot start may be kept from it by its own predecessor, on the same machine. That one
        // has to let go, or neither would ever end.
        let stuck = |host| self.state(unit, host, record.revision) == Some(InstanceState::Failed);
        if record.spec.listens_on().is_some() && home.iter().any(stuck) {
            return Vec::new();
        }
        // With no host to go to, what runs goes on.
        let goal = if home.is_empty() { copies } else { home.len() };
        // Also in the revision before, which a rollout leaves there for a while.
        let ready = home.iter().filter(|host| {
            let before = self.had(unit, host).map(|old| old.revision).filter(|before| *before != record.revision);
            self.serves(unit, host, record.revision) || before.is_some_and(|before| self.serves(unit, host, before))
        });
        let ready = ready.count();
        old.sort_by_cached_key(|(host, old)| (!self.serves(unit, host, old.revision), rank(unit, host)));
        old.truncate(goal.saturating_sub(ready));
        old
    }
}

/// What is of one host, in what is in the order of hosts.
fn on<'a, T>(host: &'a HostId, all: &'a [(&HostId, T)]) -> impl Iterator<Item = &'a T> {
    let first = all.partition_point(|(known, _)| *known < host);
    all[first..].iter().take_while(move |(known, _)| *known == host).map(|(_, of_host)| of_host)
}

fn empty_report(app: &AppRecord) -> PlanReport {
    PlanReport { version: 1, revision: app.revision, units: BTreeMap::new(), rollout: None }
}
