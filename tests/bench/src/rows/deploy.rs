//! From `lattice-ctl apply` to the first good answer.

use std::{
    fs,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::memory::distinct;
use crate::{
    bench::Bench,
    lattice::{Lattice, free_address, in_zone, web},
    load::first_answer,
    report::Row,
};

const FIRST: Duration = Duration::from_secs(60);
const APP: &str = "hello";

/// Cold: neither the lattice nor the host has the component. Warm: the same app again after it was deleted.
pub(super) fn apply_to_first_200(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let hello = fs::read(bench.guest("hello")?)?;
    let mut number = 0;
    let mut round = || {
        number += 1;
        let image = lattice.dir.path().join("cold.wasm");
        fs::write(&image, distinct(&hello, number))?;
        let address = free_address()?;
        let component = format!("    hello: {{ image: \"{}\", {} }}\n", image.display(), in_zone("a"));
        let spec = format!("  components:\n{component}  providers:\n{}", web(address, "hello"));
        let file = lattice.manifest(APP, &spec)?;
        Ok((apply(&lattice, &file, address)?, apply(&lattice, &file, address)?))
    };
    // A host that has just started may not yet be known to the controller; that wait is not the app's.
    let (first, _) = round()?;
    let (cold, warm) = bench.rounds(round)?.into_iter().unzip();
    Ok(vec![
        Row::alone("apply_to_first_200.cold", "ms", cold).note(format!(
            "with upload and compilation of examples/hello; right after the start of the host it was {first:.0} ms"
        )),
        Row::alone("apply_to_first_200.warm", "ms", warm).note("the lattice has the artifact and the host its code"),
    ])
}

/// Applies, waits for an answer, and deletes. Returns how long the answer took, in milliseconds.
fn apply(lattice: &Lattice, manifest: &str, address: SocketAddr) -> Result<f64> {
    let start = Instant::now();
    let apply = lattice.ctl(&["apply", "-f", manifest])?;
    first_answer(address, "/", FIRST)?;
    let took = start.elapsed().as_secs_f64() * 1000.0;
    apply.wait()?;
    lattice.delete(APP)?;
    Ok(took)
}
