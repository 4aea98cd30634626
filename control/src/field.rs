//! The live hosts while a plan is made: what each has taken, and which is the best for one copy more.
//!
//! Units that ask for the same are of one [`Kind`]. For each kind the hosts that may take it are kept in order, so that
//! a copy finds its host without a look at all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::{Peekable, successors},
    ops::Bound::{Excluded, Unbounded},
};

use lattice::{
    model::{
        app::UnitSpec,
        inventory::HostRecord,
        placement::{Labels, Spread},
    },
    wire::{HostId, UnitId},
};
use rustc_hash::FxHashMap;

use crate::{
    plan::World,
    rules::{Load, Refusal, allows, cannot_take},
};

pub(crate) struct Field<'w> {
    world: &'w World,
    seats: Vec<Seat<'w>>,
    index: FxHashMap<&'w HostId, usize>,
    groups: Vec<Group<'w>>,
    kinds: BTreeMap<Kind<'w>, usize>,
    /// Who listens on an address, with how many units.
    listeners: BTreeMap<&'w str, BTreeMap<usize, usize>>,
    /// The units that are kept apart from any, or any from them. The others' places need not be known.
    choosy: BTreeSet<UnitId>,
    /// Whether any host runs only what is signed.
    signed_only: bool,
}

/// A live host.
struct Seat<'w> {
    record: &'w HostRecord,
    point: u64,
    load: Load,
    /// The choosy units here.
    here: BTreeSet<UnitId>,
    /// Units that must not come here, and those here that do not want them.
    shunned: BTreeMap<UnitId, BTreeSet<UnitId>>,
    /// Its places in the groups' orders: group, domain, and how many preferences it does not meet.
    places: Vec<(usize, usize, usize)>,
}

/// What decides which hosts may take a unit, and in which order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind<'w> {
    program: bool,
    require: &'w Labels,
    prefer: &'w Labels,
    tolerate: &'w BTreeSet<String>,
    spread: Option<&'w str>,
    /// Who has signed each of its artifacts.
    signers: BTreeSet<&'w BTreeSet<String>>,
}

/// The hosts that may take units of one kind, by the value of the label over which these are spread.
struct Group<'w> {
    domains: Vec<(&'w str, BTreeSet<Place>)>,
    /// Values of hosts that are silent: copies may be there, and none is given to them.
    silent: BTreeSet<&'w str>,
    hosts: usize,
}

/// A host in the order of its group. First those that meet more preferences, then those with fewer units. Ties go by a ring of
/// hashes, on which each unit begins at a point of its own: different units choose differently and the same unit always
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    missing: usize,
    units: u64,
    point: u64,
    at: usize,
}

