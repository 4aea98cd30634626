//! What went wrong in the calls of an instance, for `status`.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use http::StatusCode;
use lattice::{model::inventory::Faults, wire::CallError};

/// Counters of one instance. A lock, because the newest text goes with its count; it is taken only when a call failed.
#[derive(Default)]
pub(crate) struct FaultLog {
    faults: Mutex<Faults>,
    calls: AtomicU64,
}

impl FaultLog {
    /// A call has been taken.
    pub(crate) fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn record(&self, error: &CallError) {
        let count = |faults: &mut Faults| match error {
            CallError::Overloaded(_) => faults.refused += 1,
            CallError::Deadline(_) => faults.timeouts += 1,
            _ => faults.traps += 1,
        };
        self.note(count, error.to_string());
    }

    /// An HTTP answer tells of an error inside the component.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.note(|faults| faults.errors += 1, format!("it answered {status}"));
    }

    fn note(&self, count: impl FnOnce(&mut Faults), last: String) {
        let mut faults = self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        count(&mut faults);
        faults.calls = self.calls.load(Ordering::Relaxed);
        faults.last = Some(last);
    }

    pub(crate) fn snapshot(&self) -> Faults {
        self.faults.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
