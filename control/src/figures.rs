//! What there is to say of a controller, for whoever watches its host, and what it has seen happen.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use lattice::model::event::Happening;
use tokio::sync::broadcast;

/// Whether a host plans, and what that costs it.
#[derive(Debug)]
pub struct Figures {
    leads: AtomicBool,
    plans: AtomicU64,
    /// Of all plans together, in nanoseconds.
    time: AtomicU64,
    happened: broadcast::Sender<Happening>,
}

/// What has happened and is not told yet, at most: who is slower than that misses some.
const UNTOLD: usize = 256;

impl Default for Figures {
    fn default() -> Self {
        let happened = broadcast::channel(UNTOLD).0;
        Self { leads: AtomicBool::default(), plans: AtomicU64::default(), time: AtomicU64::default(), happened }
    }
}

impl Figures {
    /// Something has happened, in the lattice or on this host.
    pub fn happened(&self, happening: Happening) {
        // There may be nobody who tells it.
        let _ = self.happened.send(happening);
    }

    /// What happens from now on.
    pub fn happenings(&self) -> broadcast::Receiver<Happening> {
        self.happened.subscribe()
    }

    pub(crate) fn lead(&self, leads: bool) {
        self.leads.store(leads, Ordering::Relaxed);
    }

    pub(crate) fn planned(&self, took: Duration) {
        self.plans.fetch_add(1, Ordering::Relaxed);
        self.time.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Whether it plans for the lattice now.
    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Relaxed)
    }

    /// How often it has planned, and how long that took together.
    pub fn plans(&self) -> (u64, Duration) {
        (self.plans.load(Ordering::Relaxed), Duration::from_nanos(self.time.load(Ordering::Relaxed)))
    }
}
