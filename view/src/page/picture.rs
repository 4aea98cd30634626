//! The lattice as the page shows it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{SecondsFormat, Utc};
use lattice::{
    bus::Bus,
    model::{
        app::{AppRecord, Scale, UnitRecord},
        status::AppStatus,
    },
    wire::{LatticeName, UnitId, UnitName},
};
use serde::Serialize;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    calls::{Counted, Flow, UnitCalls, units},
    hosts::{Host, all_hosts},
    links::{Explained, explained},
    world::{Follower, World, now_ms},
};

/// How long calls are counted, at least, before the counts are shown.
const COUNT: Duration = Duration::from_secs(2);
/// The pause between two pictures.
const PAUSE: Duration = Duration::from_millis(900);
/// Without a look for so long, nobody looks.
const IDLE: Duration = Duration::from_secs(10);
/// How long the first picture may take.
const FIRST: Duration = Duration::from_secs(5);

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Picture {
    lattice: LatticeName,
    at: String,
    release: &'static str,
    /// Whether the page may change something.
    changes: bool,
    /// That most hosts are silent, in words.
    holding: Option<String>,
    /// What is not as new as it seems: NATS that is away, and hosts that do not tell.
    notes: Vec<String>,
    hosts: Vec<Host>,
    apps: Vec<App>,
}

#[derive(Debug, Serialize)]
struct App {
    status: AppStatus,
    /// Units whose copies are a number.
    scalable: Vec<UnitName>,
    links: Vec<Explained>,
    calls: BTreeMap<UnitName, UnitCalls>,
}

/// A picture, and what it was made of.
pub(super) struct Drawn {
    pub(super) world: World,
    pub(super) picture: Picture,
}

/// Follows the lattice for as long as this is there.
pub(super) struct Watching {
    drawn: watch::Receiver<Option<Arc<Drawn>>>,
    looked: watch::Sender<Instant>,
    _task: AbortOnDropHandle<()>,
}

impl Watching {
    /// Begins with nothing; the first look has it begin.
    pub(super) fn begin(bus: &Bus, changes: bool) -> Self {
        let (draw, drawn) = watch::channel(None);
        let (looked, looks) = watch::channel(Instant::now());
        let painter = Painter { bus: bus.clone(), changes, looks, counted: Counted::default(), since: Instant::now() };
        Self { drawn, looked, _task: AbortOnDropHandle::new(tokio::spawn(painter.paint(draw))) }
    }

    /// The newest picture; `None` where the lattice does not answer.
    pub(super) async fn look(&self) -> Option<Arc<Drawn>> {
        self.looked.send_replace(Instant::now());
        let mut drawn = self.drawn.clone();
        let first = timeout(FIRST, drawn.wait_for(Option::is_some)).await;
        first.ok()?.ok()?.clone()
    }
}

struct Painter {
    bus: Bus,
    changes: bool,
    looks: watch::Receiver<Instant>,
    /// What was counted before, and since when.
    counted: Counted,
    since: Instant,
}

/// What came in some time.
#[derive(Default)]
struct Counts {
    units: Vec<UnitCalls>,
    links: BTreeMap<(UnitId, UnitId), Flow>,
    apart: Duration,
    notes: Vec<String>,
}

impl Painter {
    async fn paint(mut self, draw: watch::Sender<Option<Arc<Drawn>>>) {
        // Until somebody looks the lattice is not followed: where the page is a part of a host, nobody may ever do.
        while self.looks.changed().await.is_ok() {
            self.paint_while_looked_at(&draw).await;
            // Whoever looks next waits for a new one; what was counted meanwhile is of no moment.
            draw.send_replace(None);
        }
    }

    async fn paint_while_looked_at(&mut self, draw: &watch::Sender<Option<Arc<Drawn>>>) {
        let mut follower = Follower::new(&self.bus);
        let mut world = follower.next().await;
        // What was counted until now says nothing of a time.
        let mut counts = Counts { notes: self.count(&world).await.notes, ..Counts::default() };
        while self.looks.borrow_and_update().elapsed() < IDLE {
            if self.since.elapsed() > COUNT {
                counts = self.count(&world).await;
            }
            let picture = self.picture(&world, &counts);
            draw.send_replace(Some(Arc::new(Drawn { world, picture })));
            tokio::time::sleep(PAUSE).await;
            world = follower.next().await;
        }
    }

    /// Asks the hosts what they have counted since they were asked before.
    async fn count(&mut self, world: &World) -> Counts {
        let mut notes = Vec::new();
        let now = Counted::read(&self.bus, world, &mut notes).await;
        let before = std::mem::replace(&mut self.counted, now);
        let apart = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        Counts { units: units(&self.counted, &before, apart), links: self.counted.links(&before), apart, notes }
    }

    fn picture(&self, world: &World, counts: &Counts) -> Picture {
        let app = |record: &AppRecord| {
            let mine = counts.units.iter().filter(|unit| unit.unit.app == record.name);
            let scalable = |(name, unit): &(&UnitName, &UnitRecord)| {
                matches!(unit.spec.scale(), Scale::Replicas(_) | Scale::PerHost) && record.fused_into(name).is_empty()
            };
            App {
                status: world.status(record),
                scalable: record.units.iter().filter(scalable).map(|(name, _)| name.clone()).collect(),
                links: explained(world, record, &counts.links, counts.apart),
                calls: mine.map(|unit| (unit.unit.unit.clone(), unit.clone())).collect(),
            }
        };
        let away =
            (!*self.bus.connected().borrow()).then(|| "NATS cannot be reached: this is what was last known".to_owned());
        Picture {
            lattice: self.bus.lattice().clone(),
            at: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            release: env!("CARGO_PKG_VERSION"),
            changes: self.changes,
            holding: world.holding().map(|holding| holding.to_string()),
            notes: away.into_iter().chain(counts.notes.clone()).collect(),
            hosts: all_hosts(world, now_ms()),
            apps: world.apps.values().map(|entry| app(&entry.value)).collect(),
        }
    }
}
