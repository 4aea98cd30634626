//! From `kill -9` of a host to the first good answer from another one.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    bench::Bench,
    lattice::{Lattice, free_address},
    load::first_answer,
    report::{Row, Target},
};

const LIMIT: Duration = Duration::from_secs(30);
const ZONES: [&str; 3] = ["a", "b", "c"];
/// What a user is promised, in seconds.
const PROMISED: f64 = 5.0;

/// Kills the host that has the whole app: one that plans for the lattice, and one that does not.
pub(super) fn failover(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (variant, victim, note) in [
        ("host", "b", "another host holds the lease"),
        ("lease", "a", "it holds the lease, so that another host has to take over planning first"),
    ] {
        let took = bench.rounds(|| kill(bench, victim))?;
        let row = Row::alone(&format!("failover.{variant}"), "s", took);
        rows.push(row.target(Target::ValueBelow(PROMISED)).note(note));
    }
    Ok(rows)
}

fn kill(bench: &Bench, victim: &str) -> Result<f64> {
    // The first one plans for the others.
    let mut lattice = Lattice::start_in_turn(bench, &ZONES)?;
    let (address, image) = (free_address()?, bench.guest("hello")?);
    let placement = format!("placement: {{ prefer: {{ zone: [{victim}] }} }}");
    let component = format!("    hello: {{ image: \"{}\", {placement} }}\n", image.display());
    let web = format!(
        "    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ \"/\": hello }}, {placement} }}\n"
    );
    lattice.apply("hello", &format!("  components:\n{component}  providers:\n{web}"))?;
    first_answer(address, "/", LIMIT)?;
    let at = ZONES.iter().position(|zone| *zone == victim).unwrap_or(0);
    lattice.kill(at)?;
    let killed = Instant::now();
    first_answer(address, "/", LIMIT)?;
    Ok(killed.elapsed().as_secs_f64())
}
