//! Whole lattices under whatever may happen: hosts die and come back, are cut off, slow, deaf; apps change meanwhile. What happens is
//! drawn by a seed, and time is virtual, so that a run takes a moment and can be had again:
//!
//! ```text
//! LATTICE_SEED=1234 cargo test -p lattice-control chaos
//! ```
//!
//! `LATTICE_SEEDS=5000` tries as many.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use lattice::bus::Weather;

use super::*;

/// Numbers that a seed decides: splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..below`.
    fn roll(&mut self, below: u64) -> u64 {
        self.next() % below
    }
}

/// What has been seen, step by step; two runs of one seed see the same.
type Log = Arc<Mutex<Vec<String>>>;

/// The newest assignment that a host has adopted, over all its lives.
type Adopted = Arc<Mutex<Option<Assignment>>>;

struct Chaos {
    bus: Bus,
    hosts: Vec<Peer>,
    dice: Dice,
    log: Log,
    begun: Instant,
}

struct Peer {
    weather: watch::Sender<Weather>,
    /// Whether it hears the store, as its connection says.
    connected: watch::Sender<bool>,
    process: Option<[AbortOnDropHandle<()>; 2]>,
    adopted: Adopted,
}

/// What must never be in a log.
const BROKEN: &str = "BROKEN";

