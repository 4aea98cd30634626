//! A whole lattice, and the CLI pointed at it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use lattice_provider::conformance::servers::NatsServer;
use tempfile::TempDir;

use crate::{
    host::Host,
    places::{guest, program},
    status::Status,
    wait::eventually,
};

/// How many lattices of one test binary are up at a time: more only wait for each other's processor time.
pub const AT_A_TIME: usize = 3;
/// How long an app may take to be as it should where a test has no limit of its own.
pub const SETTLE: Duration = Duration::from_secs(60);

const ZONES: [&str; 4] = ["a", "b", "c", "d"];

/// NATS and hosts, in zones `a`, `b`, ... The fields are dropped from top to bottom: whoever needs another one first.
pub struct Lattice {
    pub hosts: Vec<Host>,
    pub nats: NatsServer,
    /// More of the CLI's environment.
    pub variables: Vec<(String, String)>,
    dir: TempDir,
    _turn: Turn,
}

/// What the CLI has said.
#[derive(Debug)]
pub struct Output {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Output {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Output {
    /// Everything, for messages and for searching.
    pub fn all(&self) -> String {
        format!("exit code {:?}\n{}{}", self.code, self.stdout, self.stderr)
    }
}

impl Lattice {
    /// Starts NATS and this many hosts, and waits until all have joined.
    pub fn start(hosts: usize) -> Self {
        Self::start_on(hosts, NatsServer::start, |_, nats| nats.url())
    }

    /// As [`Lattice::start`], on a NATS of its own kind; `url` says where the host in a zone finds it.
    pub fn start_on(
        hosts: usize,
        nats: impl FnOnce() -> io::Result<NatsServer>,
        url: impl Fn(&str, &NatsServer) -> String,
    ) -> Self {
        Self::start_all(hosts, nats, url, |_| ())
    }

    /// As [`Lattice::start`], on a NATS of its own kind; the hosts in these zones run programs.
    pub fn start_with_programs(hosts: usize, zones: &[&str], nats: impl FnOnce() -> io::Result<NatsServer>) -> Self {
        let allow = |host: &mut Host| host.programs = zones.contains(&host.zone.as_str());
        Self::start_all(hosts, nats, |_, nats| nats.url(), allow)
    }

    /// As [`Lattice::start`], with hosts that `prepare` has told more.
    pub fn start_with(hosts: usize, prepare: impl Fn(&mut Host)) -> Self {
        Self::start_all(hosts, NatsServer::start, |_, nats| nats.url(), prepare)
    }

    /// As [`Lattice::start_with`], on a NATS of its own kind.
    pub fn start_on_with(
        hosts: usize,
        nats: impl FnOnce() -> io::Result<NatsServer>,
        prepare: impl Fn(&mut Host),
    ) -> Self {
        Self::start_all(hosts, nats, |_, nats| nats.url(), prepare)
    }

    /// All of that.
    pub fn start_all(
        hosts: usize,
        nats: impl FnOnce() -> io::Result<NatsServer>,
        url: impl Fn(&str, &NatsServer) -> String,
        prepare: impl Fn(&mut Host),
    ) -> Self {
        let turn = Turn::take();
        let dir = tempfile::Builder::new().prefix("lattice-test-").tempdir().unwrap();
        let nats = nats().unwrap();
        let hosts = ZONES.iter().take(hosts).map(|zone| Host::new(dir.path(), zone, &url(zone, &nats))).collect();
        let mut lattice = Self { hosts, nats, variables: Vec::new(), dir, _turn: turn };
        lattice.hosts.iter_mut().for_each(prepare);
        lattice.hosts.iter_mut().for_each(Host::spawn);
        lattice.hosts.iter_mut().for_each(Host::wait_ready);
        lattice
    }

