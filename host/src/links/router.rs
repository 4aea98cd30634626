//! Every instance in the lattice that takes calls, by unit. The table is replaced as a whole; calls read it without
//! waiting for anybody.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use lattice::{
    bus::CallHandler,
    model::inventory::HostRecord,
    wire::{InstanceId, UnitId},
};
use lattice_provider::{Capability, http::HttpHandler};
use tokio::sync::watch;

use super::asleep::Asleep;

/// An instance in this host that can be called without NATS.
#[derive(Clone)]
pub struct LocalInstance {
    pub unit: UnitId,
    pub http: Option<Arc<dyn HttpHandler>>,
    pub capability: Option<Capability>,
    /// What answers calls of the component's own interfaces.
    pub calls: Option<Arc<dyn CallHandler>>,
}

/// An instance that is called over NATS.
#[derive(Clone)]
pub(super) struct RemoteInstance {
    instance: InstanceId,
    /// The revision of the inventory that it stands in.
    told_at: u64,
    /// It is at the site of this host.
    near: bool,
    seen: Arc<Seen>,
}

/// What calls from this host have seen of an instance.
#[derive(Default)]
struct Seen {
    in_flight: AtomicU32,
    /// Nobody answered there. Its host may be dead; until it tells its inventory anew, others are asked first.
    silent: AtomicBool,
    /// It reads and writes JSON alone.
    json_only: AtomicBool,
    /// It takes several calls in one message.
    bundles: AtomicBool,
}

/// Who can answer for one unit.
#[derive(Default)]
struct Targets {
    http: Option<Arc<dyn HttpHandler>>,
    capability: Option<Capability>,
    calls: Option<Arc<dyn CallHandler>>,
    remotes: Vec<RemoteInstance>,
}

/// What calls go by.
#[derive(Default)]
struct Table {
    units: HashMap<UnitId, Targets>,
    /// Every instance of every inventory, whether it takes calls or not.
    seen: HashMap<InstanceId, Arc<Seen>>,
}

/// The table of a host.
pub struct Router {
    table: ArcSwap<Table>,
    changes: watch::Sender<()>,
    asleep: Asleep,
}

impl Default for Router {
    fn default() -> Self {
        Self { table: ArcSwap::default(), changes: watch::channel(()).0, asleep: Asleep::default() }
    }
}

impl Router {
    /// Replaces the table. `hosts` are the inventories of the lattice with this host's own, `local` what runs here.
    /// Each inventory comes with its revision in the store; `site` is where this host is.
    pub fn update<'a>(
        &self,
        hosts: impl IntoIterator<Item = (&'a HostRecord, u64)>,
        local: &[LocalInstance],
        site: Option<&str>,
    ) {
        let before = self.table.load();
        let mut table = Table::default();
        for (host, told_at) in hosts {
            for report in &host.instances {
                let seen = before.seen.get(&report.instance).cloned().unwrap_or_default();
                seen.json_only.store(report.json_only, Ordering::Relaxed);
                seen.bundles.store(report.bundles, Ordering::Relaxed);
                table.seen.insert(report.instance.clone(), seen.clone());
                if !report.state.takes_calls() {
                    continue;
                }
                // Of any revision: while one takes the place of another, both serve.
                let targets = table.units.entry(report.unit.clone()).or_default();
                let known = before
                    .units
                    .get(&report.unit)
                    .and_then(|old| old.remotes.iter().find(|r| r.instance == report.instance));
                if known.is_none_or(|known| known.told_at != told_at) {
                    seen.silent.store(false, Ordering::Relaxed);
                }
                let (instance, near) = (report.instance.clone(), host.site() == site);
                targets.remotes.push(RemoteInstance { instance, told_at, near, seen });
            }
        }
        for instance in local {
            let targets = table.units.entry(instance.unit.clone()).or_default();
            targets.http = instance.http.clone();
            targets.capability = instance.capability.clone();
            targets.calls = instance.calls.clone();
        }
        self.table.store(Arc::new(table));
        self.changes.send_replace(());
    }

    /// The component that answers HTTP for `unit` in this host.
    pub fn http(&self, unit: &UnitId) -> Option<Arc<dyn HttpHandler>> {
        self.table.load().units.get(unit)?.http.clone()
    }

