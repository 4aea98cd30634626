//! The tutorial, as somebody follows it: each command of docs/tutorial.md is run, and prints what stands there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use lattice_tests::{
    eventually, get,
    places::{free_address, guest, path_with_nats, program, repository},
};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long a command may take that builds everything for the first time, on a machine that does more.
const LIMIT: Duration = Duration::from_secs(300);
/// What its terminal says of it.
const OWN_TERMINAL: &str = "in a terminal of its own";

/// A command, and what it prints.
struct Step {
    command: String,
    prints: Vec<String>,
}

/// The commands of the tutorial's consoles.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut console = false;
    for line in text.lines() {
        if line.starts_with("```") {
            console = line == "```console";
        } else if let (true, Some(command)) = (console, line.strip_prefix("$ ")) {
            steps.push(Step { command: command.to_owned(), prints: Vec::new() });
        } else if let (true, Some(step)) = (console, steps.last_mut()) {
            step.prints.push(line.to_owned());
        }
    }
    steps
}

/// Whether a line is one where `...` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        let part = part.trim();
        last = Some(part);
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    last.map_or(rest.is_empty(), |last| last.is_empty() || rest.trim().is_empty() || rest.ends_with(last))
}

/// A terminal, in which something runs until it is ended.
struct Terminal(Child);

impl Drop for Terminal {
    fn drop(&mut self) {
        // Ctrl-C reaches the whole group.
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).unwrap();
        let _ = kill_process_group(group, Signal::INT);
        let ended = eventually(Duration::from_secs(40), || self.0.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

/// Where the tutorial is followed.
struct Follower {
    folder: PathBuf,
    address: SocketAddr,
    nats: SocketAddr,
    /// Ended one after the other, the last first.
    terminals: Vec<Terminal>,
}

impl Follower {
    fn shell(&self, command: &str) -> Command {
        use std::os::unix::process::CommandExt as _;
        let mut shell = Command::new("sh");
        // The tutorial has the ports that people use; here others may have them.
        let command = command.replace("127.0.0.1:8080", &self.address.to_string());
        let own = program("lattice-ctl").parent().unwrap().to_owned();
        let (nats, path) = (path_with_nats(), env::var_os("PATH").unwrap_or_default());
        let path = [own].into_iter().chain(env::split_paths(&nats)).chain(env::split_paths(&path));
        shell.args(["-c", &command]).current_dir(&self.folder).env("PATH", env::join_paths(path).unwrap());
        shell.env("NATS_URL", format!("nats://{}", self.nats)).env("LATTICE_LOG", "warn");
        // What the guests of the tests depend on is built already, by the same profile. No other test has a project of this name.
        let guests = guest("hello").parent().unwrap().with_file_name("guests-build");
        shell.env("CARGO_TARGET_DIR", guests).env("CARGO_PROFILE_RELEASE_LTO", "true");
        shell.stdin(Stdio::null()).process_group(0);
        shell
    }

    fn follow(&mut self, step: &Step) {
        let command = step.command.split(" #").next().unwrap().trim();
        if let Some(folder) = command.strip_prefix("cd ") {
            self.folder.push(folder);
            // The versions that all is built with here, and a port that is free.
            fs::copy(repository().join("examples/Cargo.lock"), self.folder.join("Cargo.lock")).unwrap();
            let manifest = self.folder.join("app.yaml");
            let text = fs::read_to_string(&manifest).unwrap();
            fs::write(&manifest, text.replace("127.0.0.1:8080", &self.address.to_string())).unwrap();
            return;
        }
        if step.command.contains(OWN_TERMINAL) {
            return self.open(command);
        }
        let (said, all) = match command.strip_prefix("curl -s http://127.0.0.1:8080") {
            // Not every machine that runs the tests has curl.
            Some(path) => {
                let said = get(self.address, path).unwrap().text();
                (said.clone(), format!("{command}\n{said}"))
            }
            None => {
                let output = self.shell(command).output().unwrap();
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                let all = format!("{command}\n{said}{}", String::from_utf8_lossy(&output.stderr));
                // Where it is not 0, the tutorial says so.
                let told =
                    step.command.split_once("exit code ").and_then(|(_, told)| told.chars().next()?.to_digit(10));
                let code = output.status.code();
                assert_eq!(code, Some(told.unwrap_or(0) as i32), "{all}");
                (said, all)
            }
        };
        let mut lines = said.lines().map(str::trim_end);
        for expected in &step.prints {
            // A line of dots alone is what there may be between two others.
            let found = expected == "..." || lines.any(|line| fits(expected, line));
            assert!(found, "not printed: {expected}\n{all}");
        }
    }

    /// Runs a command beside the others, until its host takes part.
    fn open(&mut self, command: &str) {
        let log = self.folder.join(format!("terminal-{}.log", self.terminals.len()));
        let file = fs::File::create(&log).unwrap();
        let mut shell = self.shell(command);
        let child = shell.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        self.terminals.push(Terminal(child));
        let said = || fs::read_to_string(&log).unwrap();
        let ready = || {
            let said = said();
            (said.contains(" ready in lattice") || said.contains("ready (revision")).then_some(())
        };
        assert!(eventually(LIMIT, ready).is_some(), "{command}: {}", said());
    }
}

#[test]
fn the_tutorial_can_be_followed() {
    let text = fs::read_to_string(repository().join("docs/tutorial.md")).unwrap();
    let steps = steps(&text);
    assert!(steps.len() > 15, "{} commands", steps.len());
    let folder = tempfile::tempdir().unwrap();
    let mut follower = Follower {
        folder: Path::new(folder.path()).to_owned(),
        address: free_address(),
        nats: free_address(),
        terminals: Vec::new(),
    };
    for step in &steps {
        println!("$ {}", step.command);
        follower.follow(step);
    }
    while follower.terminals.pop().is_some() {}
}

#[test]
fn dots_stand_for_anything() {
    assert!(fits("app visits: ready (revision 2): ...", "app visits: ready (revision 2): cache 1/1, web 1/1"));
    assert!(fits("cache ... ready ... keyvalue-memory ...", "cache   provider   ready  1/1  keyvalue-memory  1"));
    assert!(fits("2 visits", "2 visits") && !fits("2 visits", "2 visits more") && !fits("3 ...", "2 x"));
    assert!(!fits("cache ... failed ...", "cache   provider   ready  1/1  keyvalue-memory  1"));
    assert!(fits("... alive ...", "NABC   alive  0.1.0") && !fits("...visits 2/2", "visits 1/2"));
}
