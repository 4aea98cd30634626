//! What there is to say of a controller, for whoever watches its host.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// Whether a host plans, and what that costs it.
#[derive(Debug, Default)]
pub struct Figures {
    leads: AtomicBool,
    plans: AtomicU64,
    /// Of all plans together, in nanoseconds.
    time: AtomicU64,
}

impl Figures {
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
