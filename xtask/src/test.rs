//! `cargo xtask test`: what the tests need first, then all test binaries, several at a time.
//!
//! Cargo would run one binary after another. Most of ours wait for servers and processes that they start, so a few more than
//! there are cores take little more than half of the time; each has ports and folders of its own anyway.

use std::{
    collections::BTreeSet,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{
    guests,
    project::{self, capture, cargo, run, step},
    tools,
};

/// A line of what cargo says in JSON, as far as it is about a test binary.
#[derive(Deserialize)]
struct Message {
    reason: String,
    manifest_path: Option<PathBuf>,
    executable: Option<PathBuf>,
    profile: Option<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// A binary with tests. Those of the lattice as a whole come first: they take longest.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TestBinary {
    alone: bool,
    /// Of its package.
    folder: PathBuf,
    program: PathBuf,
}

/// Tests find what they need by the variables that are set here.
pub(crate) fn run_tests(filter: Option<&str>, arguments: &[String]) -> Result<()> {
    let servers = servers()?;
    let (nats_py, chromium) = (tools::nats_py()?, tools::chromium()?);
    // `lattice-ctl build` finds it where it is kept.
    tools::componentize_js()?;
    guests::build()?;
    // The tests start hosts and providers as processes, and cargo builds no binaries of other packages for them.
    step("hosts, CLI and providers: building", project::build_binaries)?;
    let surroundings = |command: &mut Command| {
        command
            .envs(servers.clone())
            .env("LATTICE_NATS_PY", &nats_py)
            .env("LATTICE_CHROMIUM", &chromium)
            .env("LATTICE_GUESTS", project::guests())
            .env("LATTICE_BIN", project::binaries());
    };
    let binaries = step("tests: building", build)?;
    let libraries = libraries()?;
    let failed = step("tests", || {
        side_by_side(&binaries, |binary| {
            let mut test = Command::new(&binary.program);
            test.current_dir(&binary.folder)
                .env("CARGO_MANIFEST_DIR", &binary.folder)
                .env("LD_LIBRARY_PATH", &libraries)
                .args(filter)
                .args(arguments);
            surroundings(&mut test);
            test
        })
    })?;
    let mut documentation = cargo();
    documentation.args(["test", "--doc", "--workspace"]).args(filter);
    surroundings(&mut documentation);
    step("examples in the documentation", || run(&mut documentation))?;
    if !failed.is_empty() {
        bail!("tests failed in {}", failed.join(", "));
    }
    Ok(())
}

/// The variables by which tests find the servers that they start.
pub(crate) fn servers() -> Result<[(&'static str, PathBuf); 4]> {
    Ok([
        ("LATTICE_NATS_SERVER", tools::nats_server()?),
        ("LATTICE_REDIS_SERVER", tools::redis_server()?),
        ("LATTICE_POSTGRES", tools::postgresql()?),
        ("LATTICE_DOCKER_REGISTRY", tools::docker_registry()?),
    ])
}

fn build() -> Result<BTreeSet<TestBinary>> {
    let mut test = cargo();
    test.args(["test", "--workspace", "--no-run", "--message-format=json-render-diagnostics"]);
    let output = test.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the tests cannot be built");
    }
    let end_to_end = project::root().join("tests");
    let mut binaries = BTreeSet::new();
    for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{")) {
        let message: Message = serde_json::from_slice(line).context("cargo says something else than JSON")?;
        let is_test = message.reason == "compiler-artifact" && message.profile.is_some_and(|profile| profile.test);
        if let (true, Some(program), Some(manifest)) = (is_test, message.executable, message.manifest_path) {
            let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
            binaries.insert(TestBinary { alone: folder != end_to_end, folder, program });
        }
    }
    Ok(binaries)
}

/// Where the libraries are that tests of procedural macros are linked to.
fn libraries() -> Result<String> {
    let folder = capture(Command::new("rustc").current_dir(project::root()).args(["--print", "target-libdir"]))?;
    let before = std::env::var("LD_LIBRARY_PATH").ok().filter(|before| !before.is_empty());
    Ok(before.map_or(folder.trim().to_owned(), |before| format!("{}:{before}", folder.trim())))
}

/// Runs all, and prints what each has said when it has ended; those that failed.
fn side_by_side(
    binaries: &BTreeSet<TestBinary>,
    command: impl Fn(&TestBinary) -> Command + Sync,
) -> Result<Vec<String>> {
    let binaries: Vec<_> = binaries.iter().collect();
    let next = AtomicUsize::new(0);
    // A lock around one binary's output, so that it stays together.
    let failed = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        while let Some(binary) = binaries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = binary.program.file_name().unwrap_or_default().to_string_lossy();
            let output = command(binary).stdin(Stdio::null()).output();
            let output = output.with_context(|| format!("cannot start {}", binary.program.display()))?;
            let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("     Running {name} ({})", binary.folder.display());
            std::io::stdout().write_all(&output.stdout)?;
            std::io::stderr().write_all(&output.stderr)?;
            if !output.status.success() {
                eprintln!("     {name} ended with {}", output.status);
                failed.push(name.into_owned());
            }
        }
        Ok(())
    };
    let at_a_time = thread::available_parallelism().map_or(2, |cores| cores.get() + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread has panicked")))
    })?;
    Ok(failed.into_inner().unwrap_or_else(PoisonError::into_inner))
}
