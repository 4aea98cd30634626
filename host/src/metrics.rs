//! What is counted on this host, for whoever watches it. On a call's way that is a few additions; everything else is put together when
//! somebody asks.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use lattice::{
    model::figures::{BOUNDS_US, Calls},
    wire::{CallError, UnitId},
};

/// The agent looks around twice a second; when it has not for so long, it hangs.
const HANGS: Duration = Duration::from_secs(10);

/// How a call did not end well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It trapped, or came to nothing for another reason of its own.
    Trap,
    Timeout,
    /// It answered with an HTTP status of 500 and above.
    Error,
    /// It was over a limit, and never began.
    Refused,
}

impl Fault {
    pub(crate) const ALL: [(Self, &'static str); 4] =
        [(Self::Trap, "trap"), (Self::Timeout, "timeout"), (Self::Error, "error"), (Self::Refused, "refused")];

    pub(crate) fn of(error: &CallError) -> Self {
        match error {
            CallError::Overloaded(_) => Self::Refused,
            CallError::Deadline(_) => Self::Timeout,
            _ => Self::Trap,
        }
    }
}

/// What is counted of the calls of a unit, over all of its instances, or of those from one unit to another.
#[derive(Debug, Default)]
pub struct Counts {
    begun: AtomicU64,
    /// Those that have ended, by how long they took: up to each bound, and longer.
    ended: [AtomicU64; BOUNDS_US.len() + 1],
    /// Of all that have ended, in nanoseconds.
    time: AtomicU64,
    faults: [AtomicU64; Fault::ALL.len()],
    starts: AtomicU64,
}

/// The calls of a unit that have ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Durations {
    /// For each bound in seconds how many took no longer, and longer than the bound before; the last one has no end.
    pub(crate) buckets: Vec<(f64, u64)>,
    pub(crate) count: u64,
    /// In seconds.
    pub(crate) sum: f64,
}

impl Counts {
    pub(crate) fn begin(&self) -> Instant {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Instant::now()
    }

    pub(crate) fn end(&self, begun: Instant) {
        let took = begun.elapsed();
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < micros);
        self.ended[bucket].fetch_add(1, Ordering::Relaxed);
        self.time.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn fault(&self, fault: Fault) {
        self.faults[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn started(&self) {
        self.starts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn faults(&self, fault: Fault) -> u64 {
        self.faults[fault as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// Calls under way.
    pub(crate) fn in_flight(&self) -> u64 {
        // In this order: one that ends meanwhile must not count as less than none.
        let ended: u64 = self.ended.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
        self.begun.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// As they are told to whoever asks.
    pub(crate) fn calls(&self) -> Calls {
        Calls {
            in_flight: self.in_flight(),
            ended: self.ended.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect(),
            time_us: self.time.load(Ordering::Relaxed) / 1000,
            traps: self.faults(Fault::Trap),
            timeouts: self.faults(Fault::Timeout),
            errors: self.faults(Fault::Error),
            refused: self.faults(Fault::Refused),
        }
    }

    pub(crate) fn durations(&self) -> Durations {
        let counts = self.ended.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let bounds = BOUNDS_US.iter().map(|micros| Duration::from_micros(*micros).as_secs_f64()).chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(counts).collect();
        let sum = Duration::from_nanos(self.time.load(Ordering::Relaxed)).as_secs_f64();
        Durations { count: buckets.iter().map(|(_, count)| count).sum(), buckets, sum }
    }
}

/// All that is counted on a host.
pub(crate) struct Metrics {
    // A lock, taken when a unit starts or somebody asks; never by a call.
    units: Mutex<BTreeMap<UnitId, Arc<Counts>>>,
    began: Instant,
    /// When the agent last looked around, in milliseconds since `began`.
    looked: AtomicU64,
    /// What is not on the disk that should be.
    unkept: ArcSwapOption<String>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            units: Mutex::default(),
            began: Instant::now(),
            looked: AtomicU64::new(0),
            unkept: ArcSwapOption::empty(),
        }
    }
}

impl Metrics {
    fn since(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What is counted of a unit, from now on if it was not before.
    pub(crate) fn unit(&self, unit: &UnitId) -> Arc<Counts> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.entry(unit.clone()).or_default().clone()
    }

    pub(crate) fn units(&self) -> Vec<(UnitId, Arc<Counts>)> {
        let units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.iter().map(|(unit, counts)| (unit.clone(), counts.clone())).collect()
    }

    /// Forgets the units that are not here any more: their number has no bound over time.
    pub(crate) fn keep(&self, is_here: impl Fn(&UnitId) -> bool) {
        self.units.lock().unwrap_or_else(PoisonError::into_inner).retain(|unit, _| is_here(unit));
    }

    /// Why the host could not be started again without its lattice; `None` when it could.
    pub(crate) fn unkept(&self) -> Option<String> {
        self.unkept.load().as_deref().cloned()
    }

    pub(crate) fn keeps(&self, problem: Option<String>) {
        self.unkept.store(problem.map(Arc::new));
    }

    /// The agent has looked around.
    pub(crate) fn looked(&self) {
        self.looked.store(self.since(), Ordering::Relaxed);
    }

    /// For how long it has not, when that is too long.
    pub(crate) fn hangs(&self) -> Option<Duration> {
        let since = Duration::from_millis(self.since().saturating_sub(self.looked.load(Ordering::Relaxed)));
        (since >= HANGS).then_some(since)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_where_its_duration_belongs() {
        let counts = Counts::default();
        let ago = |time| Instant::now().checked_sub(time).unwrap();
        let first = counts.begin();
        counts.begin();
        assert_eq!(counts.in_flight(), 2);
        counts.end(first);
        for time in [Duration::from_millis(30), Duration::from_secs(60)] {
            counts.begin();
            counts.end(ago(time));
        }
        let durations = counts.durations();
        assert_eq!((durations.count, counts.in_flight()), (3, 1));
        assert!(durations.sum > 60.0 && durations.sum < 61.0, "{durations:?}");
        let of = |bound: f64| durations.buckets.iter().find(|(up_to, _)| *up_to == bound).unwrap().1;
        assert_eq!((of(0.05), of(f64::INFINITY)), (1, 1), "{durations:?}");
        counts.fault(Fault::Refused);
        assert_eq!(Fault::ALL.map(|(fault, _)| counts.faults(fault)), [0, 0, 0, 1]);
    }

    #[test]
    fn units_that_are_gone_are_forgotten() {
        let metrics = Metrics::default();
        let (here, gone): (UnitId, UnitId) = ("shop/cart".parse().unwrap(), "shop/old".parse().unwrap());
        metrics.unit(&here).started();
        metrics.unit(&gone);
        metrics.keep(|unit| *unit == here);
        assert_eq!(
            metrics.units().iter().map(|(unit, counts)| (unit, counts.starts())).collect::<Vec<_>>(),
            [(&here, 1)]
        );
        assert_eq!(metrics.hangs(), None);
    }
}