impl<'w> Field<'w> {
    pub(crate) fn new<'u>(world: &'w World, specs: impl Iterator<Item = (&'u UnitId, &'u UnitSpec)>) -> Self {
        let mut choosy = BTreeSet::new();
        for (unit, spec) in specs.filter(|(_, spec)| !spec.placement().apart.is_empty()) {
            choosy.insert(unit.clone());
            choosy.extend(spec.placement().apart.iter().cloned());
        }
        let seat = |record: &'w HostRecord| Seat {
            record,
            point: mix(hash(record.host.as_str())),
            load: Load::default(),
            here: BTreeSet::new(),
            shunned: BTreeMap::new(),
            places: Vec::new(),
        };
        Self {
            world,
            seats: world.hosts.values().map(seat).collect(),
            index: world.hosts.keys().enumerate().map(|(at, id)| (id, at)).collect(),
            groups: Vec::new(),
            kinds: BTreeMap::new(),
            listeners: BTreeMap::new(),
            choosy,
            signed_only: world.hosts.values().any(|host| !host.trusts.is_empty()),
        }
    }

    /// Notes that `host` runs `unit`. Hosts that are not live carry no load that matters.
    pub(crate) fn take(&mut self, host: &HostId, unit: &UnitId, spec: &'w UnitSpec) {
        let Some(at) = self.index.get(host).copied() else { return };
        self.reorder(at, |load| load.add(spec));
        let seat = &mut self.seats[at];
        if self.choosy.contains(unit) {
            seat.here.insert(unit.clone());
            for other in spec.placement().apart.iter().filter(|other| *other != unit) {
                seat.shunned.entry(other.clone()).or_default().insert(unit.clone());
            }
        }
        if let Some(address) = spec.listens_on() {
            *self.listeners.entry(address).or_default().entry(at).or_default() += 1;
        }
    }

    /// Notes that `host` runs `unit` no more.
    fn release(&mut self, host: &HostId, unit: &UnitId, spec: &'w UnitSpec) {
        let Some(at) = self.index.get(host).copied() else { return };
        self.reorder(at, |load| load.remove(spec));
        let seat = &mut self.seats[at];
        if seat.here.remove(unit) {
            seat.shunned.values_mut().for_each(|by| drop(by.take(unit)));
            seat.shunned.retain(|_, by| !by.is_empty());
        }
        if let Some(here) = spec.listens_on().and_then(|address| self.listeners.get_mut(address)) {
            here.entry(at).and_modify(|count| *count -= 1);
            here.retain(|_, count| *count > 0);
        }
    }

    /// Changes the load of a seat, and its places with it.
    fn reorder(&mut self, at: usize, change: impl FnOnce(&mut Load)) {
        let seat = &mut self.seats[at];
        let before = seat.load.units;
        change(&mut seat.load);
        for (group, domain, missing) in &seat.places {
            let order = &mut self.groups[*group].domains[*domain].1;
            let place = Place { missing: *missing, units: before, point: seat.point, at };
            order.remove(&place);
            order.insert(Place { units: seat.load.units, ..place });
        }
    }

    /// What makes `unit` too much where it is, on `host`; nothing is known of hosts that are not live.
    pub(crate) fn crowds(&self, host: &HostId, unit: &UnitId, spec: &UnitSpec) -> Option<Refusal> {
        let seat = &self.seats[*self.index.get(host)?];
        let mut others = seat.load;
        others.remove(spec);
        seat.refuses(unit, spec, &others)
    }

    /// How many hosts may take a unit, if they had room.
    pub(crate) fn eligible(&mut self, spec: &'w UnitSpec) -> usize {
        let group = self.group(spec);
        self.groups[group].hosts
    }

    fn may_take(&self, spec: &UnitSpec, seat: &Seat<'_>) -> bool {
        cannot_take(spec, seat.record, &self.world.signers).is_none()
    }

    fn group(&mut self, spec: &'w UnitSpec) -> usize {
        let placement = spec.placement();
        let kind = Kind {
            program: spec.program().is_some(),
            require: &placement.require,
            prefer: &placement.prefer,
            tolerate: &placement.tolerate,
            spread: placement.spread.as_ref().map(|spread| spread.label.as_str()),
            signers: match self.signed_only {
                true => spec.artifacts().iter().map(|digest| self.world.signers.of(digest)).collect(),
                false => BTreeSet::new(),
            },
        };
        if let Some(group) = self.kinds.get(&kind) {
            return *group;
        }
        let number = self.groups.len();
        let mut domains: BTreeMap<&str, BTreeSet<Place>> = BTreeMap::new();
        let mut members = Vec::new();
        for (at, seat) in self.seats.iter().enumerate().filter(|(_, seat)| self.may_take(spec, seat)) {
            let missing = kind.prefer.len() - met(kind.prefer, &seat.record.labels);
            let domain = domain(kind.spread, &seat.record.labels);
            let place = Place { missing, units: seat.load.units, point: seat.point, at };
            domains.entry(domain).or_default().insert(place);
            members.push((at, domain, missing));
        }
        let names: Vec<_> = domains.keys().copied().collect();
        for (at, domain, missing) in &members {
            if let Ok(domain) = names.binary_search(domain) {
                self.seats[*at].places.push((number, domain, *missing));
            }
        }
        let silent = self.world.silent.values().filter(|labels| allows(kind.require, labels));
        self.groups.push(Group {
            domains: domains.into_iter().collect(),
            silent: silent.map(|labels| domain(kind.spread, labels)).collect(),
            hosts: members.len(),
        });
        self.kinds.insert(kind, number);
        number
    }

    /// The best `count` hosts for new copies of `unit` beside those in `home`, fewer when there are not so many.
    ///
    /// First come those in `there`, which have it already, then hosts that listen on the unit's address: one listener serves
    /// several apps, while two hosts on one machine cannot both have the address. Then the value of the label with the fewest copies, where they are spread;
    /// there the first of its order.
    pub(crate) fn choose(
        &mut self,
        unit: &UnitId,
        spec: &'w UnitSpec,
        home: &BTreeSet<HostId>,
        there: &[&HostId],
        count: usize,
    ) -> Vec<HostId> {
        if count == 0 {
            return Vec::new();
        }
        let group = self.group(spec);
        let of_unit = hash_unit(unit);
        let may = |field: &Self, at: usize| {
            let seat = &field.seats[at];
            let host = &seat.record.host;
            !home.contains(host) && seat.refuses(unit, spec, &seat.load).is_none()
        };
        let address = spec.listens_on().and_then(|address| self.listeners.get(address));
        let there = there.iter().filter_map(|host| self.index.get(host));
        let there = there.filter(|at| self.may_take(spec, &self.seats[**at]) && may(self, **at));
        let there: Vec<_> = there.copied().collect();
        let beside = address.into_iter().flat_map(BTreeMap::keys);
        let beside = beside.filter(|at| self.may_take(spec, &self.seats[**at]));
        let beside = beside.filter(|at| !there.contains(at) && may(self, **at));
        let mut beside: Vec<_> = beside.copied().collect();
        beside.sort_by_cached_key(|at| (self.seats[*at].load.units, mix(of_unit ^ self.seats[*at].point)));

        let spread = spec.placement().spread.as_ref();
        let group = &self.groups[group];
        let mut counts = self.copies(spread, home.iter());
        let mut chosen = Vec::new();
        for at in there.into_iter().chain(beside) {
            let name = domain(spread.map(|spread| spread.label.as_str()), &self.seats[at].record.labels);
            if chosen.len() < count && spread.is_none_or(|spread| skewed(name, &counts, spread, group).is_none()) {
                *counts.entry(name).or_default() += 1;
                chosen.push(at);
            }
        }
        let taken = chosen.clone();
        let mut domains: Vec<_> = group
            .domains
            .iter()
            .map(|(name, order)| {
                let free = in_order(order, of_unit).filter(|place| !taken.contains(&place.at) && may(self, place.at));
                (*name, free.peekable())
            })
            .collect();
        while chosen.len() < count {
            let Some(next) = best(&mut domains, &counts, spread, group, of_unit) else { break };
            let (name, places) = &mut domains[next];
            let Some(place) = places.next() else { break };
            *counts.entry(name).or_default() += 1;
            chosen.push(place.at);
        }
        chosen.into_iter().map(|at| self.seats[at].record.host.clone()).collect()
    }

    /// How many of `hosts` have each value of the label.
    fn copies<'h>(&self, spread: Option<&Spread>, hosts: impl Iterator<Item = &'h HostId>) -> BTreeMap<&'w str, u64> {
        let mut counts = BTreeMap::new();
        for host in hosts {
            let live = self.index.get(host).map(|at| &self.seats[*at].record.labels);
            let Some(labels) = live.or_else(|| self.world.silent.get(host)) else { continue };
            *counts.entry(domain(spread.map(|spread| spread.label.as_str()), labels)).or_default() += 1;
        }
        counts
    }

    /// Moves a copy from `host`, which it [crowds](Self::crowds), to another one, if there is one.
    pub(crate) fn relieve(
        &mut self,
        host: &HostId,
        unit: &UnitId,
        spec: &'w UnitSpec,
        home: &mut BTreeSet<HostId>,
    ) -> bool {
        home.remove(host);
        self.release(host, unit, spec);
        let chosen = self.choose(unit, spec, home, &[], 1).pop();
        let moves = chosen.is_some();
        let to = chosen.unwrap_or_else(|| host.clone());
        self.take(&to, unit, spec);
        home.insert(to);
        moves
    }

    /// Moves one copy from the value of the label that has the most to another one, when the skew is too great.
    ///
    /// `worst` says which copy of several goes: the one that is greatest by it.
    pub(crate) fn level<R: Ord>(
        &mut self,
        unit: &UnitId,
        spec: &'w UnitSpec,
        home: &mut BTreeSet<HostId>,
        worst: impl Fn(&HostId) -> R,
    ) -> bool {
        let Some(spread) = spec.placement().spread.as_ref() else { return false };
        // Where a silent host is, and whether it runs anything, will be known when it speaks again.
        let Some(most) = spread.max_skew.filter(|_| home.iter().all(|host| self.index.contains_key(host))) else {
            return false;
        };
        let group = self.group(spec);
        let counts = self.copies(Some(spread), home.iter());
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        let least = self.groups[group].domains.iter().map(|(name, _)| count(name)).min();
        let fullest = counts.iter().max_by_key(|(_, count)| **count).map(|(name, count)| (*name, *count));
        let (Some(least), Some((name, has))) = (least, fullest) else { return false };
        if has <= least + u64::from(most.max(1)) {
            return false;
        }
        let there = home.iter().filter(|host| self.domain(spec, host) == Some(name));
        let Some(leaves) = there.max_by_key(|host| worst(host)).cloned() else { return false };
        let to = self.choose(unit, spec, home, &[], 1).pop();
        let better = to.filter(|to| self.domain(spec, to).is_some_and(|name| count(name) + 1 < has));
        let Some(to) = better else { return false };
        self.release(&leaves, unit, spec);
        self.take(&to, unit, spec);
        home.remove(&leaves);
        home.insert(to)
    }

    /// The `count` of `hosts` that are spread best, in their order where that makes no difference.
    pub(crate) fn evenly<'h>(&self, spec: &UnitSpec, mut hosts: Vec<&'h HostId>, count: usize) -> Vec<&'h HostId> {
        if spec.placement().spread.is_some() && hosts.len() > count {
            let mut counts: BTreeMap<_, u64> = BTreeMap::new();
            for at in 0..count {
                let there = |(_, host): &(usize, &&HostId)| counts.get(&self.domain(spec, host)).copied();
                let Some((best, _)) = hosts.iter().enumerate().skip(at).min_by_key(there) else { break };
                hosts[at..=best].rotate_right(1);
                *counts.entry(self.domain(spec, hosts[at])).or_default() += 1;
            }
        }
        hosts.truncate(count);
        hosts
    }

    /// The value that `host` has of the label over which a unit is spread.
    pub(crate) fn domain(&self, spec: &UnitSpec, host: &HostId) -> Option<&'w str> {
        let label = spec.placement().spread.as_ref().map(|spread| spread.label.as_str());
        self.index.get(host).map(|at| domain(label, &self.seats[*at].record.labels))
    }

    fn skew(&mut self, host: &HostId, spec: &'w UnitSpec, home: &BTreeSet<HostId>) -> Option<Refusal> {
        let spread = spec.placement().spread.as_ref()?;
        let group = self.group(spec);
        let counts = self.copies(Some(spread), home.iter());
        skewed(self.domain(spec, host)?, &counts, spread, &self.groups[group])
    }

    /// What keeps `host` from taking one copy more of a unit that has those in `home`.
    pub(crate) fn explain(
        &mut self,
        host: &HostId,
        unit: &UnitId,
        spec: &'w UnitSpec,
        home: &BTreeSet<HostId>,
    ) -> Option<Refusal> {
        let seat = &self.seats[*self.index.get(host)?];
        let alone =
            cannot_take(spec, seat.record, &self.world.signers).or_else(|| seat.refuses(unit, spec, &seat.load));
        alone.or_else(|| self.skew(host, spec, home))
    }
}

