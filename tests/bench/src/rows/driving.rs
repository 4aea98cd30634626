//! What somebody waits for who drives a lattice by the command line, or writes a component.

use std::{
    env, fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use super::hello;
use crate::{
    bench::Bench,
    child::Child,
    lattice::{Lattice, free_address},
    report::Row,
};

/// Runs of a program in a round, so that a figure is not that of one start.
const RUNS: u32 = 20;
/// A compiler that builds everything for the first time.
const BUILT: Duration = Duration::from_secs(300);
const SWAPPED: Duration = Duration::from_secs(60);

/// `lattice-ctl --version`, and `status` of a lattice with an app.
pub(super) fn startup(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    hello::deploy(bench, &lattice, "hello", "a", "")?;
    let ctl = bench.binary("lattice-ctl");
    let took = |arguments: &[&str]| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..RUNS {
            let mut command = Command::new(&ctl);
            let status = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
            ensure!(status.success(), "lattice-ctl {arguments:?} ended with {status}");
        }
        Ok(start.elapsed().as_secs_f64() * 1000.0 / f64::from(RUNS))
    };
    let status = ["--nats", &lattice.nats.url, "--lattice", "bench", "status"];
    let rounds = bench.rounds(|| Ok((took(&["--version"])?, took(&status)?)))?;
    let (version, status) = rounds.into_iter().unzip();
    Ok(vec![
        Row::alone("ctl_startup", "ms", version).note("lattice-ctl --version, from start to end"),
        Row::alone("ctl_startup.status", "ms", status).note("lattice-ctl status of a lattice with one app"),
    ])
}

/// From a saved file of a project in Rust to the first answer of what it says then, under `lattice-ctl dev`.
pub(super) fn reload(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let ctl = bench.binary("lattice-ctl");
    let made = Command::new(&ctl).args(["new", "http", "reload"]).current_dir(dir.path()).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let project = dir.path().join("reload");
    // The versions that everything else here is built with.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/Cargo.lock");
    fs::copy(lock, project.join("Cargo.lock"))?;
    // Without it the address is ours to choose.
    fs::remove_file(project.join("app.yaml"))?;
    let address = free_address()?;
    let folder = bench.nats_server.parent().context("nats-server is in no folder")?.to_owned();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([folder].into_iter().chain(env::split_paths(&path)))?;
    let dev = Child::spawn("lattice-ctl", &ctl, dir.path(), |dev| {
        dev.arg("dev").args(["--address", &address.to_string()]).arg(&project).env("PATH", path).env_remove("NATS_URL");
    })?;
    until(address, |_| true, BUILT).with_context(|| dev.log_tail())?;
    let source = project.join("src/lib.rs");
    let text = fs::read_to_string(&source)?;
    let word = first_literal(&text).context("the template says nothing")?;
    let mut number = 0;
    let rounds = bench.rounds(|| {
        number += 1;
        let said = format!("{word} {number}");
        fs::write(&source, text.replacen(word, &said, 1))?;
        let took = until(address, |answer| answer.contains(&said), SWAPPED).with_context(|| dev.log_tail())?;
        Ok(took.as_secs_f64() * 1000.0)
    })?;
    // Dropped, it is told to end, and ends what it has started.
    Ok(vec![Row::alone("dev_reload", "ms", rounds).note("a project of `new http`; most of it is cargo")])
}

/// The words of the template's answer.
fn first_literal(text: &str) -> Option<&str> {
    let at = text.find("Hello")?;
    let rest = text.get(at..)?;
    rest.get(..rest.find(|c: char| !c.is_ascii_alphabetic())?)
}

/// Waits for an answer that is one, and returns how long that took.
fn until(address: SocketAddr, wanted: impl Fn(&str) -> bool, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    loop {
        if ask(address).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && wanted(&answer)) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > limit {
            bail!("http://{address}/: not within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ask(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