    /// What `unit` provides in this host.
    pub fn capability(&self, unit: &UnitId) -> Option<Capability> {
        self.table.load().units.get(unit)?.capability.clone()
    }

    /// What answers calls of the interfaces of `unit` in this host.
    pub(super) fn calls(&self, unit: &UnitId) -> Option<Arc<dyn CallHandler>> {
        self.table.load().units.get(unit)?.calls.clone()
    }

    /// A call to `instance`, chosen by somebody else.
    pub(super) fn follow(&self, instance: &InstanceId) -> InFlight {
        let seen = self.table.load().seen.get(instance).cloned().unwrap_or_default();
        InFlight::new(seen)
    }

    /// The instance of `unit` to call over NATS next, but none of `tried`.
    pub(super) fn pick(&self, unit: &UnitId, tried: &[InstanceId]) -> Option<(InstanceId, InFlight)> {
        self.table.load().units.get(unit)?.pick(tried)
    }

    /// The units that are waited for.
    pub(crate) fn asleep(&self) -> &Asleep {
        &self.asleep
    }

    /// A receiver that wakes when the table was replaced.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

/// A call under way, counted for the choice of the next one.
pub(super) struct InFlight(Arc<Seen>);

impl InFlight {
    fn new(seen: Arc<Seen>) -> Self {
        seen.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(seen)
    }

    pub(super) fn json_only(&self) -> bool {
        self.0.json_only.load(Ordering::Relaxed)
    }

    /// Whether the call is to share messages with others that are under way to the same instance.
    pub(super) fn in_company(&self) -> bool {
        self.0.bundles.load(Ordering::Relaxed) && self.0.in_flight.load(Ordering::Relaxed) > 1
    }

    /// Nobody answered there.
    pub(super) fn was_silent(&self) {
        self.0.silent.store(true, Ordering::Relaxed);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Targets {
    /// The instance to call next, but none of `tried`: the less busy of two taken at random, at another site only when there is none at
    /// this one, and one that was silent only when there is no other.
    fn pick(&self, tried: &[InstanceId]) -> Option<(InstanceId, InFlight)> {
        let left = |silent: bool, near: bool| {
            let fits = move |r: &&RemoteInstance| {
                r.near == near && r.seen.silent.load(Ordering::Relaxed) == silent && !tried.contains(&r.instance)
            };
            self.remotes.iter().filter(fits).collect::<Vec<_>>()
        };
        let order = [(false, true), (false, false), (true, true), (true, false)];
        let chosen = order.into_iter().find_map(|(silent, near)| least_busy(&left(silent, near)))?;
        Some((chosen.instance.clone(), InFlight::new(chosen.seen.clone())))
    }
}

fn least_busy<'r>(left: &[&'r RemoteInstance]) -> Option<&'r RemoteInstance> {
    match left {
        [] => None,
        [only] => Some(only),
        many => {
            let (first, second) = two_of(many.len());
            let load = |i: usize| many[i].seen.in_flight.load(Ordering::Relaxed);
            Some(if load(second) < load(first) { many[second] } else { many[first] })
        }
    }
}

/// Two different numbers below `n`, which is at least 2. A counter that is spread out does for randomness here.
fn two_of(n: usize) -> (usize, usize) {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let turn = TURN.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9) as usize;
    let first = turn % n;
    (first, (first + 1 + (turn / n) % (n - 1)) % n)
}

#[cfg(test)]
mod tests {
    use lattice::{
        model::{
            app::{ProviderSpec, UnitRecord, UnitSpec},
            inventory::{InstanceReport, InstanceState},
        },
        wire::HostId,
    };

    use super::*;

    fn host(letter: &str, units: &[(&str, u64, InstanceState)]) -> HostRecord {
        let id: HostId = format!("N{}", letter.repeat(55)).parse().unwrap();
        let report = |(unit, revision, state): &(&str, u64, InstanceState)| {
            let record =
                UnitRecord { revision: *revision, spec: UnitSpec::Provider(ProviderSpec::of("keyvalue-memory")) };
            InstanceReport::of(&id, &unit.parse().unwrap(), &record, *state)
        };
        HostRecord { instances: units.iter().map(report).collect(), ..HostRecord::of(id.clone()) }
    }