const UNITS: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let hosts = 2 + dice.roll(5) as usize;
        let peer = |_| Peer {
            weather: watch::channel(Weather::default()).0,
            connected: watch::channel(true).0,
            process: None,
            adopted: Adopted::default(),
        };
        let mut chaos = Self {
            bus: Bus::memory("default".parse().unwrap()),
            hosts: (0..hosts).map(peer).collect(),
            dice,
            log: Log::default(),
            begun: Instant::now(),
        };
        (0..hosts).for_each(|at| chaos.start(at));
        chaos
    }

    fn note(&self, text: String) {
        self.log.lock().unwrap().push(format!("{:?} {text}", self.begun.elapsed()));
    }

    fn start(&mut self, at: usize) {
        let peer = &mut self.hosts[at];
        if peer.process.is_some() {
            return;
        }
        let bus = self.bus.in_weather(peer.weather.subscribe());
        let connected = peer.connected.subscribe();
        let control =
            run_while(bus.clone(), host(at), Timing::default(), connected, Arc::default(), CancellationToken::new());
        let body = live(bus, at, peer.adopted.clone(), self.begun, self.log.clone());
        peer.process = Some([tokio::spawn(body), tokio::spawn(control)].map(AbortOnDropHandle::new));
    }

    /// Something happens.
    async fn strike(&mut self) {
        let at = self.dice.roll(self.hosts.len() as u64) as usize;
        let what = self.dice.roll(13);
        self.note(format!("strike {what} at {at}"));
        let peer = &mut self.hosts[at];
        match what {
            0 | 1 => peer.process = None,
            2 | 3 => self.start(at),
            4 => {
                peer.weather.send_modify(|weather| weather.cut = true);
                // Not every loss of a connection is seen.
                if self.dice.roll(2) == 0 {
                    peer.connected.send_replace(false);
                }
            }
            5 | 6 => self.clear(at),
            7 => {
                let delay = Duration::from_millis(self.dice.roll(900));
                peer.weather.send_modify(|weather| weather.delay = delay);
            }
            8 => peer.weather.send_modify(|weather| weather.storms += 1),
            9 => self.apply().await,
            10 => {
                // All at once: the servers are away.
                let cut = self.dice.roll(2) == 0;
                for peer in &self.hosts {
                    peer.weather.send_modify(|weather| weather.cut = cut);
                    peer.connected.send_replace(!cut);
                }
            }
            11 => self.lose_all().await,
            _ => {
                // Somebody breaks an assignment, or the lease.
                let key = host(at);
                let store = self.bus.store();
                match self.dice.roll(3) {
                    0 => store.assignments().delete(key.as_str()).await.unwrap(),
                    1 => store.leases().delete("controller").await.unwrap(),
                    _ => store.plans().delete("shop").await.unwrap(),
                }
            }
        }
    }

    /// The store is gone with all that is in it, and somebody applies again what they have.
    async fn lose_all(&mut self) {
        let store = self.bus.store();
        for host in &self.hosts {
            host.weather.send_modify(|weather| weather.storms += 1);
        }
        for key in store.assignments().list().await.unwrap().into_keys() {
            store.assignments().delete(&key).await.unwrap();
        }
        for key in store.hosts().list().await.unwrap().into_keys() {
            store.hosts().delete(&key).await.unwrap();
        }
        for key in store.history().list().await.unwrap().into_keys() {
            store.history().delete(&key).await.unwrap();
        }
        store.leases().delete("controller").await.unwrap();
        store.plans().delete("shop").await.unwrap();
        store.apps().delete("shop").await.unwrap();
        self.apply().await;
    }

    fn clear(&mut self, at: usize) {
        let peer = &self.hosts[at];
        peer.weather.send_modify(|weather| (weather.cut, weather.delay) = (false, Duration::ZERO));
        peer.connected.send_replace(true);
    }

    /// Other units, or other numbers of them.
    async fn apply(&mut self) {
        let mut units = BTreeMap::new();
        for name in UNITS {
            let scale = match self.dice.roll(6) {
                0 => continue,
                1 => Scale::PerHost,
                n => Scale::Replicas(n as u32 - 1),
            };
            let mut provider = ProviderSpec { scale, ..ProviderSpec::of("keyvalue-memory") };
            provider.config.insert("version".into(), self.dice.roll(3).into());
            units.insert(name.parse().unwrap(), UnitSpec::Provider(provider));
        }
        let apps = self.bus.store().apps();
        let before = apps.get("shop").await.unwrap().map(|entry| entry.value);
        let next = AppRecord::next(shop(), before.as_ref(), String::new(), BTreeMap::new(), units, BTreeMap::new());
        if let Some(next) = next {
            if let Some(before) = before {
                history::keep(&self.bus, &before).await.unwrap();
            }
            apps.put("shop", &next).await.unwrap();
        }
    }

    /// Everybody is there and the weather is fine: all that is wanted runs, where it should and nowhere else, and nothing moves any
    /// more.
    async fn settles(&mut self, seed: u64) {
        for at in 0..self.hosts.len() {
            self.clear(at);
            self.start(at);
        }
        sleep(Duration::from_secs(60)).await;
        let first = self.bus.store().assignments().list().await.unwrap();
        sleep(Duration::from_secs(15)).await;
        let assigned = self.bus.store().assignments().list().await.unwrap();
        let help = || {
            format!(
                "seed {seed}: LATTICE_SEED={seed} cargo test -p lattice-control chaos\n{:#?}",
                self.log.lock().unwrap()
            )
        };
        assert_eq!(first, assigned, "it never comes to rest; {}", help());
        assert!(!self.log.lock().unwrap().iter().any(|line| line.starts_with(BROKEN)), "{}", help());
        let ended = |peer: &Peer| peer.process.iter().flatten().any(AbortOnDropHandle::is_finished);
        assert!(!self.hosts.iter().any(ended), "a task has ended; {}", help());
        let app = self.bus.store().apps().get("shop").await.unwrap().map(|entry| entry.value);
        let mut on: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (host, entry) in &assigned {
            assert!(!entry.value.given_up || entry.value.units.is_empty(), "{host} is there; {}", help());
            for (unit, record) in &entry.value.units {
                let wanted = app.as_ref().and_then(|app| app.units.get(&unit.unit));
                assert_eq!(Some(record), wanted, "{unit} on {host}; {}", help());
                on.entry(unit.unit.to_string()).or_default().push(host);
            }
        }
        for (name, record) in app.iter().flat_map(|app| &app.units) {
            let copies = match record.spec.scale() {
                Scale::Replicas(n) => (n as usize).min(self.hosts.len()),
                _ => self.hosts.len(),
            };
            assert_eq!(on.get(name.as_str()).map_or(0, Vec::len), copies, "{name}; {}", help());
        }
        for (at, peer) in self.hosts.iter().enumerate() {
            let has = peer.adopted.lock().unwrap().clone();
            let given = assigned.get(host(at).as_str()).map(|entry| entry.value.clone());
            let units = |assignment: Option<Assignment>| assignment.map(|a| a.units).unwrap_or_default();
            assert_eq!(units(has), units(given), "host {at} has what it was given; {}", help());
        }
    }
}

