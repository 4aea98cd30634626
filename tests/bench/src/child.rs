//! Server processes that end with us.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

const LOOK: Duration = Duration::from_millis(5);
/// How long a server may take to answer.
const READY: Duration = Duration::from_secs(60);
/// How long one may take to end when asked to.
const GRACE: Duration = Duration::from_secs(5);
const LOG_TAIL_LINES: usize = 20;

pub(crate) struct Child {
    name: String,
    process: std::process::Child,
    /// When it is closed, a provider and our own baselines end by themselves.
    input: Option<ChildStdin>,
    output: PathBuf,
    log: PathBuf,
}

/// A command for a program that the kernel kills when we die. Only for the main thread.
pub(crate) fn tied_to_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Child {
    /// Starts a program with its output in files in `dir`.
    pub(crate) fn spawn(name: &str, program: &Path, dir: &Path, configure: impl FnOnce(&mut Command)) -> Result<Self> {
        let (output, log) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.log")));
        let mut command = tied_to_us(program);
        configure(&mut command);
        command.stdin(Stdio::piped()).stdout(File::create(&output)?).stderr(File::create(&log)?);
        let mut process =
            command.spawn().with_context(|| format!("cannot start {} with setpriv (util-linux)", program.display()))?;
        let input = process.stdin.take();
        Ok(Self { name: name.to_owned(), process, input, output, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its standard input is closed")?;
        writeln!(input, "{line}").with_context(|| format!("{} does not read", self.name))
    }

    /// Waits until `look` gives something.
    pub(crate) fn wait_until<T>(&mut self, mut look: impl FnMut(&Self) -> Option<T>) -> Result<T> {
        let end = Instant::now() + READY;
        loop {
            if let Some(found) = look(self) {
                return Ok(found);
            }
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}; the end of its log:\n{}", self.name, self.log_tail());
            }
            if Instant::now() > end {
                bail!("{} is not ready after {} s; its log:\n{}", self.name, READY.as_secs(), self.log_tail());
            }
            sleep(LOOK);
        }
    }

    /// Waits for the line that says that it is ready, and returns it.
    pub(crate) fn ready(&mut self) -> Result<String> {
        self.wait_until(|child| {
            let output = fs::read_to_string(&child.output).ok()?;
            output.split_inclusive('\n').find(|line| line.contains("ready") && line.ends_with('\n')).map(str::to_owned)
        })
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends all of these at the same time.
    pub(crate) fn end_all(children: &mut [Self]) {
        for child in children.iter_mut() {
            // A process that has ended is left alone: its id may be another's by now.
            let id = i32::try_from(child.process.id()).ok().and_then(Pid::from_raw);
            if let (Ok(None), Some(id)) = (child.process.try_wait(), id) {
                let _ = kill_process(id, Signal::TERM);
            }
        }
        let end = Instant::now() + GRACE;
        for child in children {
            while matches!(child.process.try_wait(), Ok(None)) && Instant::now() < end {
                sleep(LOOK);
            }
            let _ = child.process.kill();
            let _ = child.process.wait();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        Self::end_all(std::slice::from_mut(self));
    }
}
