//! What went wrong in the calls of an instance, for `status`.

use std::sync::Mutex;

use lattice::{model::inventory::Faults, wire::CallError};

/// Counters of one instance. A lock, because the newest text goes with its count; it is taken only when a call failed.
#[derive(Default)]
pub(crate) struct FaultLog(Mutex<Faults>);

impl FaultLog {
    pub(crate) fn record(&self, error: &CallError) {
        let mut faults = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match error {
            CallError::Overloaded(_) => faults.refused += 1,
            CallError::Deadline(_) => faults.timeouts += 1,
            _ => faults.traps += 1,
        }
        faults.last = Some(error.to_string());
    }

    pub(crate) fn snapshot(&self) -> Faults {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
