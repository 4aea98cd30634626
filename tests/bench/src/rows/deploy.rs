//! From `lattice-ctl apply` to the first good answer.

use std::{
    fs,
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
    let (mut cold, mut warm, mut number) = (Vec::new(), Vec::new(), 0);
    bench.rounds(|| {
        number += 1;
        let image = lattice.dir.path().join("cold.wasm");
        fs::write(&image, distinct(&hello, number))?;
        let address = free_address()?;
        let component = format!("    hello: {{ image: \"{}\", {} }}\n", image.display(), in_zone("a"));
        let file =
            lattice.manifest(APP, &format!("  components:\n{component}  providers:\n{}", web(address, "hello")))?;
        for times in [&mut cold, &mut warm] {
            let start = Instant::now();
            let apply = lattice.ctl(&["apply", "-f", &file])?;
            first_answer(address, "/", FIRST)?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
            apply.wait()?;
            lattice.delete(APP)?;
        }
        Ok(())
    })?;
    Ok(vec![
        Row::alone("apply_to_first_200.cold", "ms", cold).note("with upload and compilation of examples/hello"),
        Row::alone("apply_to_first_200.warm", "ms", warm).note("the lattice has the artifact and the host its code"),
    ])
}
