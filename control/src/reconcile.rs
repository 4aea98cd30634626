//! The reconcile loop: while this host holds the lease it looks at everything ([`look`]), plans, and writes what differs
//! ([`write`]).

mod look;
mod write;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, View},
    model::{
        app::AppRecord,
        assignment::{Assignment, ControlReport, PlanReport},
        event::{Happening, Kind},
        inventory::{Beat, HostRecord},
        quota::Quota,
        signature::Signature,
    },
    wire::HostId,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{look::values, write::note};
use crate::{
    Timing,
    figures::Figures,
    keeper::{self, Told},
    lease::Holding,
    liveness::{Liveness, Roll, Verdict},
    mirror::Mirror,
    news::News,
    plan::{Plan, World, plan},
    rollback::Rollbacks,
    rollout::Clock,
    scaler::Scaler,
};

/// Takes part in controlling the lattice until `shutdown`; then gives the lease back, if it was ours. No error ends it.
/// `figures` tells what it does.
pub async fn run(bus: Bus, me: HostId, timing: Timing, figures: Arc<Figures>, shutdown: CancellationToken) {
    let connected = bus.connected();
    run_while(bus, me, timing, connected, figures, shutdown).await;
}

/// [`run`], with a given sign of whether the store can be heard.
pub(crate) async fn run_while(
    bus: Bus,
    me: HostId,
    timing: Timing,
    connected: watch::Receiver<bool>,
    figures: Arc<Figures>,
    shutdown: CancellationToken,
) {
    let release = CancellationToken::new();
    let (holding, held) = watch::channel(None);
    let (late, mut is_late) = watch::channel(false);
    let (highest, known) = watch::channel(0);
    let keeper = keeper::run(bus.clone(), me.clone(), timing, Told { holding, late }, known, release.clone());
    let keeper = AbortOnDropHandle::new(tokio::spawn(keeper));
    shutdown
        .run_until_cancelled(async {
            while is_late.wait_for(|late| *late).await.is_ok() {
                let leader = Leader::new(&bus, &me, timing, held.clone(), highest.clone(), connected.clone());
                if let Some(leader) = leader.stand_by(is_late.clone()).await {
                    figures.lead(true);
                    figures.happened(Happening::new(Kind::ControlTaken, &me, [("term", leader.term.into())]));
                    leader.lead(&figures).await;
                    figures.lead(false);
                }
            }
        })
        .await;
    // The leader is gone now, with any write that it was about to make: only then may another one begin.
    release.cancel();
    if let Err(error) = keeper.await {
        tracing::error!(%error, "the keeper of the controller's lease failed");
    }
}

/// Controls the lattice for one term. Before that it listens, so that it knows then who is silent.
struct Leader {
    bus: Bus,
    timing: Timing,
    term: u64,
    held: watch::Receiver<Option<Holding>>,
    /// The highest term that a host has heard of.
    highest: watch::Sender<u64>,
    connected: watch::Receiver<bool>,
    epoch: Instant,
    apps: View<AppRecord>,
    hosts: View<HostRecord>,
    beats: View<Beat>,
    assignments: Mirror<Assignment>,
    plans: Mirror<PlanReport>,
    quotas: View<Quota>,
    signatures: View<Signature>,
    liveness: Liveness,
    /// What we have said of the lattice.
    said: Option<ControlReport>,
    clock: Clock,
    scaler: Scaler,
    rollbacks: Rollbacks,
    news: News,
    /// The store could not be heard when we last looked.
    deaf: bool,
    roll: Roll,
    verdict: Verdict,
}

