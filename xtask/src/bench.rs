//! `cargo xtask bench`: builds everything for release, fetches the servers, and runs `lattice-bench`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    guests,
    process::tied_to_us,
    project::{self, cargo, run, step, target},
    tools,
};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows to measure; all without one
    names: Vec<String>,
    /// Write the rows as JSON: an array of {name, value, unit, baseline_name, baseline_value, ratio}
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Rounds of each row; its figure is the median
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of each measurement in a round, in seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

/// What users run, two backends as processes of their own, and what measures them.
const MEASURED: [&str; 5] = [
    "lattice-host",
    "lattice-ctl",
    "lattice-provider-keyvalue-redis",
    "lattice-provider-keyvalue-memory",
    "lattice-bench",
];

pub(crate) fn measure(options: &Options) -> Result<()> {
    let nats_server = tools::nats_server()?;
    let redis_server = tools::redis_server()?;
    let postgresql = tools::postgresql()?;
    guests::build()?;
    step("host, CLI, providers and benchmarks: building for release (some minutes the first time)", build)?;
    let binaries = target().join("release");
    let mut bench = tied_to_us(&binaries.join("lattice-bench"))?;
    bench.arg("run").args(&options.names);
    bench.args(["--rounds", &options.rounds.to_string(), "--seconds", &options.seconds.to_string()]);
    if let Some(file) = &options.json {
        bench.arg("--json").arg(file);
    }
    bench
        .env("LATTICE_BIN", binaries)
        .env("LATTICE_GUESTS", project::guests())
        .env("LATTICE_NATS_SERVER", nats_server)
        .env("LATTICE_REDIS_SERVER", redis_server)
        .env("LATTICE_POSTGRES", postgresql);
    run(&mut bench)
}

fn build() -> Result<()> {
    let mut build = cargo();
    build.args(["build", "--release"]);
    for package in MEASURED {
        build.args(["--package", package]);
    }
    run(&mut build)
}
