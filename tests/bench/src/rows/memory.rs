//! What a component costs a host while nobody calls it.

use std::{fs, thread::sleep, time::Duration};

use anyhow::{Context, Result};

use crate::{
    bench::Bench,
    lattice::{Lattice, in_zone},
    machine::{Memory, memory},
    report::{Row, Target},
};

/// Components of one app.
const APP: u32 = 100;
/// A host that has just finished its work gives memory back within this time.
const SETTLE: Duration = Duration::from_secs(2);
const MIB: f64 = 1024.0 * 1024.0;

/// Deploys components beside one that is there already, and sees how the host grows.
pub(super) fn per_component(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let host = *lattice.processes().first().context("no host")?;
    let hello = fs::read(bench.guest("hello")?)?;
    let mut deployed = 0;
    let mut deploy = |upto: u32| -> Result<Memory> {
        while deployed < upto {
            let count = APP.min(upto - deployed);
            apply(&lattice, &hello, deployed..deployed + count)?;
            deployed += count;
        }
        sleep(SETTLE);
        memory(host)
    };
    let mut before = deploy(0)?;
    let mut rows = Vec::new();
    // The first one brings the compiler's working memory with it, so the further ones are counted from there.
    for (variant, upto, count) in [("first", 1, 1), ("1", 2, 1), ("100", 102, 100), ("1000", 1102, 1000)] {
        let after = deploy(upto)?;
        let each = |of: fn(&Memory) -> f64| (of(&after) - of(&before)) / f64::from(count) / MIB;
        let row = Row::alone(&format!("memory_per_component.{variant}"), "MiB", vec![each(|memory| memory.all)]);
        let row = row.note(format!(
            "{count} more: {:.3} MiB each of compiled code (pages of files), {:.3} MiB each of no file; the host has {:.0} MiB",
            each(|memory| memory.code),
            each(|memory| memory.anonymous),
            after.all / MIB
        ));
        rows.push(if variant == "first" { row } else { row.target(Target::ValueBelow(2.0)) });
        before = after;
    }
    Ok(rows)
}

fn apply(lattice: &Lattice, hello: &[u8], numbers: std::ops::Range<u32>) -> Result<()> {
    let app = format!("idle-{}", numbers.start);
    let mut spec = "  components:\n".to_owned();
    for number in numbers {
        let image = lattice.dir.path().join(format!("idle-{number}.wasm"));
        fs::write(&image, distinct(hello, number))?;
        spec += &format!("    c{number}: {{ image: \"{}\", {} }}\n", image.display(), in_zone("a"));
    }
    lattice.apply(&app, &spec)
}

/// The same component with another digest: a custom section more.
pub(super) fn distinct(component: &[u8], number: u32) -> Vec<u8> {
    const NAME: &[u8] = b"number";
    let mut bytes = component.to_vec();
    // Kind 0, its length (below 128, so one byte), the name with its length, and what it contains.
    bytes.extend([0, (1 + NAME.len() + 4) as u8, NAME.len() as u8]);
    bytes.extend(NAME);
    bytes.extend(number.to_le_bytes());
    bytes
}
