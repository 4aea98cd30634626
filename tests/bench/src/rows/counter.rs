//! examples/counter on Redis. Each row ends by comparing the number in Redis with the number of answers.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};

use super::{compared, rate_and_cpu};
use crate::{
    bench::Bench,
    lattice::{Lattice, Redis, free_address, in_zone, web},
    load::{Client, Load, first_answer},
    report::{Row, Target},
    servers::{spawn, spawn_http},
};

/// How long an app may take to its first answer.
const FIRST: Duration = Duration::from_secs(20);
/// Where ours counts: prefix, bucket and key.
const OURS: &str = "bench:default:visits";
/// Where the baselines count.
const PLAIN: &str = "plain";
/// What wasmCloud v1.9.2 does on a machine of this kind, in requests a second, times ten.
const TEN_TIMES_PEER: f64 = 10_000.0;
/// What wasmCloud v2 does in one process, times three.
const THREE_TIMES_PEER: f64 = 11_400.0;

fn deploy(bench: &Bench, lattice: &Lattice, redis: &Redis, zone: &str, isolate: &str) -> Result<SocketAddr> {
    let (address, image, url) = (free_address()?, bench.guest("counter")?, &redis.url);
    let spec = format!(
        "  components:\n    counter: {{ image: \"{}\", links: {{ \"wasi:keyvalue\": cache }}, {} }}\n  providers:\n    \
         cache: {{ use: keyvalue-redis, isolate: {isolate}, config: {{ url: \"{url}\", prefix: \"bench:\" }}, {} }}\n{}",
        image.display(),
        in_zone(zone),
        in_zone("a"),
        web(address, "counter")
    );
    lattice.apply("counter", &spec)?;
    Ok(address)
}

/// Ours and its baseline, behind the address of each.
struct Contest<'a> {
    bench: &'a Bench,
    redis: &'a Redis,
    ours: (SocketAddr, Vec<u32>),
    plain: (SocketAddr, Vec<u32>),
}

impl Contest<'_> {
    /// One measurement of each, with `connections`.
    fn round(&self, connections: usize) -> Result<(Load, Load)> {
        Ok((self.load(&self.ours, OURS, connections)?, self.load(&self.plain, PLAIN, connections)?))
    }

    /// A load, after which the number under `key` must have grown by the number of answers.
    fn load(&self, (address, servers): &(SocketAddr, Vec<u32>), key: &str, connections: usize) -> Result<Load> {
        let before = self.redis.number(key)?;
        let load = Client { address: *address, path: "/", connections, servers }.run(self.bench.times)?;
        let counted = self.redis.number(key)? - before;
        if counted != load.answered {
            bail!("Redis counted {counted} visits under {key}, but {} requests were answered with 200", load.answered);
        }
        Ok(load)
    }

    fn verdict(&self) -> Result<String> {
        let number = self.redis.number(OURS)?;
        Ok(format!("after each measurement the number in Redis had grown by the number of 200s; it ends at {number}"))
    }
}

pub(super) fn remote(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a", "b"])?;
    let dir = lattice.dir.path();
    let redis = Redis::start(bench, dir)?;
    let address = deploy(bench, &lattice, &redis, "b", "process")?;
    first_answer(address, "/", FIRST)?;
    let nats = lattice.nats.url.as_str();
    let (last, _) = spawn(dir, &["nats-redis", nats, "baseline.last", &redis.url, PLAIN])?;
    let (relay, _) = spawn(dir, &["nats-relay", nats, "baseline.relay", "baseline.last"])?;
    let (hyper, plain) = spawn_http(dir, &["hyper-nats", nats, "baseline.relay"])?;
    let contest = Contest {
        bench,
        redis: &redis,
        ours: (address, lattice.processes()),
        plain: (plain, vec![hyper.id(), relay.id(), last.id()]),
    };
    let (mut at_64, mut at_1) = (Vec::new(), Vec::new());
    bench.rounds(|| {
        at_64.push(contest.round(64)?);
        at_1.push(contest.round(1)?);
        Ok(())
    })?;
    let baseline = "hyper -> NATS -> NATS -> INCR";
    let [rate, cpu] = rate_and_cpu("counter_remote", baseline, &at_64);
    Ok(vec![
        rate.target(Target::ValueAtLeast(TEN_TIMES_PEER)).note(contest.verdict()?),
        cpu.note("of all processes on each side but nats-server and redis-server"),
        compared("counter_remote.p99", "ms", baseline, &at_64, |load| load.p99_us / 1000.0),
        compared("counter_remote.p50", "us", baseline, &at_1, |load| load.p50_us).note("at 1 connection"),
    ])
}

pub(super) fn local(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let dir = lattice.dir.path();
    let redis = Redis::start(bench, dir)?;
    let address = deploy(bench, &lattice, &redis, "a", "host")?;
    first_answer(address, "/", FIRST)?;
    let (hyper, plain) = spawn_http(dir, &["hyper-redis", &redis.url, PLAIN])?;
    let contest =
        Contest { bench, redis: &redis, ours: (address, lattice.processes()), plain: (plain, vec![hyper.id()]) };
    let pairs = bench.rounds(|| contest.round(64))?;
    let [rate, cpu] = rate_and_cpu("counter_local", "hyper -> INCR", &pairs);
    Ok(vec![rate.target(Target::ValueAtLeast(THREE_TIMES_PEER)).note(contest.verdict()?), cpu])
}
