//! `cargo xtask ci`: what must be green before a change is done.

use std::{env, path::Path, process::Command, thread};

use anyhow::{Context, Result, bail};

use crate::project::{capture, cargo, root, run};

pub(crate) fn check() -> Result<()> {
    // Asked for now: the builds put another program in the place of this one.
    let xtask = env::current_exe().context("where is this program?")?;
    heading("format");
    for workspace in [".", "examples", "tests/guests"] {
        let manifest = root().join(workspace).join("Cargo.toml");
        run(cargo().args(["fmt", "--all", "--check", "--manifest-path"]).arg(manifest))?;
    }
    heading("lints and tests");
    // Tools are waited for, and guests are compiled by one core at a time where the build leaves one: both come meanwhile.
    let others = thread::spawn({
        let xtask = xtask.clone();
        move || -> Result<()> {
            run(Command::new(&xtask).arg("tools"))?;
            run(Command::new("nice").arg(&xtask).arg("build-examples"))
        }
    });
    // What the tests do not need is looked at all the same.
    let built = linted(cargo().args(["build", "--workspace"]));
    others.join().unwrap_or_else(|_| bail!("a thread has panicked"))?;
    built?;
    linted(Command::new(&xtask).arg("test"))?;
    heading("backends");
    linted(Command::new(&xtask).arg("conform"))
}

/// Runs a command with the lints of clippy in every build of ours: `cargo clippy` would check all that the project depends on, and then it
/// would be built as well.
fn linted(command: &mut Command) -> Result<()> {
    let sysroot = capture(Command::new("rustc").current_dir(root()).args(["--print", "sysroot"]))?;
    let clippy = Path::new(sysroot.trim()).join("bin/clippy-driver");
    // Words for clippy are apart by that word.
    command.env("RUSTC_WORKSPACE_WRAPPER", clippy).env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings");
    // Nobody debugs what is built here.
    run(command.env("CARGO_PROFILE_DEV_DEBUG", "false"))
}

fn heading(text: &str) {
    eprintln!("\n######## {text}");
}
