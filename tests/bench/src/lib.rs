//! Medians and percentiles: what the benchmarks make of their times. They are a program, `cargo xtask bench`.

use std::time::Duration;

/// The middle value; of an even number, the mean of the two in the middle. Not a number when there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// How long each of many calls took.
#[derive(Debug, Default)]
pub struct Latencies {
    nanoseconds: Vec<u64>,
    sorted: bool,
}

impl Latencies {
    pub fn push(&mut self, took: Duration) {
        self.nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.sorted = false;
    }

    pub fn append(&mut self, mut other: Self) {
        self.nanoseconds.append(&mut other.nanoseconds);
        self.sorted = false;
    }

    pub fn len(&self) -> usize {
        self.nanoseconds.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nanoseconds.is_empty()
    }

    /// In microseconds: what `share` (0 to 1) of the calls took at most.
    pub fn percentile(&mut self, share: f64) -> f64 {
        if !self.sorted {
            self.nanoseconds.sort_unstable();
            self.sorted = true;
        }
        let last = self.nanoseconds.len().saturating_sub(1);
        let at = (self.nanoseconds.len() as f64 * share).ceil() as usize;
        self.nanoseconds.get(at.saturating_sub(1).min(last)).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut latencies = Latencies::default();
        (1..=100).rev().for_each(|us| latencies.push(Duration::from_micros(us)));
        assert_eq!(latencies.percentile(0.5), 50.0);
        assert_eq!(latencies.percentile(0.99), 99.0);
        assert_eq!(latencies.percentile(1.0), 100.0);
        assert_eq!(latencies.percentile(0.0), 1.0);
    }
}
