//! One schedule, followed for as long as its provider runs.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lattice::{
    bus::{Entry, StoreError, Table},
    model::schedule::{Due, Tick, due},
};
use lattice_provider::{NotDone, schedule::Schedule};
use tokio_util::sync::CancellationToken;

/// The longest pause: somebody may set the machine's clock.
const LOOK: Duration = Duration::from_secs(30);
/// The pause while another instance makes a call, or the store does not answer.
const RETRY: Duration = Duration::from_secs(1);
/// Beside the component's own time, before who has begun a call and does not end it is taken for gone.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Follower {
    ticks: Table<Tick>,
    key: String,
    schedule: Schedule,
    /// A call of another instance, by the revision of its tick, and since when we have seen it.
    seen: Option<(u64, Instant)>,
    /// What went wrong last, so that it is told once.
    told: Option<String>,
}

impl Follower {
    pub(crate) fn new(ticks: Table<Tick>, key: String, schedule: Schedule) -> Self {
        Self { ticks, key, schedule, seen: None, told: None }
    }

    pub(crate) async fn follow(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.step(&stop).await {
                Ok(pause) => {
                    self.told = None;
                    pause
                }
                Err(error) => {
                    let error = error.to_string();
                    if self.told.as_ref() != Some(&error) {
                        tracing::warn!(schedule = self.key, error, "cannot look at a schedule; trying again");
                        self.told = Some(error);
                    }
                    RETRY
                }
            };
            // Cancel-safe: both only wait.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Does what is to be done now, and says how long nothing is.
    async fn step(&mut self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let Some(Entry { value: tick, revision }) = self.ticks.get(&self.key).await? else {
            // What lies before the schedule's beginning is not missed.
            let begun = Tick { version: Tick::VERSION, at: now(), open: false };
            return settled(self.ticks.create(&self.key, &begun).await);
        };
        if tick.open {
            return self.wait_for_another(tick, revision).await;
        }
        self.seen = None;
        let now = now();
        match due(&self.schedule.spec, tick.at, now) {
            Due::At(next) => Ok(Duration::from_millis(next - now).min(LOOK)),
            Due::Never => Ok(LOOK),
            Due::Missed(at) => {
                let late = now.saturating_sub(at);
                tracing::warn!(schedule = self.key, when = %self.schedule.spec.when, late_ms = late, "a call by the clock was missed");
                settled(self.ticks.update(&self.key, &Tick { at, open: false, ..tick }, revision).await)
            }
            Due::Now(at) => {
                let open = Tick { at, open: true, ..tick };
                match self.ticks.update(&self.key, &open, revision).await {
                    Ok(revision) => self.call(open, revision, stop).await,
                    other => settled(other),
                }
            }
        }
    }

    /// Makes the call that is ours, and says that it is over.
    async fn call(&self, tick: Tick, revision: u64, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let to = &self.schedule.spec.to;
        let late = Duration::from_millis(self.schedule.spec.late_ms);
        let began = Instant::now();
        let outcome = loop {
            match self.schedule.to.run().await {
                // The component may be on its way to another host.
                Err(NotDone::NotBegun(_)) if began.elapsed() < late && !stop.is_cancelled() => {
                    tokio::time::sleep(RETRY).await;
                }
                outcome => break outcome,
            }
        };
        match outcome {
            Ok(()) => tracing::debug!(schedule = self.key, %to, "called by the clock"),
            Err(error) => tracing::warn!(schedule = self.key, %to, %error, "a call by the clock failed"),
        }
        settled(self.ticks.update(&self.key, &Tick { open: false, ..tick }, revision).await)
    }

    /// Another instance makes a call, or did not live to its end.
    async fn wait_for_another(&mut self, tick: Tick, revision: u64) -> Result<Duration, StoreError> {
        let since = match self.seen {
            Some((seen, since)) if seen == revision => since,
            _ => {
                let now = Instant::now();
                self.seen = Some((revision, now));
                now
            }
        };
        let spec = &self.schedule.spec;
        if since.elapsed() < Duration::from_millis(spec.timeout_ms + spec.late_ms) + GRACE {
            return Ok(RETRY);
        }
        tracing::warn!(schedule = self.key, "who had begun a call by the clock is gone; going on with the next one");
        settled(self.ticks.update(&self.key, &Tick { open: false, ..tick }, revision).await)
    }
}

/// What another instance has written meanwhile is looked at at once.
fn settled(written: Result<u64, StoreError>) -> Result<Duration, StoreError> {
    match written {
        Ok(_) | Err(StoreError::Conflict { .. }) => Ok(Duration::ZERO),
        Err(error) => Err(error),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
