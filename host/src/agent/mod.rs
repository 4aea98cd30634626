//! The task that makes the host run what it is assigned. It owns the state of every instance; whatever takes time
//! happens in tasks of their own, which tell it the outcome.

mod access;
mod answers;
mod builtin;
mod check;
mod contact;
mod diff;
mod instance;
mod limits;
mod load;
mod orders;
mod probe;
mod process;
mod program;
mod report;
mod start;
mod surroundings;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lattice::{
    bus::{Bus, View},
    model::{
        app::{UnitRecord, UnitSpec},
        assignment::{Assignment, ControlReport},
        inventory::{HostRecord, InstanceReport},
        placement::Offline,
        quota::Quota,
    },
    wire::{HostId, UnitId},
};
use lattice_control::Figures;
use lattice_provider::Health;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    contact::Contact,
    diff::{Key, Phase, Step, Wanted, diff},
    instance::{Running, Slot},
};
use crate::{events, journal::Kept, links::Router};

pub(crate) use access::{Access, AccessError};
pub(crate) use answers::serve as serve_answers;
pub(crate) use load::{Followed, Meter};
pub(crate) use orders::Orders;
pub(crate) use report::{beat, publish, started};
pub(crate) use start::StartFailure;
pub(crate) use surroundings::Surroundings;

/// News from the tasks that the agent started.
pub(crate) enum News {
    Started(Key, Result<Box<Running>, StartFailure>),
    Health(Key, Health),
    /// A provider process ended by itself.
    Ended(Key, String),
    Drained(Key),
    /// The assignment of this host, read by a request that was sent then.
    Read(Option<Assignment>, Instant),
}

/// What the agent of a host begins with, and whom it tells.
pub(crate) struct Beginnings {
    pub(crate) record: watch::Sender<HostRecord>,
    pub(crate) orders: Orders,
    /// What was kept, when the lattice cannot be asked.
    pub(crate) assignment: Option<Assignment>,
    pub(crate) journal: watch::Sender<Option<Kept>>,
    pub(crate) followed: Followed,
    /// When the last beat was sent that was acknowledged.
    pub(crate) heard: watch::Receiver<Option<Instant>>,
    pub(crate) news: mpsc::Sender<News>,
    /// Where it is said what has happened.
    pub(crate) figures: Arc<Figures>,
    /// Cancelled when somebody has ordered this process to end.
    pub(crate) dismissed: CancellationToken,
}

/// Retries and fault counters are looked at this often.
const TICK: Duration = Duration::from_millis(500);

/// How long others may take to get ready for what this host runs, when it is told to end.
const HAND_OVER: Duration = Duration::from_secs(10);

/// The agent of a host.
pub(crate) struct Agent {
    surroundings: Arc<Surroundings>,
    router: Arc<Router>,
    slots: BTreeMap<Key, Slot>,
    assignment: Option<Assignment>,
    /// What the whole lattice runs.
    hosts: View<HostRecord>,
    quotas: View<Quota>,
    /// What the controller says of the lattice as a whole.
    control: View<ControlReport>,
    record: watch::Sender<HostRecord>,
    orders: Orders,
    journal: watch::Sender<Option<Kept>>,
    followed: Followed,
    contact: Contact,
    heard: watch::Receiver<Option<Instant>>,
    dismissed: CancellationToken,
    news: mpsc::Sender<News>,
    figures: Arc<Figures>,
    tasks: TaskTracker,
}

impl Agent {
    pub(crate) fn new(surroundings: Arc<Surroundings>, router: Arc<Router>, beginnings: Beginnings) -> Self {
        let Beginnings { record, orders, assignment, journal, followed, heard, news, figures, dismissed } = beginnings;
        Self {
            hosts: surroundings.bus.store().hosts().follow(),
            quotas: surroundings.bus.store().quotas().follow(),
            control: surroundings.bus.store().control().follow_one(ControlReport::KEY),
            surroundings,
            router,
            slots: BTreeMap::new(),
            assignment,
            record,
            orders,
            journal,
            followed,
            contact: Contact::default(),
            heard,
            dismissed,
            news,
            figures,
            tasks: TaskTracker::new(),
        }
    }