    #[test]
    fn all_that_takes_calls_is_called_whatever_its_revision() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let called = |hosts: &[HostRecord]| {
            router.update(hosts.iter().map(|h| (h, 1)), &[], None);
            let table = router.table.load();
            let mut called: Vec<InstanceId> = Vec::new();
            while let Some((instance, _)) = table.units[&unit].pick(&called) {
                called.push(instance);
            }
            let all = hosts.iter().flat_map(|host| host.instances.iter().map(|i| (&host.host, i)));
            all.filter(|(_, i)| called.contains(&i.instance)).map(|(h, i)| (h.clone(), i.revision)).collect::<Vec<_>>()
        };
        let b = host("B", &[("app/unit", 1, InstanceState::Ready)]);
        let a = host("A", &[("app/unit", 1, InstanceState::Ready), ("app/unit", 2, InstanceState::Starting)]);
        assert_eq!(called(&[a.clone(), b.clone()]), [(a.host.clone(), 1), (b.host.clone(), 1)]);
        let a = host("A", &[("app/unit", 1, InstanceState::Draining), ("app/unit", 2, InstanceState::Ready)]);
        assert_eq!(called(&[a.clone(), b.clone()]), [(a.host, 2), (b.host, 1)]);
    }

    #[test]
    fn the_less_busy_of_two_is_chosen() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let hosts =
            [host("A", &[("app/unit", 1, InstanceState::Ready)]), host("B", &[("app/unit", 1, InstanceState::Ready)])];
        router.update(hosts.iter().map(|h| (h, 1)), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        let held: Vec<_> = (0..10).map(|_| targets.pick(&[]).unwrap()).collect();
        let first = held.iter().filter(|(instance, _)| *instance == targets.remotes[0].instance).count();
        assert_eq!(first, 5);
    }

    #[test]
    fn calls_stay_at_their_site_while_they_can() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let mut hosts: Vec<_> =
            ["A", "B", "C", "D"].map(|at| host(at, &[("app/unit", 1, InstanceState::Ready)])).into();
        for (host, site) in hosts.iter_mut().zip(["berlin", "bonn", "berlin"]) {
            host.labels.insert("site".to_owned(), site.to_owned());
        }
        let order = |site: Option<&str>| {
            router.update(hosts.iter().map(|h| (h, 1)), &[], site);
            let mut tried = Vec::new();
            while let Some((instance, _)) = router.pick(&unit, &tried) {
                tried.push(instance);
            }
            let site =
                |id: &InstanceId| hosts.iter().find(|h| h.instances[0].instance == *id).and_then(HostRecord::site);
            tried.iter().map(site).collect::<Vec<_>>()
        };
        assert_eq!(order(Some("berlin"))[..2], [Some("berlin"), Some("berlin")]);
        assert_eq!(order(Some("bonn"))[0], Some("bonn"));
        assert_eq!(order(None)[0], None);
        assert_eq!(order(Some("rome")).len(), 4);
    }

    #[test]
    fn a_silent_instance_is_the_last_choice_until_its_host_speaks_again() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let hosts =
            [host("A", &[("app/unit", 1, InstanceState::Ready)]), host("B", &[("app/unit", 1, InstanceState::Ready)])];
        router.update(hosts.iter().map(|h| (h, 1)), &[], None);
        let (dead, in_flight) = router.pick(&unit, &[]).unwrap();
        in_flight.was_silent();
        drop(in_flight);
        router.update(hosts.iter().map(|h| (h, 1)), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        for _ in 0..10 {
            assert_ne!(targets.pick(&[]).unwrap().0, dead);
        }
        let (other, _) = targets.pick(&[]).unwrap();
        assert_eq!(targets.pick(&[other]).unwrap().0, dead, "better than nobody");
        router.update(hosts.iter().map(|h| (h, 2)), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        assert!((0..10).any(|_| targets.pick(&[]).unwrap().0 == dead));
    }

    #[test]
    fn two_of_are_always_different_and_in_range() {
        for n in 2..9 {
            for _ in 0..100 {
                let (a, b) = two_of(n);
                assert!(a != b && a < n && b < n);
            }
        }
    }
}
