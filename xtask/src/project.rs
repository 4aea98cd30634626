//! Where things are, and how a chore runs a command and shows that it does.

use std::{
    env,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, bail};

/// The project's folder.
pub(crate) fn root() -> PathBuf {
    // As cargo says now: with one target folder for several checkouts, what was compiled in may be another one's.
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_owned)
}

/// Where cargo puts what it builds for this machine.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where the guests lie, one file each.
pub(crate) fn guests() -> PathBuf {
    root().join("target/guests")
}

/// Our own binaries, as demo and tests run them.
pub(crate) fn binaries() -> PathBuf {
    target().join("debug")
}

/// What is fetched once for all checkouts of the project: `$LATTICE_CACHE`, else a folder in the user's cache.
pub(crate) fn cache() -> Result<PathBuf> {
    let dir = if let Some(dir) = env::var_os("LATTICE_CACHE") {
        PathBuf::from(dir)
    } else if let Some(dir) = env::var_os("XDG_CACHE_HOME") {
        PathBuf::from(dir).join("lattice")
    } else {
        let home = env::var_os("HOME").context("HOME is not set; set LATTICE_CACHE to a folder for fetched tools")?;
        PathBuf::from(home).join(".cache/lattice")
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}; set LATTICE_CACHE", dir.display()))?;
    // Absolute, because scripts and cargo run in folders of their own.
    dir.canonicalize().with_context(|| format!("cannot find {}", dir.display()))
}

/// The same for programs that refuse to be root's: another user cannot look into root's home.
pub(crate) fn cache_for_all() -> Result<PathBuf> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0);
    if !is_root || env::var_os("LATTICE_CACHE").is_some() {
        return cache();
    }
    let dir = PathBuf::from("/var/cache/lattice");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Cargo for this machine, in the project's folder.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root());
    cargo
}

/// Builds everything but the benchmarks, which take a minute and ask for no features of their own: cargo unites the features of
/// what it builds together, and another choice could compile wasmtime again.
pub(crate) fn build_binaries() -> Result<()> {
    run(cargo().args(["build", "--workspace", "--exclude", "lattice-bench"]))
}

/// Runs a command whose output the user sees; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", show(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", show(command));
    }
    Ok(())
}

/// Runs a command for what it writes on stdout; anything but success is an error with what it wrote on stderr.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", show(command)))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}\n{stdout}{stderr}", show(command), output.status);
    }
    Ok(stdout)
}

fn show(command: &Command) -> String {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|w| w.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}

/// Says what is being done, and afterwards how long it took.
pub(crate) fn step<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("==> {what}");
    let start = Instant::now();
    let result = work().with_context(|| what.to_owned())?;
    let elapsed = start.elapsed();
    // What was there already needs no second line.
    if elapsed.as_millis() >= 100 {
        eprintln!("    done in {:.1} s", elapsed.as_secs_f32());
    }
    Ok(result)
}