    /// Follows the assignment until `shutdown`; then lets others take over what it runs, and drains the rest within
    /// `limit`.
    pub(crate) async fn run(mut self, mut news: mpsc::Receiver<News>, shutdown: CancellationToken, limit: Duration) {
        let mut assignments = self.surroundings.bus.store().assignments().follow_one(self.surroundings.host.as_str());
        let mut tick = tokio::time::interval(TICK);
        let mut hosts = self.hosts.clone();
        let mut quotas = self.quotas.clone();
        let mut control = self.control.clone();
        let mut orders = self.orders.view.clone();
        let mut secrets = self.surroundings.secrets.changes();
        let mut heard = self.heard.clone();
        let trust = &self.surroundings.trust;
        let mut signatures = trust.needs_signatures().then(|| self.surroundings.bus.store().signatures().follow());
        let mut leaves_at = None;
        loop {
            let unsure = self.contact.ends(Instant::now());
            // Cancel-safe: `recv`, `changed` and `tick` lose nothing when another arm is taken.
            tokio::select! {
                Some(news) = news.recv() => self.take(news),
                Ok(()) = assignments.changed() => self.adopt(&assignments),
                Ok(()) = heard.changed() => self.hear(*heard.borrow_and_update()),
                () = sleep_until(unsure), if unsure.is_some() => {}
                Ok(()) = hosts.changed() => {}
                Ok(()) = quotas.changed() => {}
                Ok(()) = control.changed() => {}
                Ok(()) = secrets.changed() => self.keep(),
                Ok(()) = changed(signatures.as_mut()) => self.slots.values_mut().for_each(Slot::signed),
                Ok(()) = orders.changed() => self.obey(leaves_at.is_some()),
                _ = tick.tick() => {}
                () = shutdown.cancelled(), if leaves_at.is_none() => {
                    leaves_at = Some(Instant::now() + HAND_OVER);
                    self.record.send_modify(|record| record.leaving = true);
                }
            }
            self.advance();
            self.tell();
            self.surroundings.metrics.looked();
            if leaves_at.is_some_and(|at| Instant::now() >= at || !self.has_heirs()) {
                break;
            }
        }
        self.wind_up(news, limit).await;
    }

    fn adopt(&mut self, assignments: &View<Assignment>) {
        let me = self.surroundings.host.as_str();
        let newest = assignments.borrow().as_ref().and_then(|all| all.get(me)).map(|entry| entry.value.clone());
        self.take_over(newest);
    }

    fn take_over(&mut self, newest: Option<Assignment>) {
        let Some(newest) = newest else { return };
        match &self.assignment {
            Some(current) if *current == newest => {}
            Some(current) if !newest.supersedes(current) => {
                tracing::warn!(
                    generation = newest.generation,
                    current = current.generation,
                    "refused an assignment that is older than the one in force"
                );
            }
            _ => {
                tracing::info!(generation = newest.generation, units = newest.units.len(), "took an assignment");
                self.assignment = Some(newest);
                self.keep();
            }
        }
    }

    /// Writes down what this host goes on with when it is started again without the lattice.
    fn keep(&self) {
        let Some(assignment) = &self.assignment else { return };
        let secrets = &self.surroundings.secrets;
        let of = |(unit, record): (&UnitId, &UnitRecord)| secrets.to_keep(&unit.app, &record.spec.secrets());
        let sealed = assignment.units.iter().flat_map(of).collect();
        let kept = Kept::new(self.surroundings.bus.lattice(), assignment.clone(), sealed);
        self.journal.send_replace(Some(kept));
    }

    /// A beat has been acknowledged.
    fn hear(&mut self, sent: Option<Instant>) {
        let Some(sent) = sent else { return };
        self.contact.beat(sent);
        if self.contact.asks(Instant::now()) {
            let (bus, news) = (self.surroundings.bus.clone(), self.news.clone());
            let host = self.surroundings.host.clone();
            self.tasks.spawn(async move {
                let sent = Instant::now();
                if let Ok(entry) = bus.store().assignments().get(host.as_str()).await {
                    let _ = news.send(News::Read(entry.map(|entry| entry.value), sent)).await;
                }
            });
        }
    }

    /// Does as operators have said.
    fn obey(&self, ending: bool) {
        let mut ends = false;
        self.record.send_if_modified(|record| {
            let (changed, dismissed) = self.orders.obey(record, ending);
            ends = dismissed;
            changed
        });
        if ends && !self.dismissed.is_cancelled() {
            tracing::info!("an operator has ordered this process to end");
            self.dismissed.cancel();
        }
    }

