//! `cargo xtask demo`: NATS, two hosts and the counter, on this machine, until Ctrl-C.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::{
    guests,
    process::{Interrupt, Process, tied_to_us},
    project::{self, binaries, capture, root, step},
    tools,
};

mod check;
mod load;
mod servers;

/// The lattice that the demo runs in.
const LATTICE: &str = "demo";
/// Where the example's manifest listens.
const ADDRESS: &str = "127.0.0.1:8080";
const HOST_READY: Duration = Duration::from_secs(60);

/// What runs. The fields are dropped, and so the processes ended, from top to bottom: whoever needs another one first.
struct Demo {
    hosts: Vec<Process>,
    nats: servers::Nats,
    manifest: PathBuf,
    address: String,
    interrupt: Interrupt,
    dir: TempDir,
}

/// Runs the demo; with `check`, swaps the backend under load and judges the answers.
pub(crate) fn run(check: bool) -> Result<()> {
    build()?;
    let nats_server = tools::nats_server()?;
    let redis_server = if check { Some(tools::redis_server()?) } else { None };
    let interrupt = Interrupt::install()?;
    let mut demo = Demo::start(&nats_server, interrupt)?;
    let outcome = match redis_server {
        Some(redis_server) => check::run(&demo, &redis_server).map(Some),
        None => demo.serve().map(|()| None),
    };
    if outcome.is_err() {
        demo.show_logs();
    }
    eprintln!("==> ending hosts, then nats-server");
    Process::stop_all(&mut demo.hosts);
    drop(demo);
    // Last, so that it is also the last line that the user sees.
    if let Some(summary) = outcome? {
        println!("{summary}");
    }
    Ok(())
}

fn build() -> Result<()> {
    step("host, CLI and providers: building (some minutes the first time)", project::build_binaries)?;
    guests::build()
}

impl Demo {
    /// Starts everything and applies the counter.
    fn start(nats_server: &Path, interrupt: Interrupt) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lattice-demo.").tempdir()?;
        let nats =
            step("nats-server with JetStream: starting", || servers::Nats::start(nats_server, dir.path(), &interrupt))?;
        let (manifest, address) = copy_manifest(dir.path())?;
        let mut demo = Self { hosts: Vec::new(), nats, manifest, address, interrupt, dir };
        step("hosts a and b: starting", || {
            for zone in ["a", "b"] {
                let host = demo.spawn_host(zone)?;
                demo.hosts.push(host);
            }
            for host in &mut demo.hosts {
                let ready = |host: &Process| host.stdout().lines().any(|line| line.contains(" ready")).then_some(());
                host.wait_until(&demo.interrupt, HOST_READY, ready)?;
            }
            Ok(())
        })?;
        let applied = step(&format!("applying {}", demo.manifest.display()), || demo.apply());
        if applied.is_err() {
            demo.show_logs();
        }
        applied?;
        Ok(demo)
    }

    fn spawn_host(&self, zone: &str) -> Result<Process> {
        Process::spawn(&format!("host-{zone}"), &binaries().join("lattice-host"), self.dir.path(), |host| {
            host.args(["--nats", &self.nats.url, "--lattice", LATTICE, "--label", &format!("zone={zone}"), "--data"]);
            host.arg(self.dir.path().join(format!("host-{zone}")));
        })
    }

    /// The CLI, pointed at the demo's lattice.
    fn ctl(&self) -> Result<Command> {
        let mut ctl = tied_to_us(&binaries().join("lattice-ctl"))?;
        ctl.args(["--nats", &self.nats.url, "--lattice", LATTICE]);
        Ok(ctl)
    }

    /// Applies the manifest and waits until the app runs as it says.
    fn apply(&self) -> Result<()> {
        capture(self.ctl()?.args(["apply", "-f"]).arg(&self.manifest)).map(drop)
    }

    /// Tells the user what there is, and waits for Ctrl-C or for something to go wrong.
    fn serve(&mut self) -> Result<()> {
        println!();
        project::run(self.ctl()?.arg("status"))?;
        self.print_suggestions();
        let mut hosts_ended = vec![false; self.hosts.len()];
        while !self.interrupt.is_set() {
            if let Some(status) = self.nats.process.ended()? {
                bail!("nats-server ended with {status}:\n{}", self.nats.process.log_tail());
            }
            for (host, ended) in self.hosts.iter_mut().zip(&mut hosts_ended) {
                // The user was told to kill one, so this is no error.
                if let (false, Some(status)) = (*ended, host.ended()?) {
                    *ended = true;
                    println!("a host (process {}) ended with {status}", host.id());
                }
            }
            sleep(Duration::from_millis(100));
        }
        println!();
        Ok(())
    }

    fn print_suggestions(&self) {
        let manifest = self.manifest.display();
        let ctl = format!("{} --nats {} --lattice {LATTICE}", binaries().join("lattice-ctl").display(), self.nats.url);
        let host = self.hosts.last().map_or(0, Process::id);
        println!(
            "
The counter answers at http://{address}/

Three things to try, in another terminal:

  1. Count a visit:
       curl http://{address}/

  2. Swap the key-value store under the running component: change one line of the manifest, apply it, count again.
     The new store begins at 1; the old store keeps its numbers.
       sed -i 's/use: keyvalue-memory/use: keyvalue-nats/' {manifest}
       {ctl} apply -f {manifest}

  3. Kill one host, and see the other take over what it ran:
       kill -9 {host}
       {ctl} status --watch

The hosts write their logs to {dir}. Ctrl-C ends everything.",
            address = self.address,
            dir = self.dir.path().display(),
        );
    }

    /// What the hosts have to say about a failure. Their files go away with us.
    fn show_logs(&self) {
        for host in &self.hosts {
            eprintln!("---- the end of {}\n{}", host.log().display(), host.log_tail());
        }
    }
}

/// Copies manifest and component to where they may be changed. Gives the manifest's path, and where it listens.
fn copy_manifest(dir: &Path) -> Result<(PathBuf, String)> {
    let example = root().join("examples/counter");
    fs::copy(example.join("counter.wasm"), dir.join("counter.wasm")).context("cannot copy counter.wasm")?;
    let text = fs::read_to_string(example.join("app.yaml")).context("cannot read examples/counter/app.yaml")?;
    if !text.contains(ADDRESS) {
        bail!("examples/counter/app.yaml no longer listens on {ADDRESS}");
    }
    let address = match TcpListener::bind(ADDRESS) {
        Ok(_free) => ADDRESS.to_owned(),
        Err(error) => {
            let address = format!("127.0.0.1:{}", servers::free_port()?);
            eprintln!("    {ADDRESS} cannot be used ({error}); listening on {address}");
            address
        }
    };
    let manifest = dir.join("app.yaml");
    fs::write(&manifest, text.replace(ADDRESS, &address))?;
    Ok((manifest, address))
}
