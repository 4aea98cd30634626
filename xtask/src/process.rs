//! Child processes that never outlive us: not after an error, not after Ctrl-C, not when we are killed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::tools::on_path;

/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(20);
/// How long a process may take to end when asked to.
const GRACE: Duration = Duration::from_secs(10);
/// How much of a log is shown when its process has failed.
const LOG_TAIL_LINES: usize = 30;

/// Set when the user wants to stop.
#[derive(Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on Ctrl-C and SIGTERM no longer end us at once; a second one does.
    pub(crate) fn install() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&flag))?;
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks again and again until `look` gives something. An interrupt or the deadline is an error.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        let end = Instant::now() + deadline;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if self.is_set() {
                bail!("interrupted");
            }
            if Instant::now() > end {
                bail!("{what}: not after {} s", deadline.as_secs());
            }
            sleep(LOOK);
        }
    }
}

/// A command for a program that does not outlive us, even if we are killed.
pub(crate) fn tied_to_us(program: &Path) -> Result<Command> {
    let setpriv = on_path("setpriv").context("setpriv is missing: install util-linux")?;
    let mut command = Command::new(setpriv);
    // setpriv asks the kernel to kill the program when we die, and then becomes the program: same process id.
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    Ok(command)
}

/// A server that runs as our child, with its output in files.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a program. Call it from the main thread only: the kernel ends the child with the thread that started it.
    pub(crate) fn spawn(name: &str, program: &Path, dir: &Path, configure: impl FnOnce(&mut Command)) -> Result<Self> {
        let (stdout, log) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.log")));
        let mut command = tied_to_us(program)?;
        configure(&mut command);
        // A group of its own keeps the terminal's Ctrl-C away: we end children in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(File::create(&stdout)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { name: name.to_owned(), child, stdout, log })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it has written on stdout.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// The file with what it writes on stderr.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Waits until `look` gives something; that the process ends is an error that shows the end of its log.
    pub(crate) fn wait_until<T>(
        &mut self,
        interrupt: &Interrupt,
        deadline: Duration,
        mut look: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let name = self.name.clone();
        let result = interrupt.wait_for(&format!("{name} is not ready"), deadline, || {
            if let Some(found) = look(self) {
                return Ok(Some(found));
            }
            match self.ended()? {
                Some(status) => bail!("{} ended with {status}", self.name),
                None => Ok(None),
            }
        });
        result.map_err(|error| anyhow!("{error:#}; the end of its log:\n{}", self.log_tail()))
    }

    /// How it ended, once it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("cannot ask after {}", self.name))
    }

    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }

    /// Asks it to end. A process that has ended is left alone: its id may be another's by now.
    fn terminate(&mut self) {
        if let (Ok(None), Some(pid)) =
            (self.child.try_wait(), i32::try_from(self.child.id()).ok().and_then(Pid::from_raw))
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Ends all of these at the same time.
    pub(crate) fn stop_all(processes: &mut [Self]) {
        processes.iter_mut().for_each(Self::terminate);
        let end = Instant::now() + GRACE;
        for process in processes {
            while matches!(process.child.try_wait(), Ok(None)) && Instant::now() < end {
                sleep(LOOK);
            }
            if matches!(process.child.try_wait(), Ok(None)) {
                eprintln!("    {} does not end by itself after {} s: killed", process.name, GRACE.as_secs());
            }
            // Nothing where it has ended.
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        Self::stop_all(std::slice::from_mut(self));
    }
}
