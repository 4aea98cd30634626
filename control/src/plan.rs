//! The plan: which host runs which units. Pure: the same world gives the same plan, whoever makes it and whenever.
//!
//! - `Replicas(n)`: one copy on each of n hosts that the placement allows. Where there are fewer hosts, one copy on
//!   each of them is all that is wanted: an instance serves many calls at a time, so that a second one on the same
//!   host would add nothing. It is a problem only when no host is allowed.
//! - `PerHost`: one copy on every allowed host.
//! - A program of the user's own goes only to hosts that run programs.
//! - What is placed stays where it is while it may. A new host gets what is short of copies, and nothing else moves.
//! - Make before break: when a unit must leave a host that lives, the copy there stays until its successors take calls.
//! - What is fused into other components runs in their instances and has none of its own. Copies that it had stay until all
//!   of these components serve as they are now.
//! - A host that leaves keeps what it has until others have it, and gets nothing more.
//! - A silent host (see [`World::silent`]) keeps what it has, and gets nothing more.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::{
        app::{AppRecord, Scale, UnitRecord, UnitSpec},
        assignment::{PlanReport, PlannedUnit},
        inventory::{HostRecord, InstanceState},
    },
    wire::{AppName, HostId, UnitId, UnitName},
};

use crate::placement::{Field, allows, may_run, rank};

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
    /// Hosts of which it is not known whether they are alive. A host that is neither here nor in `hosts` is lost.
    pub silent: BTreeSet<HostId>,
    /// The plan before.
    pub assigned: Assigned,
}

/// What each host shall run, and what there is to say about each app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Every host that the world mentions is here; a lost one with nothing to run.
    pub units: Assigned,
    pub reports: BTreeMap<AppName, PlanReport>,
}

/// Plans `world`.
pub fn plan(world: &World) -> Plan {
    let units = units(world);
    let facts = Facts::of(world);
    let mut field = Field::new(&world.hosts);
    let mut homes: BTreeMap<&UnitId, BTreeSet<HostId>> = BTreeMap::new();
    // All that stays is known before anything is placed: new copies go where the load is least in the end.
    for (unit, record) in &units {
        let kept = facts.keep(unit, record);
        kept.iter().for_each(|host| field.take(host, &record.spec));
        homes.insert(unit, kept);
    }
    let mut plan = Plan::default();
    for host in world.hosts.keys().chain(&world.silent).chain(world.assigned.keys()) {
        plan.units.entry(host.clone()).or_default();
    }
    for (unit, record) in &units {
        let mut home = homes.remove(unit).unwrap_or_default();
        let short = facts.copies(unit, record).saturating_sub(home.len());
        for host in field.choose(unit, &record.spec, &home, short) {
            field.take(&host, &record.spec);
            home.insert(host);
        }
        let leaving = facts.leaving(unit, record, &home);
        if let Some(app) = world.apps.get(&unit.app) {
            let planned = match facts.copies(unit, record) {
                0 => PlannedUnit::default(),
                _ => describe(world, record, &home, &leaving),
            };
            let report = plan.reports.entry(unit.app.clone()).or_insert_with(|| empty_report(app));
            report.units.insert(unit.unit.clone(), planned);
        }
        let stays = leaving.into_iter().map(|(host, old)| (host.clone(), old.clone()));
        for (host, record) in home.into_iter().map(|host| (host, (*record).clone())).chain(stays) {
            plan.units.entry(host).or_default().insert(unit.clone(), record);
        }
    }
    for (name, app) in &world.apps {
        plan.reports.entry(name.clone()).or_insert_with(|| empty_report(app));
    }
    plan
}

/// All units that shall run. Those of unreadable apps are taken from the assignments, which hold whole records.
fn units(world: &World) -> BTreeMap<UnitId, &UnitRecord> {
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
    let mut holders = BTreeMap::new();
    for app in world.apps.values() {
        let of = |unit: &UnitName| app.fused_into(unit).into_iter().map(|h| UnitId::new(app.name.clone(), h.clone()));
        let all = app.units.keys().map(|unit| (UnitId::new(app.name.clone(), unit.clone()), of(unit).collect()));
        holders.extend(all.filter(|(_, its): &(_, Vec<_>)| !its.is_empty()));
    }
    holders
}

/// The world, ordered by what a plan asks of it.
struct Facts<'w> {
    world: &'w World,
    /// Where each unit was assigned, hosts that are lost left out.
    before: BTreeMap<&'w UnitId, Vec<(&'w HostId, &'w UnitRecord)>>,
    states: BTreeMap<(&'w UnitId, &'w HostId, u64), InstanceState>,
    /// For each unit that is a part of others, these.
    holders: BTreeMap<UnitId, Vec<UnitId>>,
}

/// Deeper than parts of parts can be: circles are refused before they are written.
const MAX_PARTS: usize = 16;

impl<'w> Facts<'w> {
    fn of(world: &'w World) -> Self {
        let mut before: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (host, units) in &world.assigned {
            if world.hosts.contains_key(host) || world.silent.contains(host) {
                units.iter().for_each(|(unit, record)| before.entry(unit).or_default().push((host, record)));
            }
        }
        let states = world.hosts.iter().flat_map(|(id, host)| {
            host.instances.iter().map(move |report| ((&report.unit, id, report.revision), report.state))
        });
        Self { world, before, states: states.collect(), holders: holders(world) }
    }

