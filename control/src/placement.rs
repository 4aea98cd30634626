//! Where copies go: the choice among live hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use lattice::{
    model::{
        app::{Placement, UnitSpec},
        inventory::HostRecord,
    },
    wire::{HostId, UnitId},
};

/// Whether a host with these labels may run what asks for this placement.
pub(crate) fn allows(placement: &Placement, labels: &BTreeMap<String, String>) -> bool {
    placement.require.iter().all(|(label, values)| labels.get(label).is_some_and(|have| values.contains(have)))
}

/// Whether a host may go on running this.
pub(crate) fn may_run(spec: &UnitSpec, host: &HostRecord) -> bool {
    allows(spec.placement(), &host.labels) && (spec.program().is_none() || host.programs)
}

/// Whether a host may be given a new copy of this.
pub fn may_take(spec: &UnitSpec, host: &HostRecord) -> bool {
    !host.leaving && may_run(spec, host)
}

/// The values that each label may have.
type Require = BTreeMap<String, Vec<String>>;

/// The live hosts while a plan is made.
pub(crate) struct Field<'w> {
    seats: Vec<Seat<'w>>,
    index: BTreeMap<&'w HostId, usize>,
    /// Units mostly ask for the same few placements, so each is looked up once; for programs and for all else.
    allowed: BTreeMap<(bool, &'w Require), Rc<[usize]>>,
}

struct Seat<'w> {
    record: &'w HostRecord,
    hash: u64,
    units: usize,
    addresses: BTreeSet<&'w str>,
}

impl<'w> Field<'w> {
    pub(crate) fn new(hosts: &'w BTreeMap<HostId, HostRecord>) -> Self {
        let seats = hosts
            .iter()
            .map(|(id, record)| Seat { record, hash: hash(id.as_str()), units: 0, addresses: BTreeSet::new() })
            .collect();
        let index = hosts.keys().enumerate().map(|(at, id)| (id, at)).collect();
        Self { seats, index, allowed: BTreeMap::new() }
    }

    /// Notes that `host` runs a unit. Hosts that are not live carry no load that matters.
    pub(crate) fn take(&mut self, host: &HostId, spec: &'w UnitSpec) {
        if let Some(seat) = self.index.get(host).and_then(|at| self.seats.get_mut(*at)) {
            seat.units += 1;
            seat.addresses.extend(spec.listens_on());
        }
    }

    fn allowed(&mut self, spec: &'w UnitSpec) -> Rc<[usize]> {
        let seats = &self.seats;
        self.allowed
            .entry((spec.program().is_some(), &spec.placement().require))
            .or_insert_with(|| {
                (0..seats.len()).filter(|at| may_take(spec, seats[*at].record)).collect::<Vec<_>>().into()
            })
            .clone()
    }

    /// The best `count` hosts for new copies of `unit` beside those in `kept`, fewer when there are not so many.
    ///
    /// First come hosts that listen on the unit's address already: one listener serves several apps, while two hosts
    /// on one machine cannot both have the address. Then those with the fewest units. Ties go by rendezvous
    /// hashing, so that different units choose differently and the same unit always the same.
    pub(crate) fn choose(
        &mut self,
        unit: &UnitId,
        spec: &'w UnitSpec,
        kept: &BTreeSet<HostId>,
        count: usize,
    ) -> Vec<HostId> {
        if count == 0 {
            return Vec::new();
        }
        let of_unit = hash_unit(unit);
        let mut ranked: Vec<_> = self
            .allowed(spec)
            .iter()
            .filter_map(|at| {
                let seat = &self.seats[*at];
                let stranger = !spec.listens_on().is_some_and(|address| seat.addresses.contains(address));
                let rank = (stranger, seat.units, mix(of_unit ^ seat.hash), *at);
                (!kept.contains(&seat.record.host)).then_some(rank)
            })
            .collect();
        if count < ranked.len() {
            ranked.select_nth_unstable(count);
            ranked.truncate(count);
        }
        ranked.into_iter().map(|(.., at)| self.seats[at].record.host.clone()).collect()
    }
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