    /// Whether another host could take over something that this one is still assigned.
    fn has_heirs(&self) -> bool {
        if !*self.surroundings.bus.connected().borrow() {
            return false;
        }
        let hosts = self.hosts.borrow();
        let hosts = hosts.iter().flatten().map(|(_, entry)| &entry.value);
        let others: Vec<_> = hosts.filter(|host| host.host != self.surroundings.host).collect();
        let units = self.assignment.iter().flat_map(|assignment| assignment.units.values());
        let mut specs = units.map(|unit| &unit.spec);
        specs.any(|spec| others.iter().any(|host| lattice_control::may_take(spec, host)))
    }

    /// Whether a unit would have to stop because this host cannot be sure that it alone has it.
    fn is_unsure(&self, record: &UnitRecord) -> bool {
        record.spec.placement().offline == Offline::Stop && !self.contact.is_sure(Instant::now())
    }

    fn wanted(&self) -> BTreeMap<UnitId, Wanted> {
        let units = self.assignment.iter().flat_map(|assignment| &assignment.units);
        let units = units.filter(|(_, record)| !self.is_unsure(record));
        let wanted = |(unit, record): (&UnitId, &UnitRecord)| {
            // A component asks for its secrets whenever it wants; a provider is told when it starts.
            let secrets = match &record.spec {
                UnitSpec::Component(_) => 0,
                spec => self.surroundings.secrets.revision(&unit.app, &spec.secrets()),
            };
            (unit.clone(), Wanted { record: record.clone(), secrets })
        };
        units.map(wanted).collect()
    }

    /// Does what is to be done next.
    fn advance(&mut self) {
        let phases = self.slots.iter().map(|(key, slot)| (key.clone(), slot.phase())).collect();
        for step in diff(&self.wanted(), &phases, Instant::now()) {
            match step {
                Step::Start(key) => self.start(key),
                Step::Drain(key) => self.drain(key),
                Step::Cancel(key) => {
                    if let Some(slot) = self.slots.remove(&key) {
                        slot.cancel();
                    }
                }
                Step::Forget(key) => drop(self.slots.remove(&key)),
            }
        }
    }

    fn start(&mut self, key: Key) {
        let Some(record) = self.assignment.as_ref().and_then(|a| a.units.get(&key.unit)).cloned() else { return };
        let attempt = self.slots.get(&key).map_or(0, Slot::attempts) + 1;
        let instance = key.instance(&self.surroundings.host, attempt);
        let (surroundings, news) = (self.surroundings.clone(), self.news.clone());
        let stop = CancellationToken::new();
        let (id, cancelled, unit) = (key.clone(), stop.clone(), record.clone());
        let named = instance.clone();
        self.tasks.spawn(async move {
            let started = tokio::select! {
                started = start::start(&surroundings, &id, &named, &unit, news.clone()) => started,
                () = cancelled.cancelled() => return,
            };
            let _ = news.send(News::Started(id, started.map(Box::new))).await;
        });
        self.surroundings.metrics.unit(&key.unit).started();
        tracing::info!(unit = %key.unit, revision = key.revision, attempt, "starting");
        let slot = Slot::starting(instance, record.spec, attempt, stop).after(self.slots.get(&key));
        self.slots.insert(key, slot);
    }

