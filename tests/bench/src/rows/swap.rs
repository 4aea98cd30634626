//! What clients see while the backend under examples/counter is swapped.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;

use crate::{
    bench::Bench,
    lattice::{Lattice, Redis, free_address, web},
    load::{Background, Pauses, first_answer},
    report::{Row, Target},
};

const CONNECTIONS: usize = 16;
/// Good answers of each backend before the next swap.
const ANSWERS: u64 = 1000;
const FIRST: Duration = Duration::from_secs(20);

/// The counter on two hosts, whose backend is swapped.
struct Swapped<'a> {
    bench: &'a Bench,
    lattice: &'a Lattice,
    address: SocketAddr,
}

impl Swapped<'_> {
    fn apply(&self, backend: &str) -> Result<()> {
        let image = self.bench.guest("counter")?;
        let spec = format!(
            "  components:\n    counter: {{ image: \"{}\", replicas: 2, links: {{ \"wasi:keyvalue\": cache }} }}\n  providers:\n    \
             cache: {{ {backend} }}\n{}",
            image.display(),
            web(self.address, "counter")
        );
        self.lattice.apply("counter", &spec)
    }

    /// A load over all of these backends, one after the other.
    fn through(&self, backends: &[&str]) -> Result<Pauses> {
        let Some((first, others)) = backends.split_first() else { return Ok(Pauses::default()) };
        self.apply(first)?;
        first_answer(self.address, "/", FIRST)?;
        let load = Background::start(self.address, "/", CONNECTIONS);
        load.wait_for(ANSWERS)?;
        for backend in others {
            self.apply(backend)?;
            load.wait_for(ANSWERS)?;
        }
        load.finish()
    }
}

pub(super) fn under_load(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a", "b"])?;
    let redis = Redis::start(bench, lattice.dir.path())?;
    let swapped = Swapped { bench, lattice: &lattice, address: free_address()? };
    let redis = format!("use: keyvalue-redis, config: {{ url: \"{}\" }}", redis.url);
    let memory = "use: keyvalue-memory";
    let backends = [memory, redis.as_str(), "use: keyvalue-nats", "use: keyvalue-redb"];
    let rounds = bench.rounds(|| {
        let ours = swapped.through(&backends)?;
        // As many times the same is no change: it is applied and nothing moves.
        Ok((ours, swapped.through(&[memory; 4])?))
    })?;
    let milliseconds = |pauses: &Pauses| pauses.longest.as_secs_f64() * 1000.0;
    let pairs = rounds.iter().map(|(ours, still)| (milliseconds(ours), milliseconds(still)));
    let answered: u64 = rounds.iter().map(|(ours, _)| ours.answered).sum();
    let first = rounds.iter().find_map(|(ours, _)| ours.failure.clone()).unwrap_or_else(|| "none".to_owned());
    Ok(vec![
        Row::compared("kv_swap", "ms", "applied as often without a change", pairs).note(
            "the longest time between two good answers on any of 16 connections while keyvalue-memory becomes redis, nats and \
             redb",
        ),
        Row::alone("kv_swap.failed", "requests", rounds.iter().map(|(ours, _)| ours.failed as f64).collect())
            .target(Target::ValueBelow(1.0))
            .note(format!("of {answered} requests in all rounds; the first failure: {first}")),
    ])
}