    /// How many copies a unit shall have.
    fn copies(&self, unit: &UnitId, record: &UnitRecord) -> usize {
        match record.spec.scale() {
            _ if self.holders.contains_key(unit) => 0,
            Scale::Replicas(n) => n as usize,
            Scale::PerHost => usize::MAX,
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
            let mut states = self.states.iter().filter(|((unit, ..), _)| *unit == holder).peekable();
            let absent = self.copies(holder, record) == 0 && states.peek().is_none();
            let serves = states.clone().any(|(_, state)| state.takes_calls());
            absent || (serves && states.all(|((_, _, revision), _)| *revision == record.revision))
        })
    }

    fn before(&self, unit: &UnitId) -> &[(&'w HostId, &'w UnitRecord)] {
        self.before.get(unit).map_or(&[], Vec::as_slice)
    }

    fn state(&self, unit: &UnitId, host: &HostId, revision: u64) -> Option<InstanceState> {
        self.states.get(&(unit, host, revision)).copied()
    }

    fn serves(&self, unit: &UnitId, host: &HostId, revision: u64) -> bool {
        self.state(unit, host, revision).is_some_and(InstanceState::takes_calls)
    }

    fn silent(&self, host: &HostId) -> bool {
        !self.world.hosts.contains_key(host)
    }

    /// The hosts on which the unit stays. When there are too many, live ones that serve go before others.
    fn keep(&self, unit: &UnitId, record: &UnitRecord) -> BTreeSet<HostId> {
        let may_stay = |host: &HostId| match self.world.hosts.get(host) {
            Some(live) => !live.leaving && may_run(&record.spec, live),
            // Its labels may be out of date or unknown; it is judged when it speaks again.
            None => true,
        };
        let mut hosts: Vec<_> = self.before(unit).iter().map(|(host, _)| *host).filter(|h| may_stay(h)).collect();
        let most = self.copies(unit, record);
        if hosts.len() > most {
            hosts.sort_by_cached_key(|host| {
                (self.silent(host), !self.serves(unit, host, record.revision), rank(unit, host))
            });
            hosts.truncate(most);
        }
        hosts.into_iter().cloned().collect()
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
        let ready = home.iter().filter(|host| self.serves(unit, host, record.revision)).count();
        old.sort_by_cached_key(|(host, old)| (!self.serves(unit, host, old.revision), rank(unit, host)));
        old.truncate(goal.saturating_sub(ready));
        old
    }
}

fn empty_report(app: &AppRecord) -> PlanReport {
    PlanReport { version: 1, revision: app.revision, units: BTreeMap::new() }
}

fn describe(
    world: &World,
    record: &UnitRecord,
    home: &BTreeSet<HostId>,
    leaving: &[(&HostId, &UnitRecord)],
) -> PlannedUnit {
    let hosts: Vec<_> = home.iter().cloned().collect();
    let placed = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
    let wanted = match record.spec.scale() {
        Scale::Replicas(n) if placed == 0 => n,
        Scale::PerHost if placed == 0 => 1,
        _ => placed,
    };
    let problem = (wanted > placed).then(|| {
        let mut problem = nowhere(world, &record.spec);
        if !leaving.is_empty() {
            let on: Vec<_> = leaving.iter().map(|(host, _)| host.short()).collect();
            problem += &format!("; until one has, it stays on {}", on.join(", "));
        }
        problem
    });
    PlannedUnit { wanted, hosts, problem }
}

/// Hosts whose labels are told when none fits: enough to see the mistake.
const SHOWN_HOSTS: usize = 8;

fn nowhere(world: &World, spec: &UnitSpec) -> String {
    if world.hosts.is_empty() {
        return "no host is alive".to_owned();
    }
    let suited = |host: &&HostRecord| spec.program().is_none() || host.programs;
    let suited: Vec<_> = world.hosts.values().filter(suited).collect();
    if suited.is_empty() {
        return "no live host runs programs; start one with --allow-programs".to_owned();
    }
    let placement = spec.placement();
    if suited.iter().any(|host| allows(placement, &host.labels)) {
        return "the hosts that could run it are leaving".to_owned();
    }
    let asked: Vec<_> =
        placement.require.iter().map(|(label, values)| format!("{label}={}", values.join(" or "))).collect();
    let have = suited.iter().take(SHOWN_HOSTS).map(|host| {
        let labels: Vec<_> = host.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(" ") };
        format!("{} {labels}", host.host.short())
    });
    let mut have = have.collect::<Vec<_>>().join(", ");
    if let Some(more) = suited.len().checked_sub(SHOWN_HOSTS).filter(|more| *more > 0) {
        have += &format!(" and {more} hosts more");
    }
    let (who, whose) = match spec.program() {
        Some(_) => ("no live host that runs programs", "of those that run them"),
        None => ("no live host", "of hosts"),
    };
    format!("{who} has {}; labels {whose} are: {have}", asked.join(" and "))
}
