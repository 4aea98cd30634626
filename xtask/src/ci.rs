//! `cargo xtask ci`: what must be green before a change is done.

use anyhow::Result;

use crate::{
    conform,
    project::{cargo, root, run},
    test,
};

pub(crate) fn check() -> Result<()> {
    heading("format");
    for workspace in [".", "examples", "tests/guests"] {
        let manifest = root().join(workspace).join("Cargo.toml");
        run(cargo().args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest))?;
    }
    heading("lints");
    // All at once: apart, the features that the benchmarks add to wasmtime would have it checked twice.
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    heading("tests");
    test::run_tests(None, &[])?;
    heading("backends");
    conform::check()
}

fn heading(text: &str) {
    eprintln!("\n######## {text}");
}
