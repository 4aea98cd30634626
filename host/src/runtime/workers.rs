//! How busy the threads are that calls run on.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::runtime::{Handle, RuntimeMetrics};

/// How long their time is added up before it is looked at. Shorter, and one long call would count as a load.
const WINDOW: Duration = Duration::from_millis(5);

/// Of their time, in percent, what they may work before they are busy: one caller that waits for each answer keeps one of
/// two workers at work.
const BUSY: u128 = 75;

/// The workers of a runtime.
pub(super) struct Workers {
    metrics: RuntimeMetrics,
    since: Instant,
    /// When they were looked at last, and what they had worked by then, all of them; in nanoseconds.
    looked: AtomicU64,
    worked: AtomicU64,
    busy: AtomicBool,
}

impl Workers {
    pub(super) fn of(runtime: &Handle) -> Self {
        Self {
            metrics: runtime.metrics(),
            since: Instant::now(),
            looked: AtomicU64::new(0),
            worked: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        }
    }

    /// Whether they had hardly time for more, as of some milliseconds ago.
    pub(super) fn are_busy(&self) -> bool {
        let now = nanos(self.since.elapsed());
        let looked = self.looked.load(Ordering::Relaxed);
        let passed = now.saturating_sub(looked);
        // One of those who come at the same time looks.
        if passed > nanos(WINDOW)
            && self.looked.compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            let count = self.metrics.num_workers();
            let all = nanos((0..count).map(|worker| self.metrics.worker_total_busy_duration(worker)).sum());
            let worked = all.saturating_sub(self.worked.swap(all, Ordering::Relaxed));
            let could = u128::from(passed) * count as u128;
            self.busy.store(u128::from(worked) * 100 > could * BUSY, Ordering::Relaxed);
        }
        self.busy.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What workers are seen to be while `tasks` of them compute and the others do nothing.
    fn seen(tasks: usize) -> bool {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let workers = Workers::of(runtime.handle());
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..tasks {
            let over = over.clone();
            runtime.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let spin = Instant::now() + Duration::from_micros(100);
                    while Instant::now() < spin {}
                    tokio::task::yield_now().await;
                }
            });
        }
        // The first look takes in what was before they began.
        std::thread::sleep(WINDOW * 4);
        workers.are_busy();
        std::thread::sleep(WINDOW * 20);
        let busy = workers.are_busy();
        over.store(true, Ordering::Relaxed);
        busy
    }

    #[test]
    fn workers_are_busy_only_when_none_has_time() {
        // A worker that the machine lets wait while it has something to do counts as busy: not each time, however much else there is.
        let have_time = |tasks| (0..10).any(|_| !seen(tasks));
        assert!(have_time(0));
        assert!(have_time(1));
        assert!(seen(4));
    }
}
