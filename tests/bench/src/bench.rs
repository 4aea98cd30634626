//! One run: which rows, how long, with which programs.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    report::{self, Row},
    rows,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows to measure; all without one
    names: Vec<String>,
    /// Write the rows as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds of each row; its figure is the median
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Length of each measurement in a round, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Folder with our programs, built for release
    #[arg(long, env = "LATTICE_BIN", value_name = "DIR")]
    binaries: PathBuf,
    /// Folder with the guests
    #[arg(long, env = "LATTICE_GUESTS", value_name = "DIR")]
    guests: PathBuf,
    #[arg(long, env = "LATTICE_NATS_SERVER", value_name = "FILE")]
    nats_server: PathBuf,
    #[arg(long, env = "LATTICE_REDIS_SERVER", value_name = "FILE")]
    redis_server: PathBuf,
}

/// What every row gets.
pub(crate) struct Bench {
    pub(crate) rounds: u32,
    pub(crate) times: Times,
    pub(crate) nats_server: PathBuf,
    pub(crate) redis_server: PathBuf,
    binaries: PathBuf,
    guests: PathBuf,
}

/// How long one measurement takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before it, and not counted.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

/// Bounds of a measurement's length, in seconds.
const SECONDS: std::ops::RangeInclusive<f64> = 0.1..=600.0;
/// A longer warm-up makes nothing warmer.
const LONGEST_WARM_UP: f64 = 1.0;

impl Bench {
    /// One of our programs.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// The component that is called `name`.
    pub(crate) fn guest(&self, name: &str) -> Result<PathBuf> {
        let path = self.guests.join(format!("{name}.wasm"));
        path.canonicalize().with_context(|| format!("no guest {}; cargo xtask build-examples", path.display()))
    }

    /// Calls `round` as often as there are rounds, and gathers what it returns.
    pub(crate) fn rounds<T>(&self, mut round: impl FnMut() -> Result<T>) -> Result<Vec<T>> {
        (1..=self.rounds).map(|n| round().with_context(|| format!("in round {n}"))).collect()
    }
}

/// Measures what was asked for. A row that fails does not keep the others from being measured.
pub(crate) fn run(options: Options) -> Result<()> {
    if !SECONDS.contains(&options.seconds) {
        bail!("--seconds {} is not between {} and {}", options.seconds, SECONDS.start(), SECONDS.end());
    }
    let known: Vec<_> = rows::GROUPS.iter().flat_map(|group| group.rows).copied().collect();
    if let Some(unknown) = options.names.iter().find(|name| !known.contains(&base(name))) {
        bail!("there is no row {unknown}; there are {}", known.join(", "));
    }
    let wanted =
        |row: &str| options.names.is_empty() || options.names.iter().any(|name| name == row || name == base(row));
    let bench = Bench {
        rounds: options.rounds,
        times: Times {
            warm_up: Duration::from_secs_f64((options.seconds / 3.0).min(LONGEST_WARM_UP)),
            measured: Duration::from_secs_f64(options.seconds),
        },
        nats_server: options.nats_server.clone(),
        redis_server: options.redis_server.clone(),
        binaries: absolute(&options.binaries)?,
        guests: absolute(&options.guests)?,
    };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for group in rows::GROUPS {
        let chosen = |row: &str| options.names.is_empty() || options.names.iter().any(|name| base(name) == row);
        if !group.rows.iter().any(|row| chosen(row)) {
            continue;
        }
        eprintln!("==> {}", group.rows.join(", "));
        let started = Instant::now();
        match (group.measure)(&bench) {
            Ok(measured) => {
                eprintln!("    done in {:.1} s", started.elapsed().as_secs_f32());
                rows.extend(measured.into_iter().filter(|row: &Row| wanted(&row.name)));
            }
            Err(error) => {
                eprintln!("    FAILED: {error:#}");
                failed.push(group.rows.join(", "));
            }
        }
    }
    report::print(&rows, &bench);
    if let Some(file) = &options.json {
        report::write_json(file, &rows)?;
    }
    if !failed.is_empty() {
        bail!("not measured: {}", failed.join("; "));
    }
    Ok(())
}

/// The row that a variant belongs to.
fn base(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn absolute(dir: &Path) -> Result<PathBuf> {
    dir.canonicalize().with_context(|| format!("there is no folder {}", dir.display()))
}
