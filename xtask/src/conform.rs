//! `cargo xtask conform`: every backend of the catalog, on real servers, by the CLI that users have.

use anyhow::{Context, Result};

use crate::{
    process::tied_to_us,
    project::{self, run, step},
    test, tools,
};

pub(crate) fn check() -> Result<()> {
    let servers = test::servers()?;
    let azurite = tools::azurite()?;
    step("CLI and providers: building", project::build_binaries)?;
    let mut matrix = tied_to_us(&project::binaries().join("conform-matrix"))?;
    step("backends", || {
        run(matrix.envs(servers).env("LATTICE_AZURITE", azurite))
            .context("a backend does not do what its capability promises")
    })
}
