//! `cargo xtask test`: what the tests need first, then `cargo test`.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    guests,
    project::{self, cargo, run, step},
    tools,
};

/// Tests find what they need by the variables that are set here.
pub(crate) fn run_tests(filter: Option<&str>, arguments: &[String]) -> Result<()> {
    let servers = servers()?;
    let nats_py = tools::nats_py()?;
    guests::build()?;
    // The tests start hosts and providers as processes, and cargo builds no binaries of other packages for them.
    step("hosts, CLI and providers: building", project::build_binaries)?;
    let mut test = cargo();
    test.arg("test").args(project::EVERYTHING).args(filter);
    if !arguments.is_empty() {
        test.arg("--").args(arguments);
    }
    test.envs(servers)
        .env("LATTICE_NATS_PY", nats_py)
        .env("LATTICE_GUESTS", project::guests())
        .env("LATTICE_BIN", project::binaries());
    step("tests", || run(&mut test))
}

/// The variables by which tests find the servers that they start.
pub(crate) fn servers() -> Result<[(&'static str, PathBuf); 3]> {
    Ok([
        ("LATTICE_NATS_SERVER", tools::nats_server()?),
        ("LATTICE_REDIS_SERVER", tools::redis_server()?),
        ("LATTICE_POSTGRES", tools::postgresql()?),
    ])
}
