//! Runs the lease's state machine against the store.

use std::{future::Future, time::Duration};

use lattice::{
    bus::{Bus, Entry, StoreError, Table, View},
    model::assignment::Lease,
    wire::HostId,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Timing,
    lease::{Candidate, Holding, LeaseAction},
};

/// The lease's key.
const KEY: &str = "controller";

/// What the keeper tells.
pub(crate) struct Told {
    pub(crate) holding: watch::Sender<Option<Holding>>,
    /// Whether the lease is ours, or may be soon.
    pub(crate) late: watch::Sender<bool>,
}

/// Keeps trying to get and to keep the lease, and tells how it stands. At `release` it lets go of it; the caller must have
/// stopped acting by then.
/// `known` is the highest term that anybody has heard of elsewhere: one that is held goes on after it.
pub(crate) async fn run(
    bus: Bus,
    me: HostId,
    timing: Timing,
    told: Told,
    known: watch::Receiver<u64>,
    release: CancellationToken,
) {
    let leases = bus.store().leases();
    let mut keeper = Keeper {
        candidate: Candidate::new(me, timing),
        view: leases.follow(),
        leases,
        bus,
        timing,
        epoch: Instant::now(),
        told,
        known,
    };
    let ended = release.run_until_cancelled(keeper.keep()).await;
    debug_assert!(ended.is_none());
    keeper.let_go().await;
}

struct Keeper {
    candidate: Candidate,
    leases: Table<Lease>,
    view: View<Lease>,
    bus: Bus,
    timing: Timing,
    epoch: Instant,
    told: Told,
    known: watch::Receiver<u64>,
}

impl Keeper {
    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    async fn keep(&mut self) {
        // Until the view is there nothing is known; "no lease" would be a guess.
        while self.view.borrow_and_update().is_none() {
            if self.view.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
        self.look();
        loop {
            self.publish();
            self.candidate.know_term(*self.known.borrow());
            match self.candidate.decide(self.now()) {
                LeaseAction::Wait { until } => self.wait(until).await,
                LeaseAction::Acquire { lease, over: None } => {
                    if let Some(term) = self.highest_assigned_term().await {
                        self.candidate.know_term(term);
                        let lease = Lease { term: lease.term.max(term + 1), ..lease };
                        self.write(lease, None).await;
                    } else {
                        tokio::time::sleep(self.timing.renew / 4).await;
                    }
                }
                LeaseAction::Acquire { lease, over } => self.write(lease, over).await,
                LeaseAction::Renew { lease, over } => self.write(lease, Some(over)).await,
            }
        }
    }

    fn publish(&self) {
        let late = self.now() >= self.candidate.late_from();
        self.told.late.send_if_modified(|told| std::mem::replace(told, late) != late);
        let held = self.candidate.holds(self.now());
        let held = held.map(|(term, until)| Holding { term, until: self.epoch + until });
        self.told.holding.send_if_modified(|holding| {
            match (*holding, held) {
                (Some(before), Some(after)) if before.term == after.term => {}
                (None, Some(after)) => tracing::info!(term = after.term, "this host controls the lattice now"),
                (Some(before), None) => tracing::warn!(term = before.term, "this host no longer controls the lattice"),
                _ => {}
            }
            std::mem::replace(holding, held) != held
        });
    }

    async fn wait(&mut self, until: Duration) {
        // The end of a hold has to be told in time, too, and that the lease is late.
        let until = self.candidate.holds(self.now()).map_or(until, |(_, end)| until.min(end));
        let late = Some(self.candidate.late_from()).filter(|late| *late > self.now());
        let until = late.map_or(until, |late| until.min(late));
        tokio::select! {
            () = sleep_until(self.epoch + until) => {}
            changed = self.view.changed() => match changed {
                Ok(()) => self.look(),
                // The view ends only with the runtime.
                Err(_) => sleep_until(self.epoch + until).await,
            },
        }
    }

    fn look(&mut self) {
        let now = self.now();
        let view = self.view.borrow_and_update();
        let lease = view.as_ref().and_then(|leases| leases.get(KEY));
        self.candidate.see(now, lease.map(|entry| (&entry.value, entry.revision)));
    }

    async fn write(&mut self, lease: Lease, over: Option<u64>) {
        let sent = self.now();
        let result = match over {
            Some(revision) => within(self.timing.renew, self.leases.update(KEY, &lease, revision)).await,
            None => within(self.timing.renew, self.leases.create(KEY, &lease)).await,
        };
        self.candidate.wrote(self.now(), sent, lease, result.as_ref().ok().copied());
        match result {
            Ok(_) => {}
            // Somebody was faster, or our own write of before had happened after all.
            Err(StoreError::Conflict { .. }) => match within(self.timing.renew, self.leases.get(KEY)).await {
                Ok(entry) => self.learn(entry.as_ref()),
                Err(error) => tracing::debug!(%error, "cannot read the controller's lease"),
            },
            Err(error) => tracing::debug!(%error, "cannot write the controller's lease"),
        }
    }

    fn learn(&mut self, entry: Option<&Entry<Lease>>) {
        self.candidate.learn(self.now(), entry.map(|entry| (&entry.value, entry.revision)));
    }

    /// The highest term in any assignment: hosts refuse lower ones, so a new lease must not begin below it.
    async fn highest_assigned_term(&self) -> Option<u64> {
        match within(self.timing.renew, self.bus.store().assignments().list()).await {
            Ok(assignments) => Some(assignments.values().map(|entry| entry.value.term).max().unwrap_or(0)),
            Err(error) => {
                tracing::debug!(%error, "cannot read the assignments");
                None
            }
        }
    }

    async fn let_go(&mut self) {
        let revision = self.candidate.release(self.now());
        self.told.holding.send_replace(None);
        if let Some(revision) = revision
            && let Err(error) = within(self.timing.renew, self.leases.delete_at(KEY, revision)).await
        {
            tracing::debug!(%error, "cannot give the controller's lease back; another host takes it over soon");
        }
    }
}

/// The answer of the store, or that there is none in time.
pub(crate) async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(limit, request).await.unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer in {limit:?}"))))
}
