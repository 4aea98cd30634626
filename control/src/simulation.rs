//! Controllers and hosts on a bus in memory, with virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod chaos;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, Entry},
    model::{
        app::{AppRecord, ProviderSpec, Scale, UnitRecord, UnitSpec},
        assignment::{Assignment, Holding},
        inventory::{Beat, Faults, HostRecord, InstanceReport, InstanceState},
        rollout::{OnFailure, Rollout, RolloutReport},
    },
    wire::{AppName, HostId},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{Timing, history, reconcile::run_while};

fn host(at: usize) -> HostId {
    let letter = char::from(b'A' + at as u8);
    format!("N{}", letter.to_string().repeat(55)).parse().unwrap()
}

fn shop() -> AppName {
    "shop".parse().unwrap()
}

fn spec(scale: Scale) -> UnitSpec {
    UnitSpec::Provider(ProviderSpec { scale, ..ProviderSpec::of("keyvalue-memory") })
}

/// A process of a host: it beats, follows its assignment, and may take part in control.
struct Process {
    _body: AbortOnDropHandle<()>,
    control: AbortOnDropHandle<()>,
    shutdown: CancellationToken,
}

struct Lattice {
    bus: Bus,
    connected: watch::Sender<bool>,
    /// Whether the beats of each host get through.
    heard: BTreeMap<usize, watch::Sender<bool>>,
    processes: BTreeMap<usize, Process>,
}

impl Lattice {
    fn new(hosts: usize) -> Self {
        let mut lattice = Self {
            bus: Bus::memory("default".parse().unwrap()),
            connected: watch::channel(true).0,
            heard: (0..hosts).map(|at| (at, watch::channel(true).0)).collect(),
            processes: BTreeMap::new(),
        };
        (0..hosts).for_each(|at| lattice.start(at));
        lattice
    }

    fn start(&mut self, at: usize) {
        let shutdown = CancellationToken::new();
        let connected = self.connected.subscribe();
        let control =
            run_while(self.bus.clone(), host(at), Timing::default(), connected, Arc::default(), shutdown.clone());
        let process = Process {
            _body: AbortOnDropHandle::new(tokio::spawn(live(self.bus.clone(), at, self.heard[&at].subscribe()))),
            control: AbortOnDropHandle::new(tokio::spawn(control)),
            shutdown,
        };
        self.processes.insert(at, process);
    }

    /// Without a word, as `kill -9` does.
    fn kill(&mut self, at: usize) {
        self.processes.remove(&at);
    }

    /// Whether the beats of `hosts` get through from now on.
    fn hear(&self, hosts: &[usize], heard: bool) {
        hosts.iter().for_each(|at| {
            self.heard[at].send_replace(heard);
        });
    }