/// A host as control sees it: it beats, and adopts what is newer than what it has, also than what it had before it died.
async fn live(bus: Bus, at: usize, adopted: Adopted, begun: Instant, log: Log) {
    let (id, store) = (host(at), bus.store());
    sleep(Duration::from_millis(170 * at as u64)).await;
    let record = watch::channel(HostRecord::of(id.clone())).0;
    let mut assignments = store.assignments().follow();
    let mut beats = interval(Duration::from_secs(1));
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // In tasks of their own, as in a host: one that waits for an answer holds nothing else up.
    let mut told = record.subscribe();
    let (hosts, key) = (store.hosts(), id.clone());
    let _publisher = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let newest = told.borrow_and_update().clone();
            let written = hosts.put(key.as_str(), &newest).await;
            let pause = Duration::from_millis(if written.is_ok() { 30_000 } else { 500 });
            tokio::select! {
                biased;
                changed = told.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }));
    let (table, key) = (store.beats(), id.clone());
    let _beating = AbortOnDropHandle::new(tokio::spawn(async move {
        // As a host does: one that starts again does not repeat the counts of its last life.
        let mut count = begun.elapsed().as_millis() as u64;
        loop {
            beats.tick().await;
            count += 1;
            let beat = Beat { count, load: BTreeMap::new() };
            let _ = tokio::time::timeout(Duration::from_secs(1), table.put(key.as_str(), &beat)).await;
        }
    }));
    loop {
        let newest = assignments.borrow_and_update().as_ref().and_then(|all| all.get(id.as_str()).cloned());
        if let Some(newest) = newest.map(|entry| entry.value) {
            let mut current = adopted.lock().unwrap();
            if current.as_ref().is_none_or(|current| newest.supersedes(current)) {
                log.lock().unwrap().push(format!("{at} adopts {}.{}", newest.term, newest.generation));
                *current = Some(newest);
            } else if current
                .as_ref()
                .is_some_and(|c| *c != newest && (c.term, c.generation) == (newest.term, newest.generation))
            {
                log.lock()
                    .unwrap()
                    .push(format!("{BROKEN}: two have planned {at} in one term: {current:?} and {newest:?}"));
            }
        }
        if let Some(current) = adopted.lock().unwrap().clone() {
            record.send_if_modified(|record| {
                let report = |(unit, record)| InstanceReport::of(&id, unit, record, InstanceState::Ready);
                let instances: Vec<_> = current.units.iter().map(report).collect();
                let changed = record.generation != current.generation || record.instances != instances;
                (record.term, record.generation, record.instances) = (current.term, current.generation, instances);
                changed
            });
        }
        if assignments.changed().await.is_err() {
            return;
        }
    }
}

/// One run; returns what was seen.
fn run(seed: u64) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut chaos = Chaos::new(seed);
        chaos.apply().await;
        sleep(Duration::from_secs(10)).await;
        let strikes = 5 + chaos.dice.roll(20);
        for _ in 0..strikes {
            chaos.strike().await;
            let pause = Duration::from_millis(50 + chaos.dice.roll(8000));
            sleep(pause).await;
        }
        chaos.settles(seed).await;
        let terms: BTreeSet<_> =
            chaos.bus.store().assignments().list().await.unwrap().into_values().map(|entry| entry.value.term).collect();
        chaos.note(format!("rests in terms {terms:?}"));
        std::mem::take(&mut *chaos.log.lock().unwrap())
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn chaos_ends_with_everything_where_it_should_be() {
    let seeds = match number("LATTICE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LATTICE_SEEDS").unwrap_or(1200),
    };
    // On half of the processors: tests of real servers run beside this one, and go by real time.
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    run(seed);
                }
            });
        }
    });
}

#[test]
fn chaos_is_the_same_again() {
    for seed in [1, 7, 23] {
        assert_eq!(run(seed), run(seed));
    }
}