    /// The folder in which the CLI runs and manifests lie.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file in that folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The CLI, without anything of our own environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("lattice-ctl"));
        command.current_dir(self.dir()).env_clear().env("NATS_URL", self.nats.url()).args(args).stdin(Stdio::null());
        command.envs(self.variables.iter().cloned());
        command
    }

    /// Runs the CLI to its end.
    pub fn ctl(&self, args: &[&str]) -> Output {
        Output::from(self.command(args).output().unwrap())
    }

    /// Applies a manifest, whatever comes of it.
    pub fn try_apply(&self, manifest: &str) -> Output {
        self.write("app.yaml", manifest);
        // A component of many MiB takes its time to compile on a machine that does much else.
        self.ctl(&["apply", "-f", "app.yaml", "--timeout", "3m"])
    }

    /// Applies a manifest and waits until it runs as written; gives what the CLI has said.
    pub fn apply(&self, manifest: &str) -> String {
        let output = self.try_apply(manifest);
        if output.code != Some(0) {
            self.fail(&format!("apply: {}", output.all()));
        }
        output.stdout
    }

    /// How an app is; `None` while it cannot be told.
    pub fn try_status(&self, app: &str) -> Option<Status> {
        let output = self.ctl(&["status", app, "-o", "json"]);
        (output.code == Some(0)).then(|| Status::parse(&output.stdout))
    }

    pub fn status(&self, app: &str) -> Status {
        self.try_status(app).unwrap_or_else(|| self.fail(&format!("no status of {app}")))
    }

    /// Waits for `look` to give something; failing that shows what the hosts have logged.
    pub fn wait<T>(&self, what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
        eventually(limit, look).unwrap_or_else(|| self.fail(&format!("{what}: not within {limit:?}")))
    }

    /// Waits until `app` runs exactly as its manifest says.
    pub fn wait_ready(&self, app: &str) -> Status {
        self.wait(&format!("app {app} ready"), SETTLE, || self.try_status(app).filter(Status::ready))
    }

    /// Ends the test, with what the hosts have logged.
    pub fn fail(&self, message: &str) -> ! {
        let status = self.ctl(&["status", "-o", "yaml"]).all();
        let logs: String = self.hosts.iter().map(Host::log_tail).collect();
        panic!("{message}\n---- status\n{status}\n{logs}");
    }

    /// The host in a zone.
    pub fn host(&mut self, zone: &str) -> &mut Host {
        self.hosts.iter_mut().find(|host| host.zone == zone).expect("a host in the zone")
    }

    /// The zone of the host with this id.
    pub fn zone_of(&self, id: &str) -> &str {
        let host = self.hosts.iter().find(|host| host.id() == id);
        host.map_or_else(|| self.fail(&format!("no host has the id {id}")), |host| host.zone.as_str())
    }

    /// The zone of the host that holds the controller's lease, by what the hosts log. Waits until one has it.
    pub fn controller(&self) -> String {
        let holds = |host: &Host| {
            let log = host.log_of_this_life();
            let begun = log.rfind("this host controls the lattice now");
            host.runs() && begun.is_some() && begun > log.rfind("this host no longer controls the lattice")
        };
        let holder = || self.hosts.iter().find(|host| holds(host)).map(|host| host.zone.clone());
        self.wait("a host that controls the lattice", SETTLE, holder)
    }
}

/// The `image:` of a guest.
pub fn image(name: &str) -> String {
    guest(name).canonicalize().unwrap().display().to_string()
}

/// The head of a manifest: what comes before `spec:`'s contents.
pub fn head(app: &str) -> String {
    format!("apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: {app} }}\nspec:\n")
}

/// A place among the lattices that are up.
struct Turn;

// A lock around a number: tests are threads, and a semaphore is not in the standard library.
static UP: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let up = UP.lock().unwrap_or_else(PoisonError::into_inner);
        let mut up = FREED.wait_while(up, |up| *up >= AT_A_TIME).unwrap_or_else(PoisonError::into_inner);
        *up += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *UP.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}
