//! Calls that are timed.

use std::time::Instant;

use anyhow::{Result, bail};
pub(crate) use lattice_bench::{Latencies, median};
use tokio::runtime::Runtime;

use crate::bench::Times;

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
    if latencies.is_empty() {
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
