//! `cargo xtask conform`: every backend of the catalog against the suite of its capability, on real servers that go and come
//! back, by `lattice-ctl conform`. Prints a matrix for each capability.
//!
//! ```text
//! a job for each backend, two at a time   starts its server, runs lattice-ctl       -> what it says
//! control                                 `ask` of the shell commands of a job      -> stops and starts that server
//! ```

mod backends;
mod control;
mod table;

use std::{
    env,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lattice_tests::places::path_with_nats;
use serde::Deserialize;
use tokio::{process::Command, sync::Semaphore, task::JoinSet, time::timeout};

use self::{
    backends::{BACKENDS, Backend},
    control::Control,
};

/// Backends that are checked at a time.
const AT_A_TIME: usize = 2;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What `lattice-ctl conform -o json` says.
#[derive(Debug, Default, Deserialize)]
struct Report {
    checks: Vec<Line>,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Line {
    interface: String,
    check: String,
    outcome: String,
    reason: Option<String>,
}

/// What came out for one backend.
struct Column {
    name: &'static str,
    report: Report,
    /// Why there is no report.
    trouble: Option<String>,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => run().await,
        ["ask", socket, what, server] => control::ask(socket, what, server).await.map(|()| true),
        _ => Err(anyhow::anyhow!("usage: conform-matrix [ask SOCKET stop|start SERVER]")),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every cell is as it should be.
async fn run() -> Result<bool> {
    backends::are_all()?;
    let started = Instant::now();
    let control = Arc::new(Control::start()?);
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    let mut jobs = JoinSet::new();
    for backend in BACKENDS {
        let (control, places) = (control.clone(), places.clone());
        jobs.spawn(async move {
            let _place = places.acquire_owned().await;
            let outcome = check(backend, &control).await;
            let (report, trouble) = match outcome {
                Ok(report) => (report, None),
                Err(error) => (Report::default(), Some(format!("{error:#}"))),
            };
            eprintln!("    {}: {} checks in {:.1} s", backend.name, report.checks.len(), report.seconds);
            Column { name: backend.name, report, trouble }
        });
    }
    let mut columns = jobs.join_all().await;
    // As they stand in the list, whichever ended first.
    columns.sort_by_key(|column| BACKENDS.iter().position(|backend| backend.name == column.name));
    Ok(table::print(&columns, started.elapsed()))
}

/// Starts the backend's server and lets the CLI check it.
async fn check(backend: &Backend, control: &Control) -> Result<Report> {
    let server = match backend.server {
        Some(start) => Some(control.add(backend.name, start).await.context("its server does not start")?),
        None => None,
    };
    let us = env::current_exe().context("where is this program?")?;
    let beside = us.parent().context("this program is in no folder")?;
    let folder = tempfile::tempdir()?;
    let mut ctl = Command::new(beside.join("lattice-ctl"));
    let (nats, ours) = (path_with_nats(), env::var_os("PATH").unwrap_or_default());
    let path = env::split_paths(&nats).chain(env::split_paths(&ours));
    ctl.env_clear().env("PATH", env::join_paths(path)?).kill_on_drop(true);
    ctl.args(["conform", backend.name, "-o", "json"]);
    let url = server.as_deref().unwrap_or_default();
    for setting in (backend.settings)(url, &folder.path().to_string_lossy()) {
        ctl.args(["--config", &setting]);
    }
    if backend.in_lattice {
        ctl.args(["--nats", url]);
    }
    if server.is_some() {
        for what in ["stop", "start"] {
            let ask = format!("'{}' ask '{}' {what} {}", us.display(), control.socket().display(), backend.name);
            ctl.args([format!("--{what}"), ask]);
        }
    }
    let output = ctl.stdin(Stdio::null()).output();
    let output = timeout(LIMIT, output).await.with_context(|| format!("not done after {} s", LIMIT.as_secs()))??;
    control.remove(backend.name).await;
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0 | 1) if !output.stdout.is_empty() => {
            if !output.status.success() {
                eprint!("{said}");
            }
            serde_json::from_slice(&output.stdout).with_context(|| format!("what lattice-ctl says is odd; {said}"))
        }
        _ => bail!("lattice-ctl ended with {}: {said}", output.status),
    }
}
