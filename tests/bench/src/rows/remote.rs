//! examples/hello on another host than its http-server.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use bytes::Bytes;

use super::{hello::deploy, rate_and_cpu};
use crate::{
    bench::Bench,
    lattice::Lattice,
    load::Client,
    report::{Row, Target},
    servers::{spawn, spawn_http},
    stats::{like_a_host, one_by_one},
};

const SUBJECT: &str = "baseline.echo";
/// Bytes of a plain request over NATS.
const MESSAGE: &[u8] = &[b'x'; 100];
/// What wasmCloud v1.9.2 does on a machine of this kind, in requests a second, times five.
const FIVE_TIMES_PEER: f64 = 15_500.0;

pub(super) fn latency(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a", "b"])?;
    let near = deploy(bench, &lattice, "near", "a", "")?;
    let far = deploy(bench, &lattice, "far", "b", "")?;
    let (_echo, _) = spawn(lattice.dir.path(), &["nats-echo", &lattice.nats.url, SUBJECT])?;
    let processes = lattice.processes();
    let p50 = |address: SocketAddr| -> Result<f64> {
        let client = Client { address, path: "/", connections: 1, servers: &processes };
        Ok(client.run(bench.times)?.p50_us)
    };
    let rounds = bench.rounds(|| Ok((p50(far)?, p50(near)?, raw_request(bench, &lattice.nats.url)?)))?;
    let pairs = rounds.iter().map(|(far, near, raw)| (*far, near + raw));
    Ok(vec![
        Row::compared("http_hello_remote", "us", "local p50 + one raw NATS request/reply", pairs)
            .target(Target::RatioAtMost(1.3))
            .note("p50 at 1 connection"),
        Row::alone("http_hello_remote.local", "us", rounds.iter().map(|(_, near, _)| *near).collect()),
        Row::alone("http_hello_remote.raw_nats", "us", rounds.iter().map(|(_, _, raw)| *raw).collect()),
    ])
}

/// The median of plain requests to a process that echoes them, in microseconds.
fn raw_request(bench: &Bench, url: &str) -> Result<f64> {
    let runtime = like_a_host()?;
    let client = runtime.block_on(async_nats::connect(url))?;
    let mut latencies = one_by_one(&runtime, bench.times, move || {
        let client = client.clone();
        async move {
            let answer = client.request(SUBJECT, Bytes::from_static(MESSAGE)).await?;
            if answer.payload.len() != MESSAGE.len() {
                bail!("an echo of {} bytes", answer.payload.len());
            }
            Ok(())
        }
    })?;
    Ok(latencies.percentile(0.5))
}

pub(super) fn rate(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a", "b"])?;
    let far = deploy(bench, &lattice, "far", "b", "")?;
    let dir = lattice.dir.path();
    let (echo, _) = spawn(dir, &["nats-echo", &lattice.nats.url, SUBJECT])?;
    let (hyper, plain) = spawn_http(dir, &["hyper-nats", &lattice.nats.url, SUBJECT])?;
    let (ours, baseline) = (lattice.processes(), [hyper.id(), echo.id()]);
    let pairs = bench.rounds(|| {
        let ours = Client { address: far, path: "/", connections: 64, servers: &ours };
        let plain = Client { address: plain, path: "/", connections: 64, servers: &baseline };
        Ok((ours.run(bench.times)?, plain.run(bench.times)?))
    })?;
    let [rate, cpu] = rate_and_cpu("http_hello_remote_rps", "hyper -> NATS echo", &pairs);
    let rate = rate.target(Target::ValueAtLeast(FIVE_TIMES_PEER));
    Ok(vec![rate, cpu.note("of both processes on each side, without nats-server")])
}
