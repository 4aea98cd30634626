//! Medians and percentiles.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::runtime::Runtime;

use crate::bench::Times;

/// The middle value; of an even number, the mean of the two in the middle. Not a number when there is none.
pub(crate) fn median(values: &[f64]) -> f64 {
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
pub(crate) struct Latencies {
    nanoseconds: Vec<u64>,
    sorted: bool,
}

impl Latencies {
    pub(crate) fn push(&mut self, took: Duration) {
        self.nanoseconds.push(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.sorted = false;
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.nanoseconds.append(&mut other.nanoseconds);
        self.sorted = false;
    }

    pub(crate) fn len(&self) -> usize {
        self.nanoseconds.len()
    }

    /// In microseconds: what `share` (0 to 1) of the calls took at most.
    pub(crate) fn percentile(&mut self, share: f64) -> f64 {
        if !self.sorted {
            self.nanoseconds.sort_unstable();
            self.sorted = true;
        }
        let last = self.nanoseconds.len().saturating_sub(1);
        let at = (self.nanoseconds.len() as f64 * share).ceil() as usize;
        self.nanoseconds.get(at.saturating_sub(1).min(last)).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }
}

/// A runtime of the kind that a host has: what waits in it costs what it costs there.
pub(crate) fn like_a_host() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Calls one after the other, in a task, for as long as a measurement takes.
pub(crate) fn one_by_one<F>(
    runtime: &Runtime,
    times: Times,
    mut call: impl FnMut() -> F + Send + 'static,
) -> Result<Latencies>
where
    F: Future<Output = Result<()>> + Send,
{
    let calls = async move {
        let begin = Instant::now() + times.warm_up;
        let end = begin + times.measured;
        let mut latencies = Latencies::default();
        loop {
            let start = Instant::now();
            if start >= end {
                return Ok(latencies);
            }
            call().await?;
            if start >= begin {
                latencies.push(start.elapsed());
            }
        }
    };
    let latencies: Result<Latencies> = runtime.block_on(runtime.spawn(calls))?;
    let latencies = latencies?;
    if latencies.len() == 0 {
        bail!("no call began within {:?}", times.measured);
    }
    Ok(latencies)
}

/// So many calls at a time, each followed by another one, for as long as a measurement takes: calls a second.
pub(crate) fn at_a_time<F>(
    runtime: &Runtime,
    times: Times,
    count: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send,
{
    let begin = Instant::now() + times.warm_up;
    let end = begin + times.measured;
    runtime.block_on(async move {
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..count {
            let call = call.clone();
            workers.spawn(async move {
                let mut done = 0u64;
                loop {
                    if Instant::now() >= end {
                        return anyhow::Ok(done);
                    }
                    call().await?;
                    // What ends within the measurement counts, whenever it began.
                    done += u64::from((begin..end).contains(&Instant::now()));
                }
            });
        }
        let mut done = 0;
        while let Some(worker) = workers.join_next().await {
            done += worker??;
        }
        if done == 0 {
            bail!("no call ended within {:?}", times.measured);
        }
        Ok(done as f64 / times.measured.as_secs_f64())
    })
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
