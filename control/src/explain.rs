//! Why units are where they are, in words.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::{
        app::{Scale, UnitRecord, UnitSpec},
        assignment::PlannedUnit,
        inventory::HostRecord,
    },
    wire::{HostId, UnitId},
};

use crate::{
    plan::{Draft, Home, World, units},
    rules::{Refusal, allows, cannot_take},
};

/// What a plan makes of one unit, host by host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    pub planned: PlannedUnit,
    /// All hosts that are known.
    pub hosts: Vec<(HostId, Reason)>,
}

/// Why a unit is on a host, or is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is there, and may stay.
    Stays,
    /// It is to come here.
    Placed,
    /// It is there until it takes calls elsewhere.
    LeavesLater(Option<Refusal>),
    Refused(Refusal),
    /// There are enough copies.
    Enough,
    /// Nothing is known of it now: it keeps what it has.
    Silent {
        runs: bool,
    },
}

/// Explains the places of the units that `which` names, in the plan of `world`.
pub fn explain(world: &World, which: impl Fn(&UnitId) -> bool) -> BTreeMap<UnitId, Explanation> {
    let units = units(world);
    let mut draft = Draft::new(world, &units);
    let homes = draft.settle_all(&units).into_iter().filter(|(unit, ..)| which(unit));
    homes.map(|(unit, record, home)| (unit.clone(), explain_one(&mut draft, unit, record, &home))).collect()
}

fn explain_one<'w>(draft: &mut Draft<'w>, unit: &UnitId, record: &'w UnitRecord, home: &Home<'w>) -> Explanation {
    let world = draft.facts.world;
    let planned = describe(draft, unit, record, home);
    let Home { hosts: home, leaving } = home;
    let before: BTreeSet<_> = draft.facts.before(unit).iter().map(|(host, _)| *host).collect();
    let runs = |host: &HostId| home.contains(host) || leaving.iter().any(|(leaves, _)| *leaves == host);
    let mut hosts = Vec::new();
    for host in world.hosts.keys() {
        let refusal = draft.field.explain(host, unit, &record.spec, home);
        let reason = match refusal {
            _ if home.contains(host) && before.contains(host) => Reason::Stays,
            _ if home.contains(host) => Reason::Placed,
            refusal if runs(host) => Reason::LeavesLater(refusal),
            Some(refusal) => Reason::Refused(refusal),
            None => Reason::Enough,
        };
        hosts.push((host.clone(), reason));
    }
    hosts.extend(world.silent.keys().map(|host| (host.clone(), Reason::Silent { runs: runs(host) })));
    Explanation { planned, hosts }
}

/// What there is to say of a unit that is planned to be in `home`.
pub(crate) fn describe<'w>(
    draft: &mut Draft<'w>,
    unit: &UnitId,
    record: &'w UnitRecord,
    home: &Home<'w>,
) -> PlannedUnit {
    let Home { hosts: home, leaving } = home;
    let copies = draft.facts.copies(unit, record);
    if copies == 0 {
        return PlannedUnit::default();
    }
    let world = draft.facts.world;
    let wanted = match record.spec.scale() {
        Scale::Replicas(_) | Scale::Follow(_) if home.is_empty() => copies,
        Scale::PerHost if home.is_empty() => 1,
        _ => {
            let cannot = |host| cannot_take(&record.spec, host, &world.signers).is_some();
            let takes = |host: &&HostId| world.hosts.get(*host).is_some_and(|host| !cannot(host));
            let elsewhere = home.iter().filter(|host| !takes(host)).count();
            copies.min(draft.field.eligible(&record.spec) + elsewhere)
        }
    };
    let problem = (wanted > home.len()).then(|| {
        let mut problem = match (home.len(), draft.over_quota(unit, record)) {
            (placed, Some(quota)) => format!("{placed} of {wanted} copies have a place: {quota} is used up"),
            (0, None) => nowhere(draft, unit, &record.spec),
            (placed, None) => {
                format!("{placed} of {wanted} copies have a place: {}", refusals(draft, unit, &record.spec, home))
            }
        };
        if !leaving.is_empty() {
            let on: Vec<_> = leaving.iter().map(|(host, _)| host.short()).collect();
            problem += &format!("; until one has, it stays on {}", on.join(", "));
        }
        problem
    });
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    PlannedUnit { wanted: number(wanted), hosts: home.iter().cloned().collect(), problem }
}

/// How many hosts are told of: enough to see the mistake.
const SHOWN_HOSTS: usize = 8;

/// Why nothing of a unit has a place.
fn nowhere<'w>(draft: &mut Draft<'w>, unit: &UnitId, spec: &'w UnitSpec) -> String {
    let world = draft.facts.world;
    if world.hosts.is_empty() {
        return "no host is alive".to_owned();
    }
    let suited = |host: &&HostRecord| spec.program().is_none() || host.programs;
    let suited: Vec<_> = world.hosts.values().filter(suited).collect();
    if suited.is_empty() {
        return "no live host runs programs; start one with --allow-programs".to_owned();
    }
    let require = &spec.placement().require;
    if suited.iter().any(|host| allows(require, &host.labels)) {
        return format!("no host that could run it takes it: {}", refusals(draft, unit, spec, &BTreeSet::new()));
    }
    let asked: Vec<_> = require.iter().map(|(label, values)| format!("{label}={}", values.join(" or "))).collect();
    let have = suited.iter().take(SHOWN_HOSTS).map(|host| {
        let labels: Vec<_> = host.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        let labels = if labels.is_empty() { "none".to_owned() } else { labels.join(" ") };
        format!("{} {labels}", host.host.short())
    });
    let have: Vec<_> = have.collect();
    let (who, whose) = match spec.program() {
        None => ("no live host", "labels of hosts are"),
        Some(_) => ("no live host that runs programs", "labels of those that run them are"),
    };
    let asked = asked.join(" and ");
    format!("{who} has {asked}; {whose}: {}{}", have.join(", "), more(suited.len()))
}

/// What keeps the hosts that have the labels from taking a copy.
fn refusals<'w>(draft: &mut Draft<'w>, unit: &UnitId, spec: &'w UnitSpec, home: &BTreeSet<HostId>) -> String {
    let world: &World = draft.facts.world;
    let suited = world.hosts.values().filter(|host| allows(&spec.placement().require, &host.labels));
    let suited: Vec<_> = suited.filter(|host| !home.contains(&host.host)).collect();
    let shown = suited.iter().take(SHOWN_HOSTS).filter_map(|host| {
        let refusal = draft.field.explain(&host.host, unit, spec, home)?;
        Some(format!("{} {refusal}", host.host.short()))
    });
    let shown: Vec<_> = shown.collect();
    shown.join(", ") + &more(suited.len())
}

fn more(hosts: usize) -> String {
    match hosts.saturating_sub(SHOWN_HOSTS) {
        0 => String::new(),
        more => format!(" and {more} hosts more"),
    }
}
