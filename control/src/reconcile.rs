//! The reconcile loop: while this host holds the lease it looks at everything, plans, and writes what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lattice::{
    bus::{Bus, Entry, StoreError, View},
    model::{
        app::{AppRecord, UnitRecord, UnitSpec},
        assignment::{Assignment, ControlReport, PlanReport},
        event::{Happening, Kind},
        inventory::{Beat, HostRecord},
        quota::Quota,
        scale::Load,
        signature::Signature,
    },
    wire::{AppName, HostId, UnitId},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    Timing,
    figures::Figures,
    keeper::{self, Told, within},
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

/// Everything as it is in the store.
struct Sight {
    apps: BTreeMap<AppName, Entry<AppRecord>>,
    hosts: BTreeMap<HostId, HostRecord>,
    assignments: BTreeMap<HostId, Entry<Assignment>>,
    plans: BTreeMap<AppName, Entry<PlanReport>>,
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

    fn is_synced(&self) -> bool {
        self.apps.borrow().is_some()
            && self.hosts.borrow().is_some()
            && self.beats.borrow().is_some()
            && self.assignments.view.borrow().is_some()
            && self.plans.view.borrow().is_some()
            && self.quotas.borrow().is_some()
            && self.signatures.borrow().is_some()
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

    /// Any change of what we look at; true when only beats changed. Each arm waits for a flag, and is safe to cancel.
    async fn change(&mut self) -> bool {
        tokio::select! {
            () = changed(&mut self.apps) => false,
            () = changed(&mut self.hosts) => false,
            () = changed(&mut self.assignments.view) => false,
            () = changed(&mut self.plans.view) => false,
            () = changed(&mut self.quotas) => false,
            () = changed(&mut self.signatures) => false,
            () = changed(&mut self.connected) => false,
            () = changed(&mut self.held) => false,
            () = changed(&mut self.beats) => true,
        }
    }

    fn observe(&mut self) {
        let now = self.now();
        let beats = self.beats.borrow_and_update();
        // Before the first whole state, an empty one would be taken for it.
        if beats.is_some() {
            self.liveness.observe(now, &values(&beats, |beat| beat.count));
        }
    }

    fn judge(&mut self) -> Verdict {
        self.observe();
        self.liveness.judge(self.now(), &self.roll)
    }

    /// What the hosts that are alive say of the load of units.
    fn load(&self) -> Load {
        let mut sum = Load::new();
        for (host, beat) in self.beats.borrow().iter().flatten().filter(|(_, beat)| !beat.value.load.is_empty()) {
            if host.parse().is_ok_and(|host| self.verdict.alive.contains(&host)) {
                beat.value.load.iter().for_each(|(unit, load)| *sum.entry(unit.clone()).or_default() += load);
            }
        }
        sum
    }

    fn is_short(&self) -> bool {
        let load = self.load();
        if load.is_empty() {
            return false;
        }
        let apps = self.apps.borrow();
        let record = |unit: &UnitId| Some(&apps.as_ref()?.get(unit.app.as_str())?.value.units.get(&unit.unit)?.spec);
        self.scaler.is_short(&load, |unit| record(unit).map(UnitSpec::scale))
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

    /// Tells whoever asks how the lattice is, when that has changed.
    async fn say(&mut self, hosts: &BTreeMap<HostId, HostRecord>) {
        let Verdict { alive, silent } = &self.verdict;
        let is_lost = |host: &HostRecord| {
            !alive.contains(&host.host) && !silent.contains(&host.host) && !host.instances.is_empty()
        };
        let report = ControlReport {
            version: ControlReport::VERSION,
            term: self.term,
            holding: self.liveness.holding(),
            lost: hosts.values().filter(|host| is_lost(host)).map(|host| host.host.clone()).collect(),
        };
        if self.said.as_ref() == Some(&report) || !self.may_act() {
            return;
        }
        match within(self.timing.step_down, self.bus.store().control().put(ControlReport::KEY, &report)).await {
            Ok(_) => self.said = Some(report),
            Err(error) => tracing::debug!(%error, "cannot say how the lattice is; trying again"),
        }
    }

    fn look(&mut self) -> Sight {
        let sight = Sight {
            apps: by_id(self.apps.borrow_and_update().clone().unwrap_or_default()),
            hosts: values(&self.hosts.borrow_and_update(), HostRecord::clone),
            assignments: by_id(self.assignments.read()),
            plans: by_id(self.plans.read()),
        };
        let busy = sight.assignments.iter().filter(|(_, entry)| !entry.value.units.is_empty() && !entry.value.given_up);
        let burdened: BTreeSet<_> = busy.map(|(id, _)| id.clone()).collect();
        // A host that took back both its inventory and its beat has left; there is nobody to wait for.
        let known = {
            let beats = self.beats.borrow();
            let beats = |host: &HostId| beats.as_ref().is_some_and(|beats| beats.contains_key(host.as_str()));
            let here = |host: &&HostId| sight.hosts.contains_key(*host) || beats(host);
            sight.hosts.keys().chain(&burdened).filter(here).cloned().collect()
        };
        self.roll = Roll { known, burdened };
        self.verdict = self.judge();
        sight
    }

    /// Makes sure that apps which are assigned or reported and not in the view are really gone: to stop an app because
    /// its record cannot be read would be a disaster. Returns those that are there or may be there.
    async fn find_missing_apps(&mut self, sight: &mut Sight) -> BTreeSet<AppName> {
        let assigned = sight.assignments.values().flat_map(|entry| entry.value.units.keys()).map(|unit| &unit.app);
        let missing: BTreeSet<_> =
            assigned.chain(sight.plans.keys()).filter(|app| !sight.apps.contains_key(*app)).cloned().collect();
        let mut unreadable = BTreeSet::new();
        for app in missing {
            match within(self.timing.step_down, self.bus.store().apps().get(app.as_str())).await {
                Ok(None) => {}
                Ok(Some(entry)) => drop(sight.apps.insert(app, entry)),
                Err(error) => {
                    tracing::warn!(%app, %error, "cannot read an app; it goes on as it is");
                    unreadable.insert(app);
                }
            }
        }
        unreadable
    }

    async fn assign(
        &mut self,
        host: HostId,
        units: BTreeMap<UnitId, UnitRecord>,
        given_up: bool,
        before: Option<&Entry<Assignment>>,
        record: Option<&HostRecord>,
        apps: &BTreeMap<AppName, AppRecord>,
    ) {
        let same = match before {
            // A host that never had an assignment needs none to run nothing.
            None if record.is_none_or(|record| record.instances.is_empty()) => units.is_empty(),
            // The store has lost what this one was given. Of what the store does not know either nobody has said that it shall end.
            None => record.into_iter().flat_map(|record| &record.instances).any(|instance| {
                let lost = !apps.contains_key(&instance.unit.app);
                if lost {
                    tracing::warn!(%host, unit = %instance.unit, "the store has lost this host's assignment and an app of which it runs a \
                        unit: it is left alone until that is applied again, or the host starts anew");
                }
                lost
            }),
            Some(before) => before.value.units == units && before.value.given_up == given_up,
        };
        if same || !self.may_act() {
            return;
        }
        if let Some(before) = before.filter(|before| before.value.term > self.term) {
            tracing::warn!(%host, term = self.term, newer = before.value.term, "a newer controller wrote this assignment");
            return;
        }
        // The host's own word counts as well: it refuses to go back, even when the store has lost what it follows.
        let newest = before.map(|before| before.value.generation).max(record.map(|record| record.generation));
        let assignment = Assignment {
            version: Assignment::VERSION,
            host: host.clone(),
            term: self.term,
            generation: newest.unwrap_or(0) + 1,
            units,
            given_up,
        };
        tracing::info!(%host, generation = assignment.generation, units = assignment.units.len(), "assigning");
        let written = self.assignments.write(host.as_str(), assignment, before.map(|before| before.revision)).await;
        note(written, "assignment", host.as_str());
    }

    async fn report(&mut self, app: &AppName, report: PlanReport, before: Option<&Entry<PlanReport>>) {
        if before.is_some_and(|before| before.value == report) || !self.may_act() {
            return;
        }
        for (unit, planned) in &report.units {
            if let Some(problem) = &planned.problem {
                tracing::warn!(%app, %unit, problem, "cannot place");
            }
        }
        let written = self.plans.write(app.as_str(), report, before.map(|before| before.revision)).await;
        note(written, "plan", app.as_str());
    }
}

/// Waits for a change; for ever when there will be none.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}

/// What could not be written is tried again in the next round, from what is there then.
fn note(written: Result<(), StoreError>, what: &str, key: &str) {
    match written {
        Ok(()) => {}
        Err(error @ StoreError::Conflict { .. }) => tracing::debug!(what, key, %error, "reading again"),
        Err(error) => tracing::warn!(what, key, %error, "cannot write; trying again"),
    }
}

/// The readable ids and what stands there.
fn by_id<K: std::str::FromStr + Ord, T>(map: BTreeMap<String, T>) -> BTreeMap<K, T> {
    map.into_iter().filter_map(|(key, value)| Some((key.parse().ok()?, value))).collect()
}

fn values<K: std::str::FromStr + Ord, T, V>(
    map: &Option<BTreeMap<String, Entry<T>>>,
    value: impl Fn(&T) -> V,
) -> BTreeMap<K, V> {
    let entries = map.iter().flatten();
    entries.filter_map(|(key, entry)| Some((key.parse().ok()?, value(&entry.value)))).collect()
}
