//! Every instance in the lattice that takes calls, by unit. The table is replaced as a whole; calls read it without
//! waiting for anybody.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwap;
use lattice::{
    bus::CallHandler,
    model::inventory::HostRecord,
    wire::{HostId, InstanceId, UnitId},
};
use lattice_provider::{Capability, http::HttpHandler};
use tokio::sync::watch;

use super::asleep::Asleep;
use crate::{metrics::Counts, spy::Spy};

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
    /// Its host is lost, as the controller says. NATS may know the machine's connections for minutes more, and would let calls wait.
    lost: watch::Sender<bool>,
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
    /// The calls that leave this process, by who calls whom. A lock, taken when a road is made or somebody asks: by no call but
    /// a request to `UNIT.APP.lattice`, which has a road of its own.
    sent: Mutex<BTreeMap<(UnitId, UnitId), Arc<Counts>>>,
    /// Whoever looks at calls.
    spy: Spy,
}

impl Default for Router {
    fn default() -> Self {
        let changes = watch::channel(()).0;
        Self {
            table: ArcSwap::default(),
            changes,
            asleep: Asleep::default(),
            sent: Mutex::default(),
            spy: Spy::default(),
        }
    }
}

impl Router {
    /// Replaces the table. `hosts` are the inventories of the lattice with this host's own, `local` what runs here.
    /// Each inventory comes with its revision in the store; those of `lost` hosts may say what is not so any more. `site` is where this
    /// host is.
    pub fn update<'a>(
        &self,
        hosts: impl IntoIterator<Item = (&'a HostRecord, u64)>,
        lost: &BTreeSet<HostId>,
        local: &[LocalInstance],
        site: Option<&str>,
    ) {
        let before = self.table.load();
        let mut table = Table::default();
        for (host, told_at) in hosts {
            let is_lost = lost.contains(&host.host);
            for report in &host.instances {
                let seen = before.seen.get(&report.instance).cloned().unwrap_or_default();
                seen.json_only.store(report.json_only, Ordering::Relaxed);
                seen.bundles.store(report.bundles, Ordering::Relaxed);
                seen.lost.send_if_modified(|lost| std::mem::replace(lost, is_lost) != is_lost);
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

    /// The instance of `unit` to call over NATS next, but none of `tried`, and one on a host that is `lost` only where that is said.
    pub(super) fn pick(&self, unit: &UnitId, tried: &[InstanceId], lost: bool) -> Option<(InstanceId, InFlight)> {
        self.table.load().units.get(unit)?.pick(tried, lost)
    }

    /// What is counted of the calls from one unit to another, over all roads.
    pub(super) fn counts(&self, from: &UnitId, to: &UnitId) -> Arc<Counts> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.entry((from.clone(), to.clone())).or_default().clone()
    }

    /// Those of roads that are still there.
    pub(crate) fn sent(&self) -> Vec<((UnitId, UnitId), Arc<Counts>)> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.retain(|_, counts| Arc::strong_count(counts) > 1);
        sent.iter().map(|(between, counts)| (between.clone(), counts.clone())).collect()
    }

    pub(crate) fn spy(&self) -> &Spy {
        &self.spy
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

    pub(super) fn is_lost(&self) -> bool {
        *self.0.lost.borrow()
    }

    /// Resolves when its host is lost from now on.
    pub(super) async fn lost(&self) {
        let mut lost = self.0.lost.subscribe();
        while lost.changed().await.is_ok() {
            if *lost.borrow_and_update() {
                return;
            }
        }
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
    fn pick(&self, tried: &[InstanceId], lost: bool) -> Option<(InstanceId, InFlight)> {
        let left = |silent: bool, near: bool| {
            let fits = move |r: &&RemoteInstance| {
                r.near == near
                    && r.seen.silent.load(Ordering::Relaxed) == silent
                    && *r.seen.lost.borrow() == lost
                    && !tried.contains(&r.instance)
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
            router.update(hosts.iter().map(|h| (h, 1)), &BTreeSet::new(), &[], None);
            let table = router.table.load();
            let mut called: Vec<InstanceId> = Vec::new();
            while let Some((instance, _)) = table.units[&unit].pick(&called, false) {
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
        router.update(hosts.iter().map(|h| (h, 1)), &BTreeSet::new(), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        let held: Vec<_> = (0..10).map(|_| targets.pick(&[], false).unwrap()).collect();
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
            router.update(hosts.iter().map(|h| (h, 1)), &BTreeSet::new(), &[], site);
            let mut tried = Vec::new();
            while let Some((instance, _)) = router.pick(&unit, &tried, false) {
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

    #[tokio::test]
    async fn an_instance_of_a_lost_host_is_called_only_where_that_is_said_and_its_calls_end() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let hosts =
            [host("A", &[("app/unit", 1, InstanceState::Ready)]), host("B", &[("app/unit", 1, InstanceState::Ready)])];
        let update = |lost: &[&HostRecord]| {
            let lost = lost.iter().map(|host| host.host.clone()).collect();
            router.update(hosts.iter().map(|h| (h, 1)), &lost, &[], None);
        };
        let [a, b] = [&hosts[0].instances[0].instance, &hosts[1].instances[0].instance];
        update(&[]);
        let in_flight = router.follow(a);
        let told = in_flight.lost();
        let mut told = std::pin::pin!(told);
        let soon = std::time::Duration::from_millis(10);
        assert!(tokio::time::timeout(soon, &mut told).await.is_err());
        update(&[&hosts[0]]);
        tokio::time::timeout(soon, told).await.unwrap();
        assert!(in_flight.is_lost());
        for _ in 0..10 {
            assert_eq!(&router.pick(&unit, &[], false).unwrap().0, b);
        }
        assert!(router.pick(&unit, std::slice::from_ref(b), false).is_none());
        assert_eq!(&router.pick(&unit, &[], true).unwrap().0, a);
        // One that was lost before says nothing new to a call that is made all the same.
        assert!(tokio::time::timeout(soon, in_flight.lost()).await.is_err());
        update(&[]);
        assert_eq!(&router.pick(&unit, std::slice::from_ref(b), false).unwrap().0, a);
    }

    #[test]
    fn a_silent_instance_is_the_last_choice_until_its_host_speaks_again() {
        let router = Router::default();
        let unit: UnitId = "app/unit".parse().unwrap();
        let hosts =
            [host("A", &[("app/unit", 1, InstanceState::Ready)]), host("B", &[("app/unit", 1, InstanceState::Ready)])];
        router.update(hosts.iter().map(|h| (h, 1)), &BTreeSet::new(), &[], None);
        let (dead, in_flight) = router.pick(&unit, &[], false).unwrap();
        in_flight.was_silent();
        drop(in_flight);
        router.update(hosts.iter().map(|h| (h, 1)), &BTreeSet::new(), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        for _ in 0..10 {
            assert_ne!(targets.pick(&[], false).unwrap().0, dead);
        }
        let (other, _) = targets.pick(&[], false).unwrap();
        assert_eq!(targets.pick(&[other], false).unwrap().0, dead, "better than nobody");
        router.update(hosts.iter().map(|h| (h, 2)), &BTreeSet::new(), &[], None);
        let table = router.table.load();
        let targets = &table.units[&unit];
        assert!((0..10).any(|_| targets.pick(&[], false).unwrap().0 == dead));
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
