//! What went wrong in the calls of an instance, for `status`.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use http::StatusCode;
use lattice::{model::inventory::Faults, wire::CallError};

use crate::metrics::{Counts, Fault};

/// Counters of one instance. A lock, because the newest text goes with its count; it is taken only when a call failed.
#[derive(Default)]
pub(crate) struct FaultLog {
    faults: Mutex<Faults>,
    calls: AtomicU64,
    /// Of its unit.
    counts: Arc<Counts>,
}

impl FaultLog {
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        Self { counts, ..Self::default() }
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// A call has been taken.
    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record(&self, error: &CallError) {
        self.note(Fault::of(error), error.to_string());
    }

    /// An HTTP answer tells of an error inside the component.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.note(Fault::Error, format!("it answered {status}"));
    }

    fn note(&self, fault: Fault, last: String) {
        self.counts.fault(fault);
        let mut faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *match fault {
            Fault::Trap => &mut faults.traps,
            Fault::Timeout => &mut faults.timeouts,
            Fault::Error => &mut faults.errors,
            Fault::Refused => &mut faults.refused,
        } += 1;
        faults.calls = self.calls.load(Ordering::Relaxed);
        faults.last = Some(last);
    }

    pub(crate) fn snapshot(&self) -> Faults {
        self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
