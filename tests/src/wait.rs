//! Waiting for a condition.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// Looks again and again until `look` gives something; `None` when it has not within `limit`.
pub fn eventually<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(LOOK);
    }
}

/// As [`eventually`], and a failure of the test that names `what` was waited for.
pub fn wait<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    eventually(limit, look).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}