    async fn apply(&self, units: &[(&str, Scale)]) {
        let apps = self.bus.store().apps();
        let before = apps.get("shop").await.unwrap().map(|entry| entry.value);
        let units = units.iter().map(|(name, scale)| (name.parse().unwrap(), spec(*scale))).collect();
        let next =
            AppRecord::next(shop(), before.as_ref(), String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap();
        apps.put("shop", &next).await.unwrap();
    }

    /// Writes the next revision of the app with one provider on every host, of the `version`th kind and with these settings.
    async fn release(&self, version: u32, rollout: Rollout, settings: &[&str]) {
        let apps = self.bus.store().apps();
        let before = apps.get("shop").await.unwrap().map(|entry| entry.value);
        let mut provider = ProviderSpec { scale: Scale::PerHost, rollout, ..ProviderSpec::of("keyvalue-memory") };
        provider.config.insert("version".into(), version.into());
        provider.config.extend(settings.iter().map(|name| ((*name).to_owned(), true.into())));
        let units = BTreeMap::from([("a".parse().unwrap(), UnitSpec::Provider(provider))]);
        let next =
            AppRecord::next(shop(), before.as_ref(), String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap();
        if let Some(before) = before {
            history::keep(&self.bus, &before).await.unwrap();
        }
        apps.put("shop", &next).await.unwrap();
    }

    /// What the controller has told of the rollout.
    async fn rollout(&self) -> RolloutReport {
        let report = self.bus.store().plans().get("shop").await.unwrap();
        report.and_then(|report| report.value.rollout).unwrap_or_default()
    }

    /// How many hosts are assigned this revision of the unit.
    async fn with(&self, revision: u64) -> usize {
        let all = self.assignments().await;
        let units = all.values().flat_map(|entry| entry.value.units.values());
        units.filter(|unit| unit.revision == revision).count()
    }

    async fn assignments(&self) -> BTreeMap<HostId, Entry<Assignment>> {
        let all = self.bus.store().assignments().list().await.unwrap();
        all.into_iter().map(|(key, entry)| (key.parse().unwrap(), entry)).collect()
    }

    async fn on(&self, unit: &str) -> Vec<HostId> {
        let unit = format!("shop/{unit}").parse().unwrap();
        let all = self.assignments().await;
        let has = |entry: &Entry<Assignment>| !entry.value.given_up && entry.value.units.contains_key(&unit);
        all.into_iter().filter(|(_, entry)| has(entry)).map(|(host, _)| host).collect()
    }

    /// Who holds the lease, and the term.
    async fn leader(&self) -> Option<(usize, u64)> {
        let lease = self.bus.store().leases().get("controller").await.unwrap()?.value;
        let at = (0..self.heard.len()).find(|at| host(*at) == lease.holder).unwrap();
        Some((at, lease.term))
    }

    /// A lattice that runs `units` and has come to rest.
    async fn resting(hosts: usize, units: &[(&str, Scale)]) -> Self {
        let lattice = Self::new(hosts);
        lattice.apply(units).await;
        lattice.until(Duration::from_secs(5), async || lattice.planned().await).await;
        sleep(Duration::from_secs(5)).await;
        lattice
    }

    async fn planned(&self) -> bool {
        let plan = self.bus.store().plans().get("shop").await.unwrap();
        let app = self.bus.store().apps().get("shop").await.unwrap().unwrap().value;
        plan.is_some_and(|plan| plan.value.revision == app.revision && plan.value.units.values().all(|u| u.wanted > 0))
    }

    async fn until<F: Future<Output = bool>>(&self, limit: Duration, condition: impl Fn() -> F) -> Duration {
        let begin = Instant::now();
        while !condition().await {
            assert!(begin.elapsed() <= limit, "not within {limit:?}; assigned: {:#?}", self.assignments().await);
            sleep(Duration::from_millis(50)).await;
        }
        begin.elapsed()
    }
}

/// What a host does, as far as control sees it.
async fn live(bus: Bus, at: usize, heard: watch::Receiver<bool>) {
    let (id, store) = (host(at), bus.store());
    // Hosts do not beat in step.
    sleep(Duration::from_millis(170 * at as u64)).await;
    let mut record = HostRecord::of(id.clone());
    store.hosts().put(id.as_str(), &record).await.unwrap();
    let mut assignments = store.assignments().follow();
    let mut current: Option<Assignment> = None;
    let mut beats = interval(Duration::from_secs(1));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut count = 0;
    loop {
        tokio::select! {
            _ = beats.tick() => {
                count += 1;
                if *heard.borrow() {
                    store.beats().put(id.as_str(), &Beat { count, load: BTreeMap::new() }).await.unwrap();
                }
            }
            Ok(()) = assignments.changed() => {
                let newest = assignments.borrow_and_update().as_ref().and_then(|all| all.get(id.as_str()).cloned());
                let Some(newest) = newest.map(|entry| entry.value).filter(|n| Some(n) != current.as_ref()) else {
                    continue;
                };
                assert!(current.as_ref().is_none_or(|c| newest.supersedes(c)), "{newest:?} after {current:?}");
                (record.term, record.generation) = (newest.term, newest.generation);
                let report = |(unit, record): (&_, &UnitRecord)| {
                    let says = |setting| matches!(&record.spec, UnitSpec::Provider(p) if p.config.contains_key(setting));
                    let state = if says("stuck") { InstanceState::Failed } else { InstanceState::Ready };
                    let mut report = InstanceReport::of(&id, unit, record, state);
                    if says("fails") {
                        report.faults = Faults { traps: 9, calls: 10, ..Faults::default() };
                    }
                    report
                };
                record.instances = newest.units.iter().map(report).collect();
                current = Some(newest);
                store.hosts().put(id.as_str(), &record).await.unwrap();
            }
        }
    }
}

const ONE: Scale = Scale::Replicas(1);

#[tokio::test(start_paused = true)]
async fn what_is_applied_is_assigned_and_then_nothing_is_written() {
    let lattice = Lattice::resting(3, &[("a", ONE), ("b", Scale::Replicas(2)), ("c", Scale::PerHost)]).await;
    assert_eq!([lattice.on("a").await.len(), lattice.on("b").await.len(), lattice.on("c").await.len()], [1, 2, 3]);
    let before = (lattice.assignments().await, lattice.bus.store().plans().list().await.unwrap());
    sleep(Duration::from_secs(60)).await;
    assert_eq!((lattice.assignments().await, lattice.bus.store().plans().list().await.unwrap()), before);
    // A change is planned at once.
    lattice.apply(&[("a", ONE), ("b", Scale::Replicas(3)), ("c", Scale::PerHost)]).await;
    lattice.until(Duration::from_millis(150), async || lattice.on("b").await.len() == 3).await;
    lattice.bus.store().apps().delete("shop").await.unwrap();
    lattice.until(Duration::from_millis(150), async || lattice.on("c").await.is_empty()).await;
    assert!(lattice.bus.store().plans().list().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_its_copies_and_a_bad_one_is_taken_back() {
    let lattice = Lattice::new(4);
    let careful = Rollout { min_ready_ms: 10_000, on_failure: OnFailure::Rollback, ..Rollout::default() };
    lattice.release(1, careful, &[]).await;
    lattice.until(Duration::from_secs(14), async || lattice.rollout().await.complete == 1).await;
    // One after the other, each for ten seconds.
    lattice.release(2, careful, &[]).await;
    for count in 1..=4 {
        lattice.until(Duration::from_secs(12), async || lattice.with(2).await == count).await;
    }
    let took = lattice.until(Duration::from_secs(12), async || lattice.rollout().await.complete == 2).await;
    assert!(took > Duration::from_secs(9), "the last one is waited for, too: {took:?}");
    lattice.release(3, careful, &["fails"]).await;
    let app = async || lattice.bus.store().apps().get("shop").await.unwrap().unwrap().value;
    lattice.until(Duration::from_secs(2), async || app().await.revision == 4).await;
    let back = app().await;
    assert_eq!(back.cause.split(" on host").next(), Some("rolled back to 2, as 3 failed: a: 9 of 10 calls failed"));
    lattice.until(Duration::from_secs(2), async || lattice.with(2).await == 4).await;
    lattice.until(Duration::from_secs(14), async || lattice.rollout().await.complete == 4).await;
    let kept = history::before(&lattice.bus, &shop()).await.unwrap();
    assert_eq!(kept.iter().map(|record| record.revision).collect::<Vec<_>>(), [1, 2, 3]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(app().await, back, "once is enough");
}

#[tokio::test(start_paused = true)]
async fn a_release_that_does_not_start_is_held_after_its_deadline() {
    let mut lattice = Lattice::new(3);
    let patient = Rollout { deadline_ms: 60_000, ..Rollout::default() };
    lattice.release(1, patient, &[]).await;
    lattice.until(Duration::from_secs(5), async || lattice.rollout().await.complete == 1).await;
    lattice.release(2, patient, &["stuck"]).await;
    sleep(Duration::from_secs(50)).await;
    assert_eq!(lattice.rollout().await.failed, None);
    let failed = async || lattice.rollout().await.failed.is_some();
    lattice.until(Duration::from_secs(15), failed).await;
    // Another leader knows it, too.
    let (leader, _) = lattice.leader().await.unwrap();
    lattice.kill(leader);
    sleep(Duration::from_secs(20)).await;
    assert!(lattice.rollout().await.failed.is_some());
    lattice.start(leader);
    sleep(Duration::from_secs(20)).await;
    assert_eq!((lattice.with(1).await, lattice.with(2).await), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_lost_host_is_replaced_and_finds_what_nobody_else_could_take_when_it_returns() {
    let mut lattice = Lattice::resting(2, &[("a", ONE), ("b", ONE), ("c", Scale::PerHost)]).await;
    let (leader, _) = lattice.leader().await.unwrap();
    let other = 1 - leader;
    lattice.kill(other);
    let took = lattice.until(Duration::from_secs(4), async || lattice.on("c").await == [host(leader)]).await;
    assert!(took > Duration::from_millis(1900), "not before the window: {took:?}");
    assert_eq!((lattice.on("a").await, lattice.on("b").await), (vec![host(leader)], vec![host(leader)]));
    let given_up = lattice.assignments().await[&host(other)].value.clone();
    let left: Vec<_> = given_up.units.keys().map(ToString::to_string).collect();
    assert!(given_up.given_up && left == ["shop/c"], "{left:?}");
    // Back again, it gets what runs everywhere, and nothing of what has moved.
    lattice.start(other);
    lattice.until(Duration::from_secs(3), async || lattice.on("c").await.len() == 2).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!((lattice.on("a").await, lattice.on("b").await), (vec![host(leader)], vec![host(leader)]));
    let after = lattice.assignments().await[&host(other)].value.clone();
    assert_eq!((after.generation, &after.units, after.given_up), (given_up.generation + 1, &given_up.units, false));
}

#[tokio::test(start_paused = true)]
async fn another_takes_over_when_the_leader_dies() {
    let mut lattice = Lattice::resting(3, &[("a", ONE), ("b", ONE), ("c", ONE), ("d", Scale::PerHost)]).await;
    let (leader, term) = lattice.leader().await.unwrap();
    lattice.kill(leader);
    let gone = host(leader);
    // The others listen before they may take over, so that this is not the sum of both waits.
    lattice.until(Duration::from_millis(4500), async || !lattice.on("d").await.contains(&gone)).await;
    let (next, next_term) = lattice.leader().await.unwrap();
    assert!(next != leader && next_term == term + 1);
    for unit in ["a", "b", "c"] {
        assert_eq!(lattice.on(unit).await.len(), 1, "{unit}");
    }
    let given_up = lattice.assignments().await[&gone].value.clone();
    assert!(given_up.given_up && given_up.units.len() == 1, "{given_up:?}");
    // The old one comes back, and is a host among others.
    lattice.start(leader);
    lattice.until(Duration::from_secs(3), async || lattice.on("d").await.len() == 3).await;
    assert_eq!(lattice.leader().await, Some((next, next_term)));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_stops_hands_over_at_once() {
    let mut lattice = Lattice::resting(2, &[("a", ONE)]).await;
    let (leader, term) = lattice.leader().await.unwrap();
    let process = lattice.processes.remove(&leader).unwrap();
    process.shutdown.cancel();
    process.control.await.unwrap();
    lattice.until(Duration::from_millis(200), async || lattice.leader().await == Some((1 - leader, term + 1))).await;
}

#[tokio::test(start_paused = true)]
async fn mass_silence_holds_still() {
    let lattice = Lattice::resting(4, &[("a", Scale::Replicas(2)), ("b", ONE), ("c", Scale::PerHost)]).await;
    let before = lattice.assignments().await;
    let (leader, _) = lattice.leader().await.unwrap();
    let quiet: Vec<_> = (0..4).filter(|at| *at != leader).collect();
    lattice.hear(&quiet, false);
    sleep(Duration::from_secs(12)).await;
    assert_eq!(lattice.assignments().await, before);
    let told = async || lattice.bus.store().control().get("state").await.unwrap().unwrap().value.holding;
    assert_eq!(told().await, Some(Holding { silent: 3, of: 4, given_up: 0 }));
    // New work goes to those that are heard, and takes nothing from the others.
    lattice.apply(&[("a", Scale::Replicas(2)), ("b", ONE), ("c", Scale::PerHost), ("new", ONE)]).await;
    lattice.until(Duration::from_millis(200), async || lattice.on("new").await == [host(leader)]).await;
    lattice.hear(&quiet, true);
    sleep(Duration::from_secs(30)).await;
    let after = lattice.assignments().await;
    assert!(quiet.iter().all(|at| after[&host(*at)] == before[&host(*at)]));
    assert_eq!(told().await, None);
    // Silence that does not end is believed in the end.
    lattice.hear(&quiet, false);
    lattice.until(Duration::from_secs(27), async || lattice.on("c").await == [host(leader)]).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_nobody_is_lost() {
    let mut lattice = Lattice::resting(3, &[("a", Scale::Replicas(2)), ("c", Scale::PerHost)]).await;
    let before = lattice.assignments().await;
    let (leader, _) = lattice.leader().await.unwrap();
    lattice.connected.send_replace(false);
    lattice.hear(&[0, 1, 2], false);
    sleep(Duration::from_secs(60)).await;
    let dead = (leader + 1) % 3;
    lattice.kill(dead);
    lattice.connected.send_replace(true);
    sleep(Duration::from_millis(800)).await;
    lattice.hear(&[0, 1, 2], true);
    sleep(Duration::from_millis(2100)).await;
    assert_eq!(lattice.assignments().await, before);
    // The one that really died is missed after a whole window.
    lattice.until(Duration::from_millis(500), async || !lattice.on("c").await.contains(&host(dead))).await;
    assert_eq!(lattice.on("a").await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_leaves_in_order_is_replaced_at_once() {
    let mut lattice = Lattice::resting(3, &[("a", ONE), ("c", Scale::PerHost)]).await;
    let (leader, _) = lattice.leader().await.unwrap();
    let leaving = (leader + 1) % 3;
    lattice.kill(leaving);
    lattice.bus.store().beats().delete(host(leaving).as_str()).await.unwrap();
    lattice.bus.store().hosts().delete(host(leaving).as_str()).await.unwrap();
    lattice.until(Duration::from_millis(150), async || lattice.on("c").await.len() == 2).await;
    assert_eq!(lattice.on("a").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_others_break_is_mended() {
    let lattice = Lattice::resting(2, &[("a", ONE), ("c", Scale::PerHost)]).await;
    let store = lattice.bus.store();
    // An app that a newer version wrote goes on, and is followed when it can be read again.
    let (app, before) = (store.apps().get("shop").await.unwrap().unwrap().value, lattice.assignments().await);
    let strange = serde_json::json!({ "version": 99 });
    store.table::<serde_json::Value>("apps").put("shop", &strange).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(lattice.assignments().await, before);
    assert!(store.plans().get("shop").await.unwrap().is_some());
    store.apps().put("shop", &app).await.unwrap();
    // An assignment that somebody deleted or wrote over comes back, newer than all before.
    let victim = host(0);
    store.assignments().delete(victim.as_str()).await.unwrap();
    lattice.until(Duration::from_millis(200), async || lattice.on("c").await.len() == 2).await;
    let generation = lattice.assignments().await[&victim].value.generation;
    assert!(generation > before[&victim].value.generation);
    let (_, term) = lattice.leader().await.unwrap();
    let junk = Assignment {
        version: 1,
        host: victim.clone(),
        term,
        generation: 1000,
        units: BTreeMap::new(),
        given_up: false,
    };
    store.assignments().put(victim.as_str(), &junk).await.unwrap();
    lattice.until(Duration::from_millis(200), async || lattice.on("c").await.len() == 2).await;
    assert_eq!(lattice.assignments().await[&victim].value.generation, 1001);
}