impl Leader {
    fn new(
        bus: &Bus,
        me: &HostId,
        timing: Timing,
        held: watch::Receiver<Option<Holding>>,
        highest: watch::Sender<u64>,
        connected: watch::Receiver<bool>,
    ) -> Self {
        let store = bus.store();
        // Also the limit of a write: an answer that comes when the lease may be gone is of no use.
        let limit = timing.step_down;
        Self {
            bus: bus.clone(),
            timing,
            term: 0,
            held,
            highest,
            connected,
            epoch: Instant::now(),
            apps: store.apps().follow(),
            hosts: store.hosts().follow(),
            beats: store.beats().follow(),
            assignments: Mirror::new(store.assignments(), limit),
            plans: Mirror::new(store.plans(), limit),
            quotas: store.quotas().follow(),
            signatures: store.signatures().follow(),
            liveness: Liveness::new(me.clone(), Duration::ZERO, timing),
            said: None,
            clock: Clock::default(),
            scaler: Scaler::default(),
            rollbacks: Rollbacks::default(),
            news: News::default(),
            deaf: false,
            roll: Roll::default(),
            verdict: Verdict::default(),
        }
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Whether it is certain that nobody else controls the lattice.
    fn may_act(&self) -> bool {
        self.held.borrow().is_some_and(|holding| holding.term == self.term && holding.is_valid())
    }

    /// Listens until the lease is held, or somebody else has renewed it.
    async fn stand_by(mut self, mut late: watch::Receiver<bool>) -> Option<Self> {
        loop {
            // An outdated hold is no reason to begin; the keeper tells when it has renewed it.
            let holding = *self.held.borrow_and_update();
            if let Some(holding) = holding.filter(Holding::is_valid) {
                self.term = holding.term;
                return Some(self);
            }
            if !*late.borrow_and_update() {
                return None;
            }
            self.hear();
            self.observe();
            // Each arm waits for a flag, and is safe to cancel.
            tokio::select! {
                _ = self.change() => {}
                () = changed(&mut late) => {}
            }
        }
    }

    /// Whether the store can be heard. When it could not for a while, nobody's silence counts.
    fn hear(&mut self) -> bool {
        let heard = *self.connected.borrow_and_update();
        if std::mem::replace(&mut self.deaf, !heard) && heard {
            tracing::info!("the lattice is back; watching the hosts anew before anything moves");
            self.liveness.listen_anew(self.now());
        }
        heard
    }

    /// Returns when the lease is lost.
    async fn lead(mut self, figures: &Figures) {
        while self.may_act() {
            let heard = self.hear();
            if heard && self.is_synced() {
                self.round(figures).await;
            }
            self.pause().await;
        }
    }

    /// Until there may be something to do.
    async fn pause(&mut self) {
        let tick = self.now() + self.timing.tick;
        loop {
            let due = self.liveness.next_change(self.now(), &self.roll).map_or(tick, |next| next.min(tick));
            let due_at = self.epoch + due;
            let only_beats = tokio::select! {
                () = sleep_until(due_at) => false,
                only_beats = self.change() => {
                    sleep(self.timing.debounce).await;
                    only_beats
                }
            };
            // We slept longer than we wanted to: the process was stopped, or the machine is overloaded. Then the
            // tasks that listen for us may have slept as well.
            if self.now() > due + self.timing.debounce + self.timing.quiet_after() {
                tracing::warn!("this host was held up; watching the others anew");
                self.liveness.listen_anew(self.now());
            }
            // Beats come all the time, and mean something only when they change who is alive, or tell of calls that there are too few
            // copies for.
            if !only_beats || self.now() >= due || self.judge() != self.verdict || self.is_short() {
                return;
            }
        }
    }

    /// One look at everything, and what follows from it.
    async fn round(&mut self, figures: &Figures) {
        let mut sight = self.look();
        if !self.liveness.is_settled(self.now()) {
            return;
        }
        // A store that was lost, or put back from a backup, knows of no term; hosts do, and would adopt nothing of ours.
        let highest = sight.hosts.values().map(|host| host.term).max().unwrap_or(0);
        if highest > self.term {
            tracing::warn!(term = self.term, highest, "hosts have heard of a later term: beginning a new one after it");
            self.highest.send_replace(highest);
            return;
        }
        self.say(&sight.hosts).await;
        let unreadable = self.find_missing_apps(&mut sight).await;
        let Verdict { mut alive, mut silent } = self.verdict.clone();
        // One that beats and has no inventory (yet, or none that this version can read) keeps what it has, too.
        silent.extend(alive.extract_if(.., |id| !sight.hosts.contains_key(id)));
        let labels = |id: &HostId| sight.hosts.get(id).map(|host| host.labels.clone()).unwrap_or_default();
        let silent = silent.into_iter().map(|id| (id.clone(), labels(&id))).collect();
        let written: BTreeMap<_, _> = sight.apps.iter().map(|(app, entry)| (app.clone(), entry.revision)).collect();
        let mut world = World {
            apps: sight.apps.into_iter().map(|(app, entry)| (app, entry.value)).collect(),
            unreadable,
            hosts: alive.iter().filter_map(|id| Some((id.clone(), sight.hosts.get(id)?.clone()))).collect(),
            silent,
            assigned: sight.assignments.iter().map(|(id, entry)| (id.clone(), entry.value.units.clone())).collect(),
            reports: sight.plans.iter().map(|(app, entry)| (app.clone(), entry.value.clone())).collect(),
            quotas: values(&self.quotas.borrow_and_update(), |quota| *quota),
            signers: self
                .signatures
                .borrow_and_update()
                .iter()
                .flatten()
                .map(|(_, entry)| entry.value.clone())
                .collect(),
            ..World::default()
        };
        self.clock.tell(self.now(), &mut world);
        self.scaler.tell(self.now(), &self.load(), &mut world);
        let began = Instant::now();
        let Plan { units, reports } = plan(&world);
        figures.planned(began.elapsed());
        // One that cannot be read is not one that is gone.
        if world.unreadable.is_empty() {
            let known = sight.hosts.keys().cloned().collect();
            let plans = sight.plans.iter().map(|(app, entry)| (app, &entry.value));
            let news = self.news.look(&known, &self.verdict, world.apps.values(), &reports, plans);
            news.into_iter().for_each(|happening| figures.happened(happening));
        }
        for (host, units) in units {
            let record = sight.hosts.get(&host);
            let given_up = !world.hosts.contains_key(&host) && !world.silent.contains_key(&host) && !units.is_empty();
            self.assign(host.clone(), units, given_up, sight.assignments.get(&host), record, &world.apps).await;
        }
        self.rollbacks.retain(|app, revision| world.apps.get(app).is_some_and(|record| record.revision == revision));
        for (app, report) in reports {
            if let (Some(record), Some(over), Some(rollout)) =
                (world.apps.get(&app), written.get(&app), &report.rollout)
                && self.may_act()
            {
                let limit = self.timing.step_down;
                // What came of it will be seen in the next round.
                let _ = timeout(limit, self.rollbacks.follow(&self.bus, record, *over, rollout)).await;
            }
            self.report(&app, report, sight.plans.get(&app)).await;
        }
        for (app, entry) in &sight.plans {
            if !world.apps.contains_key(app) && !world.unreadable.contains(app) && self.may_act() {
                let deleted = self.plans.delete(app.as_str(), entry.revision).await;
                note(deleted, "plan", app.as_str());
            }
        }
    }
}

/// Waits for a change; for ever when there will be none.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}