    fn take(&mut self, news: News) {
        match news {
            News::Started(key, outcome) => match (self.slots.get_mut(&key), outcome) {
                (Some(slot), outcome) => slot.started(&key, outcome),
                // It was cancelled in the very moment in which it became ready.
                (None, Ok(running)) => drop(self.tasks.spawn(running.stop(Duration::ZERO))),
                (None, Err(_)) => {}
            },
            News::Health(key, health) => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.health(&key, health);
                }
            }
            News::Ended(key, reason) => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.ended(&key, reason);
                }
            }
            News::Drained(key) => drop(self.slots.remove(&key)),
            News::Read(assignment, sent) => {
                self.take_over(assignment);
                self.contact.confirm(sent);
            }
        }
    }

    fn drain(&mut self, key: Key) {
        let Some(running) = self.slots.get_mut(&key).and_then(|slot| slot.drain()) else { return };
        let news = self.news.clone();
        // Somebody else may be given it in a moment, and it is not to run twice.
        let at_once = self.assignment.as_ref().and_then(|a| a.units.get(&key.unit)).is_some_and(|r| self.is_unsure(r));
        let limit = if at_once { Duration::ZERO } else { running.drain_limit() };
        tracing::info!(unit = %key.unit, revision = key.revision, at_once, "draining");
        self.tasks.spawn(async move {
            // Others send calls here until they have heard that it drains.
            if !at_once {
                tokio::time::sleep(instance::LINGER).await;
            }
            running.stop(limit).await;
            let _ = news.send(News::Drained(key)).await;
        });
    }

    /// Brings the router and the published inventory up to date.
    fn tell(&mut self) {
        let instances: Vec<InstanceReport> = self.slots.iter().map(|(key, slot)| slot.report(key)).collect();
        let (term, generation) = self.assignment.as_ref().map_or((0, 0), |a| (a.term, a.generation));
        let changed = self.record.send_if_modified(|record| {
            let news = record.instances != instances || (record.term, record.generation) != (term, generation);
            // Most of the times that this looks nothing has happened.
            if record.instances != instances {
                let news = events::of_instances(&record.instances, &instances);
                news.into_iter().for_each(|happening| self.figures.happened(happening));
            }
            record.instances = instances;
            (record.term, record.generation) = (term, generation);
            news
        });
        let hosts = self.hosts.borrow_and_update();
        let me = &self.surroundings.host;
        let others = hosts
            .iter()
            .flatten()
            .map(|(_, entry)| (&entry.value, entry.revision))
            .filter(|(host, _)| host.host != *me);
        let own = self.record.borrow();
        let local: Vec<_> = self.slots.iter().filter_map(|(key, slot)| slot.local(key)).collect();
        let control = self.control.borrow();
        let said = control.as_ref().and_then(|control| control.get(ControlReport::KEY));
        // Who reads that it is lost itself is not.
        let lost = said.map(|said| said.value.lost.iter().filter(|host| *host != me).cloned().collect());
        self.router.update(others.chain([(&*own, 0)]), &lost.unwrap_or_default(), &local, own.site());
        if let Some(quotas) = &*self.quotas.borrow() {
            let quotas = quotas.iter().map(|(key, entry)| (key.clone(), entry.value)).collect();
            let others = hosts.iter().flatten().map(|(_, entry)| &entry.value).filter(|host| host.host != *me);
            self.surroundings.quotas.share(&quotas, others.chain([&*own]));
        }
        let follows = |(key, slot): (&Key, &Slot)| Some((key.unit.clone(), slot.follows_load()?));
        self.followed.store(Arc::new(self.slots.iter().filter_map(follows).collect()));
        if changed {
            self.surroundings.metrics.keep(|unit| self.slots.keys().any(|key| key.unit == *unit));
            tracing::debug!(instances = own.instances.len(), generation, "inventory changed");
        }
    }

    /// Ends everything: tells the others first, so that they send nothing more, then drains.
    async fn wind_up(mut self, mut news: mpsc::Receiver<News>, limit: Duration) {
        let keys: Vec<_> =
            self.slots.iter().filter(|(_, slot)| slot.phase() == Phase::Running).map(|(key, _)| key.clone()).collect();
        for slot in self.slots.values() {
            slot.cancel();
        }
        keys.into_iter().for_each(|key| self.drain(key));
        self.tell();
        self.tasks.close();
        let all_done = async {
            let mut waiting = std::pin::pin!(self.tasks.wait());
            loop {
                // The tasks tell their outcome through a bounded channel; somebody must take it.
                tokio::select! {
                    () = waiting.as_mut() => return,
                    _ = news.recv() => {}
                }
            }
        };
        if tokio::time::timeout(limit, all_done).await.is_err() {
            tracing::warn!(?limit, "some instances did not end in time");
        }
    }
}

/// Until then; for ever when there is no such time.
async fn changed<T>(view: Option<&mut View<T>>) -> Result<(), watch::error::RecvError> {
    match view {
        Some(view) => view.changed().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Removes what says that this host is there.
pub(crate) async fn leave(bus: &Bus, host: &HostId) {
    let store = bus.store();
    for removed in [store.beats().delete(host.as_str()).await, store.hosts().delete(host.as_str()).await] {
        if let Err(error) = removed {
            tracing::debug!(%error, "cannot say good-bye to the lattice");
        }
    }
}
