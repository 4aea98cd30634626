//! The share of each app's quota of calls that this host allows. A call asks without waiting for anybody.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Instant,
};

use lattice::{
    model::{inventory::HostRecord, quota::Quota},
    wire::AppName,
};

const SECOND: u64 = 1_000_000_000;
/// No bound.
const ANY: u32 = u32::MAX;

/// What all components of one app may take in calls on this host.
#[derive(Debug)]
pub struct AppCalls {
    epoch: Instant,
    in_flight: AtomicU32,
    most: AtomicU32,
    /// Between two calls, in nanoseconds; 0 without a bound.
    gap: AtomicU64,
    /// When the next call is due if they come evenly; they may be a second ahead of that.
    next: AtomicU64,
}

impl Default for AppCalls {
    fn default() -> Self {
        let (in_flight, most) = (AtomicU32::new(0), AtomicU32::new(ANY));
        Self { epoch: Instant::now(), in_flight, most, gap: AtomicU64::new(0), next: AtomicU64::new(0) }
    }
}

impl AppCalls {
    /// Whether there is a bound at all; else calls need not be counted.
    pub(crate) fn is_bounded(&self) -> bool {
        self.most.load(Ordering::Relaxed) != ANY || self.gap.load(Ordering::Relaxed) != 0
    }

    /// Whether one call more may begin; it is counted then, until [`end`](Self::end).
    pub(crate) fn begin(&self) -> bool {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.most.load(Ordering::Relaxed) {
            self.end();
            return false;
        }
        let gap = self.gap.load(Ordering::Relaxed);
        if gap == 0 {
            return true;
        }
        let now = u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = |next: u64| {
            let next = next.max(now);
            (next - now < SECOND).then_some(next + gap)
        };
        let begins = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok();
        if !begins {
            self.end();
        }
        begins
    }

    pub(crate) fn end(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    fn set(&self, in_flight: Option<u32>, per_second: Option<u32>) {
        self.most.store(in_flight.unwrap_or(ANY), Ordering::Relaxed);
        let gap = per_second.map_or(0, |calls| SECOND / u64::from(calls.max(1)));
        self.gap.store(gap, Ordering::Relaxed);
    }
}

/// Those of all apps that have components here.
#[derive(Debug, Default)]
pub(crate) struct Quotas {
    // Held to find or to forget an app, when one of its components starts and when hosts or quotas change.
    apps: Mutex<HashMap<AppName, Arc<AppCalls>>>,
}

impl Quotas {
    fn apps(&self) -> MutexGuard<'_, HashMap<AppName, Arc<AppCalls>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn of(&self, app: &AppName) -> Arc<AppCalls> {
        self.apps().entry(app.clone()).or_default().clone()
    }

    /// Gives each app its share: a host is one of those that have a component of it.
    pub(crate) fn share<'h>(
        &self,
        quotas: &BTreeMap<String, Quota>,
        hosts: impl Iterator<Item = &'h HostRecord> + Clone,
    ) {
        let mut apps = self.apps();
        apps.retain(|_, calls| Arc::strong_count(calls) > 1);
        for (app, calls) in apps.iter() {
            let Some(quota) = Quota::of(app, quotas) else {
                calls.set(None, None);
                continue;
            };
            let has = |host: &&HostRecord| {
                host.instances.iter().any(|i| i.unit.app == *app && i.kind == "component" && i.state.takes_calls())
            };
            let count = u32::try_from(hosts.clone().filter(has).count()).unwrap_or(u32::MAX).max(1);
            let share = |limit: Option<u32>| limit.map(|limit| limit.div_ceil(count));
            calls.set(share(quota.in_flight), share(quota.per_second));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn so_many_calls_are_under_way_and_no_more() {
        let calls = AppCalls::default();
        assert!((0..1000).all(|_| calls.begin()));
        (0..1000).for_each(|_| calls.end());
        calls.set(Some(2), None);
        assert_eq!([calls.begin(), calls.begin(), calls.begin()], [true, true, false]);
        calls.end();
        assert_eq!([calls.begin(), calls.begin()], [true, false]);
        calls.set(Some(0), None);
        assert!(!calls.begin());
    }

    #[test]
    fn so_many_calls_begin_in_a_second_and_a_second_s_worth_at_once() {
        let calls = AppCalls::default();
        calls.set(None, Some(50));
        let begun = (0..1000).filter(|_| calls.begin()).count();
        assert!((50..60).contains(&begun), "{begun}");
        assert_eq!(calls.in_flight.load(Ordering::Relaxed) as usize, begun, "refused ones are not counted");
        std::thread::sleep(Duration::from_millis(200));
        let more = (0..1000).filter(|_| calls.begin()).count();
        assert!((9..30).contains(&more), "{more}");
    }
}
