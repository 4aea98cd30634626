//! `lattice-host run` and `lattice-host serve`, without a lattice.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Output,
    places::{guest, program},
    process::signal,
    wait::wait,
};

/// How long a server may take to listen, or to end.
const LIMIT: Duration = Duration::from_secs(30);

/// `lattice-host run` of a guest, in `dir`, with options before the file and arguments after it.
pub fn run(name: &str, dir: &Path, options: &[&str], args: &[&str], input: &str) -> Output {
    run_file(&guest(name), dir, options, args, input)
}

/// The same with a file that need not be a guest.
pub fn run_file(file: &Path, dir: &Path, options: &[&str], args: &[&str], input: &str) -> Output {
    let mut command = Command::new(program("lattice-host"));
    command.env_clear().env("FROM_OUTSIDE", "seen").current_dir(dir);
    command.arg("run").args(options).arg(file).arg("--").args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A program that does not read may have ended before this is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A `lattice-host serve` process; killed when dropped.
pub struct Server {
    pub address: SocketAddr,
    dir: TempDir,
    child: Child,
}

impl Server {
    /// Serves a guest on a free port, and waits until it listens.
    pub fn start(name: &str, options: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("lattice-serve-").tempdir().unwrap();
        let file = |name: &str| File::create(dir.path().join(name)).unwrap();
        let mut command = Command::new(program("lattice-host"));
        command.env_clear().arg("serve").arg(guest(name)).args(["--addr", "127.0.0.1:0"]).args(options);
        let mut child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        let address = wait("a server that listens", LIMIT, || {
            let ended = child.try_wait().unwrap();
            let said = fs::read_to_string(dir.path().join("out")).unwrap();
            let log = || fs::read_to_string(dir.path().join("err")).unwrap();
            assert!(ended.is_none(), "serve ended: {ended:?}\n{}", log());
            let line = said.lines().find_map(|line| line.strip_prefix("Serving HTTP on http://"))?;
            line.strip_suffix('/')?.parse().ok()
        });
        Self { address, dir, child }
    }

    /// What it has written to standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("err")).unwrap()
    }

    /// SIGTERM: it shall end by itself.
    pub fn ask_to_end(&self) {
        signal(self.child.id(), Signal::TERM);
    }

    /// Waits until it has ended by itself, and gives its exit code.
    pub fn wait_ended(&mut self) -> Option<i32> {
        wait("the end of a server", LIMIT, || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
