//! A `lattice-host` process.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    places::program,
    process::{self, signal},
    wait::{eventually, wait},
};

/// How long a host may take to join, or to end.
const LIMIT: Duration = Duration::from_secs(60);
/// Lines of a log that are shown when a test has failed.
const TAIL: usize = 40;

/// Killed when dropped.
pub struct Host {
    pub zone: String,
    data: PathBuf,
    nats: String,
    /// Whether it runs programs that manifests bring along.
    pub programs: bool,
    /// What it is started by, when not by itself.
    pub wrapper: Vec<String>,
    /// More of its command line, and of its environment.
    pub arguments: Vec<String>,
    pub variables: Vec<(String, String)>,
    log: PathBuf,
    stdout: PathBuf,
    child: Option<Child>,
    /// Length of the log when its newest life began.
    born: usize,
}

impl Host {
    /// A host that is not started yet, with its files in `dir`.
    pub fn new(dir: &Path, zone: &str, nats: &str) -> Self {
        let file = |kind: &str| dir.join(format!("host-{zone}{kind}"));
        Self {
            zone: zone.to_owned(),
            data: file(""),
            nats: nats.to_owned(),
            programs: false,
            wrapper: Vec::new(),
            arguments: Vec::new(),
            variables: Vec::new(),
            log: file(".log"),
            stdout: file(".out"),
            child: None,
            born: 0,
        }
    }

    /// The command line of this host.
    pub fn command(&self) -> Command {
        let words: Vec<_> = self.wrapper.iter().map(OsString::from).chain([program("lattice-host").into()]).collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("NATS_URL", &self.nats).arg("--data").arg(&self.data);
        command.args(["--label", &format!("zone={}", self.zone)]);
        command.args(&self.arguments).envs(self.variables.iter().cloned());
        if self.programs {
            // Scripts find their interpreters by it.
            command.arg("--allow-programs").env("PATH", env::var_os("PATH").unwrap_or_default());
        }
        command
    }

    /// Starts it, again with the same data folder if it ran before. Its log goes on in the same file.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "host {} runs", self.zone);
        self.born = self.log().len();
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let stdout = File::create(&self.stdout).unwrap();
        let mut command = self.command();
        self.child = Some(command.stdin(Stdio::null()).stdout(stdout).stderr(log).spawn().unwrap());
    }

    /// Waits until it has joined.
    pub fn wait_ready(&mut self) {
        let ready = eventually(LIMIT, || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "host {} ended: {ended:?}\n{}", self.zone, self.log_tail());
            self.stdout().contains(" ready in lattice").then_some(())
        });
        assert!(ready.is_some(), "host {} has not joined within {LIMIT:?}:\n{}", self.zone, self.log_tail());
    }

    fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// Its id, as it prints it.
    pub fn id(&self) -> String {
        let line = self.stdout();
        line.split(' ').nth(1).unwrap_or_else(|| panic!("no id in `{line}`")).to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the host runs").id()
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything that it has logged, in all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has logged since it was started last.
    pub fn log_of_this_life(&self) -> String {
        self.log().split_off(self.born)
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        format!("---- host {}\n{}\n", self.zone, lines[lines.len().saturating_sub(TAIL)..].join("\n"))
    }

    /// Provider processes that it has started.
    pub fn providers(&self) -> Vec<u32> {
        process::children(self.pid(), "lattice-provider-")
    }

    /// Programs of users that it has started.
    pub fn programs_started(&self) -> Vec<u32> {
        process::children(self.pid(), "/programs/")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only when it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// SIGTERM: it shall drain and end by itself.
    pub fn ask_to_end(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub fn wait_ended(&mut self) -> Option<i32> {
        let zone = self.zone.clone();
        let child = self.child.as_mut().expect("the host was started");
        let status = wait(&format!("the end of host {zone}"), LIMIT, || child.try_wait().unwrap());
        self.child = None;
        status.code()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}