impl Seat<'_> {
    /// What keeps `unit` from coming beside what is here; `load` is what that takes.
    fn refuses(&self, unit: &UnitId, spec: &UnitSpec, load: &Load) -> Option<Refusal> {
        let beside = || spec.placement().apart.iter().find(|other| *other != unit && self.here.contains(*other));
        let shuns = || self.shunned.get(unit).and_then(|by| by.first());
        let full = load.is_full(spec, &self.record.capacity);
        full.or_else(|| beside().or_else(shuns).cloned().map(Refusal::Apart))
    }
}

/// The domain whose next host gets a copy.
fn best<I: Iterator<Item = Place>>(
    domains: &mut [(&str, Peekable<I>)],
    counts: &BTreeMap<&str, u64>,
    spread: Option<&Spread>,
    group: &Group<'_>,
    of_unit: u64,
) -> Option<usize> {
    let mut best = None;
    for (at, (name, places)) in domains.iter_mut().enumerate() {
        let Some(place) = places.peek() else { continue };
        if spread.is_some_and(|spread| skewed(name, counts, spread, group).is_some()) {
            continue;
        }
        let count = counts.get(name).copied().unwrap_or(0);
        let rank = (count, place.missing, place.units, mix(of_unit ^ hash(name)), at);
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    best.map(|(.., at)| at)
}

/// What keeps one copy more from the hosts with this value.
fn skewed(name: &str, counts: &BTreeMap<&str, u64>, spread: &Spread, group: &Group<'_>) -> Option<Refusal> {
    let most = spread.max_skew?;
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let all = group.domains.iter().map(|(name, _)| *name).chain(group.silent.iter().copied());
    let least = all.map(count).min()?;
    (count(name) + 1 > least + u64::from(most.max(1))).then(|| Refusal::Skew {
        label: spread.label.clone(),
        value: name.to_owned(),
        has: count(name),
        least,
        most,
    })
}

fn in_order(order: &BTreeSet<Place>, of_unit: u64) -> impl Iterator<Item = Place> {
    let level = |place: Option<&Place>| place.map(|place| (place.missing, place.units));
    let levels = successors(level(order.first()), move |(missing, units)| {
        let end = Place { missing: *missing, units: *units, point: u64::MAX, at: usize::MAX };
        level(order.range((Excluded(end), Unbounded)).next())
    });
    levels.flat_map(move |(missing, units)| {
        let begin = Place { missing, units, point: mix(of_unit), at: 0 };
        let (first, end) = (Place { point: 0, ..begin }, Place { point: u64::MAX, at: usize::MAX, ..begin });
        order.range(begin..=end).chain(order.range(first..begin)).copied()
    })
}

fn domain<'l>(label: Option<&str>, labels: &'l BTreeMap<String, String>) -> &'l str {
    label.and_then(|label| labels.get(label)).map_or("", String::as_str)
}

/// How many preferences a host meets.
fn met(prefer: &Labels, labels: &BTreeMap<String, String>) -> usize {
    prefer.iter().filter(|(label, values)| labels.get(*label).is_some_and(|have| values.contains(have))).count()
}

/// The place of `host` among those that could run `unit`: lower is better.
pub(crate) fn rank(unit: &UnitId, host: &HostId) -> u64 {
    mix(hash_unit(unit) ^ hash(host.as_str()))
}

fn hash_unit(unit: &UnitId) -> u64 {
    mix(hash(unit.app.as_str())) ^ hash(unit.unit.as_str())
}

/// FNV-1a. The standard library's hashers may change between releases, and two controllers of different releases
/// must choose the same hosts.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Spreads similar numbers far apart (the finalizer of SplitMix64).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
