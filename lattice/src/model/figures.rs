//! What hosts have counted of calls since they started.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::UnitId;

/// The bounds by which a host sorts calls, in microseconds.
pub const BOUNDS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// What a host answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Those of its buckets, in microseconds, in rising order.
    pub bounds_us: Vec<u64>,
    /// Of its components: the calls that they have taken.
    pub units: Vec<UnitFigures>,
    /// Of what runs here: the calls that it has sent to other processes.
    pub links: Vec<LinkFigures>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitFigures {
    pub unit: UnitId,
    /// How often it was started.
    pub starts: u64,
    pub calls: Calls,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkFigures {
    pub from: UnitId,
    pub to: UnitId,
    pub calls: Calls,
}

/// Calls, from the start on or in some time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Calls {
    /// Under way now.
    pub in_flight: u64,
    /// Those that have ended, by how long they took: up to each bound, and longer.
    pub ended: Vec<u64>,
    /// What they took together, in microseconds.
    pub time_us: u64,
    /// Those of them that trapped, or came to nothing in another way.
    pub traps: u64,
    pub timeouts: u64,
    /// Those that were answered with an HTTP status of 500 and above.
    pub errors: u64,
    /// Calls over a limit, which never began.
    pub refused: u64,
}

impl Calls {
    /// How many have ended.
    pub fn count(&self) -> u64 {
        self.ended.iter().sum()
    }

    /// How many have gone wrong, in whichever way.
    pub fn failed(&self) -> u64 {
        self.traps + self.timeouts + self.errors + self.refused
    }

    fn each(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        self.ended.resize(self.ended.len().max(other.ended.len()), 0);
        self.ended.iter_mut().zip(&other.ended).for_each(|(ours, theirs)| *ours = with(*ours, *theirs));
        for (ours, theirs) in [
            (&mut self.time_us, other.time_us),
            (&mut self.traps, other.traps),
            (&mut self.timeouts, other.timeouts),
            (&mut self.errors, other.errors),
            (&mut self.refused, other.refused),
        ] {
            *ours = with(*ours, theirs);
        }
    }

    /// Those of another host, or link, as well.
    pub fn add(&mut self, other: &Self) {
        self.in_flight += other.in_flight;
        self.each(other, |ours, theirs| ours + theirs);
    }

    /// What has come since `before`. Where it began anew meanwhile, all of it.
    pub fn since(mut self, before: &Self) -> Self {
        if self.count() >= before.count() {
            self.each(before, u64::saturating_sub);
        }
        self
    }

    /// How long the quickest `part` (0 to 1) of them took at most, as exactly as the buckets of `bounds_us` tell; `None` when none has
    /// ended.
    pub fn quantile(&self, part: f64, bounds_us: &[u64]) -> Option<Duration> {
        let count = self.count();
        let wanted = (part * count as f64).ceil().max(1.0);
        let mut below = 0;
        for (index, ended) in self.ended.iter().enumerate().filter(|(_, ended)| **ended > 0) {
            if (below + ended) as f64 >= wanted {
                let from = index.checked_sub(1).and_then(|index| bounds_us.get(index)).copied().unwrap_or(0);
                // Of those that are longer than all bounds nothing else is known.
                let to = bounds_us.get(index).copied().unwrap_or(from);
                let inside = (wanted - below as f64) / *ended as f64;
                return Some(Duration::from_micros(from + ((to - from) as f64 * inside) as u64));
            }
            below += ended;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(ended: [u64; 3]) -> Calls {
        Calls { ended: ended.into(), ..Calls::default() }
    }

    #[test]
    fn quantiles_lie_in_their_buckets() {
        let quantile = |ended, part| calls(ended).quantile(part, &[100, 200]).map(|time| time.as_micros());
        assert_eq!(quantile([0, 0, 0], 0.5), None);
        assert_eq!((quantile([0, 2, 0], 0.5), quantile([0, 2, 0], 0.99)), (Some(150), Some(200)));
        assert_eq!(quantile([99, 0, 1], 0.5), Some(50));
        assert_eq!(quantile([99, 0, 1], 1.0), Some(200), "longer than all bounds");
        assert_eq!(calls([1, 1, 1]).quantile(0.5, &[]), Some(Duration::ZERO), "of a host that says nothing of bounds");
    }

    #[test]
    fn what_came_meanwhile_is_counted_and_a_new_start_is_seen() {
        let before = Calls { traps: 1, time_us: 30, ..calls([3, 0, 0]) };
        let after = Calls { traps: 2, time_us: 80, in_flight: 4, ..calls([3, 5, 0]) };
        let since = after.clone().since(&before);
        assert_eq!((since.count(), since.traps, since.time_us, since.in_flight), (5, 1, 50, 4));
        assert_eq!(before.clone().since(&after).count(), 3, "the host began anew");
        let mut sum = before;
        sum.add(&after);
        assert_eq!((sum.count(), sum.failed(), sum.in_flight), (11, 3, 4));
    }
}
