//! A process that ends with us.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{self, Command},
    time::timeout,
};

use crate::failure::{Failure, Result};

/// How long a process may take to end by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a log that an error shows.
const SHOWN: usize = 12;

/// The process. Its output is in files, so that it does not depend on anybody reading.
pub(crate) struct Child {
    pub(crate) name: &'static str,
    process: process::Child,
    /// Its stderr.
    pub(crate) log: PathBuf,
    /// Its stdout.
    pub(crate) out: PathBuf,
}

impl Child {
    /// Starts `command` with its output in `folder`.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> Result<Self> {
        let (log, out) = (folder.join(format!("{name}.log")), folder.join(format!("{name}.out")));
        let create = |path: &PathBuf| {
            File::create(path).map_err(|source| Failure::File { what: "cannot write", path: path.clone(), source })
        };
        command.stdin(Stdio::null()).stdout(create(&out)?).stderr(create(&log)?);
        // Ctrl-C reaches the whole group of the terminal. Ours alone shall get it, and end them in order.
        let process = command.process_group(0).spawn().map_err(|error| Failure::Start {
            message: format!("cannot start {}: {error}", command.as_std().get_program().to_string_lossy()),
            help: None,
        })?;
        Ok(Self { name, process, log, out })
    }

    /// An error when it has ended.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        match self.process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.failed(&format!("has ended with {status}"))),
            Err(error) => Err(self.failed(&format!("is lost: {error}"))),
        }
    }

    /// What it did wrong, with the end of its log.
    pub(crate) fn failed(&self, what: &str) -> Failure {
        Failure::Start {
            message: format!("{} {what}{}", self.name, last_lines(&self.log)),
            help: Some(format!("its log is in {}", self.log.display())),
        }
    }

    /// Its id, while it runs.
    pub(crate) fn id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks it to end, waits, and kills it when it does not.
    pub(crate) async fn end(mut self) {
        self.ask();
        if timeout(PATIENCE, self.process.wait()).await.is_err() {
            // It is waited for all the same; what cannot be killed is out of our hands.
            let _ = self.process.kill().await;
        }
    }

    fn ask(&self) {
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended a moment ago; its id is still its own, because nobody has waited for it.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The end of a log, each line on one of its own after what stands before it.
pub(crate) fn last_lines(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    let shown = &lines[lines.len().saturating_sub(SHOWN)..];
    shown.iter().map(|line| format!("\n  | {line}")).collect()
}

/// For a panic and for whoever forgets: nothing stays behind. After `end` there is nothing left to do.
impl Drop for Child {
    fn drop(&mut self) {
        if !matches!(self.process.try_wait(), Ok(None)) {
            return;
        }
        self.ask();
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.process.start_kill();
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Child {
        Child::start("helper", Command::new("sh").args(["-c", script]), dir).unwrap()
    }

    fn runs(pid: u32) -> bool {
        Path::new(&format!("/proc/{pid}")).exists()
    }

    #[tokio::test]
    async fn it_ends_when_asked_and_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = shell("exec sleep 60", dir.path());
        child.still_runs().unwrap();
        let pid = child.process.id().unwrap();
        child.end().await;
        assert!(!runs(pid));
        let child = shell("exec sleep 60", dir.path());
        let pid = child.process.id().unwrap();
        drop(child);
        assert!(!runs(pid));
    }

    #[tokio::test]
    async fn one_that_ends_too_early_shows_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = shell("echo port is taken >&2; exit 3", dir.path());
        child.process.wait().await.unwrap();
        let failure = child.still_runs().unwrap_err();
        assert_eq!(failure.to_string(), "helper has ended with exit status: 3\n  | port is taken");
    }
}
