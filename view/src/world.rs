//! What a lattice looks like: everything at one moment, or as it changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use lattice::{
    bus::{Bus, Entry, StoreError, Table, View},
    model::{
        app::AppRecord,
        assignment::{ControlReport, Holding, PlanReport},
        inventory::{Beat, HostRecord},
        quota::Quota,
        status::{AppStatus, app_status},
    },
    wire::{AppName, HostId, LatticeName},
};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::ViewError;

/// How often signs of life are looked at. They cannot be followed: they end by expiring, which nobody announces.
const BEAT_POLL: Duration = Duration::from_millis(500);

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub apps: BTreeMap<String, Entry<AppRecord>>,
    pub hosts: BTreeMap<String, Entry<HostRecord>>,
    pub plans: BTreeMap<String, Entry<PlanReport>>,
    /// How much apps may have.
    pub quotas: BTreeMap<String, Quota>,
    /// The hosts that show signs of life.
    pub alive: BTreeSet<HostId>,
    /// What the controller says of the lattice as a whole.
    pub control: Option<ControlReport>,
}

impl World {
    /// As the store has it now.
    pub async fn read(bus: &Bus) -> Result<Self, StoreError> {
        let store = bus.store();
        Ok(Self {
            apps: store.apps().list().await?,
            hosts: store.hosts().list().await?,
            plans: store.plans().list().await?,
            quotas: store.quotas().list().await?.into_iter().map(|(key, entry)| (key, entry.value)).collect(),
            alive: alive(&store.beats()).await?,
            control: store.control().get(ControlReport::KEY).await?.map(|entry| entry.value),
        })
    }

    /// How an app is.
    pub fn status(&self, app: &AppRecord) -> AppStatus {
        let plan = self.plans.get(app.name.as_str()).map(|p| &p.value);
        app_status(app, plan, self.hosts.values().map(|h| &h.value), &self.alive)
    }

    /// The app of a name, or the error that names those that there are.
    pub fn app(&self, name: &str, lattice: &LatticeName) -> Result<&Entry<AppRecord>, ViewError> {
        self.apps.get(name).ok_or_else(|| ViewError::NoApp {
            name: name.to_owned(),
            lattice: lattice.clone(),
            known: self.apps.keys().cloned().collect(),
        })
    }

    /// Lets an app be what it is not yet.
    pub fn insert(&mut self, record: AppRecord) {
        let revision = self.apps.get(record.name.as_str()).map_or(0, |entry| entry.revision);
        self.apps.insert(record.name.to_string(), Entry { value: record, revision });
    }

    /// That most hosts are silent, if they are.
    pub fn holding(&self) -> Option<Holding> {
        self.control.as_ref().and_then(|control| control.holding)
    }

    /// Hosts that are alive.
    pub fn live_hosts(&self) -> impl Iterator<Item = &HostRecord> {
        self.hosts.values().map(|h| &h.value).filter(|h| self.alive.contains(&h.host))
    }

    /// The units of `app` that still run somewhere: `unit on host`.
    pub fn remains(&self, app: &AppName) -> Vec<String> {
        let of = |host: &HostRecord| {
            let units = host.instances.iter().filter(|i| i.unit.app == *app);
            units.map(|i| format!("{} on {} ({})", i.unit.unit, host.host.short(), i.state)).collect::<Vec<_>>()
        };
        self.live_hosts().flat_map(of).collect()
    }
}

async fn alive(beats: &Table<Beat>) -> Result<BTreeSet<HostId>, StoreError> {
    Ok(beats.list().await?.keys().filter_map(|key| key.parse().ok()).collect())
}

/// The world as it changes.
pub struct Follower {
    apps: View<AppRecord>,
    hosts: View<HostRecord>,
    plans: View<PlanReport>,
    control: View<ControlReport>,
    beats: Table<Beat>,
    alive: BTreeSet<HostId>,
    /// When the signs of life could last be read.
    read: Option<Instant>,
    poll: tokio::time::Interval,
}

impl Follower {
    /// Follows it from now on.
    pub fn new(bus: &Bus) -> Self {
        let store = bus.store();
        let mut poll = interval(BEAT_POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            apps: store.apps().follow(),
            hosts: store.hosts().follow(),
            plans: store.plans().follow(),
            control: store.control().follow(),
            beats: store.beats(),
            alive: BTreeSet::new(),
            read: None,
            poll,
        }
    }

    /// Waits for the next change or look at the signs of life, and returns the world after it. It may be the same as
    /// before.
    pub async fn next(&mut self) -> World {
        loop {
            // Cancel-safe: each arm only waits for news; nothing is taken out.
            tokio::select! {
                _ = self.poll.tick() => self.look().await,
                Ok(()) = self.apps.changed() => {}
                Ok(()) = self.hosts.changed() => {}
                Ok(()) = self.plans.changed() => {}
                Ok(()) = self.control.changed() => {}
            }
            if let Some(world) = self.now() {
                return world;
            }
        }
    }

    /// While NATS is away, what was last known stands.
    async fn look(&mut self) {
        if let Ok(alive) = alive(&self.beats).await {
            self.alive = alive;
            self.read = Some(Instant::now());
        }
    }

    fn now(&mut self) -> Option<World> {
        self.read?;
        Some(World {
            apps: self.apps.borrow_and_update().clone()?,
            hosts: self.hosts.borrow_and_update().clone()?,
            plans: self.plans.borrow_and_update().clone()?,
            quotas: BTreeMap::new(),
            alive: self.alive.clone(),
            control: self.control.borrow_and_update().clone()?.remove(ControlReport::KEY).map(|entry| entry.value),
        })
    }
}

/// The time in milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
