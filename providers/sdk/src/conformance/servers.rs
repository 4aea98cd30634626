//! Servers for tests: each has a port and a folder of its own, and ends with its handle.

use std::{
    env, fs, io,
    net::TcpStream,
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::ports::Port;

mod azure;
mod postgres;

pub use azure::{AZURE_ACCOUNT, AZURE_KEY, AzureServer};
pub use postgres::{POSTGRES_PASSWORD, PostgresServer};

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a server may take to end its own processes.
const QUIT_LIMIT: Duration = Duration::from_secs(10);
/// Where their ports lie.
const PORTS: Range<u16> = 20_000..32_000;
/// How often a start is tried when somebody else takes the port.
const TRIES: usize = 5;

/// A nats-server with JetStream, and messages of up to 8 MiB.
#[derive(Debug)]
pub struct NatsServer(Server);

impl NatsServer {
    pub fn start() -> io::Result<Self> {
        Server::start("LATTICE_NATS_SERVER", "nats-server", nats_command, Quit::Kill).map(Self)
    }

    /// As [`NatsServer::start`], on every address that there is: for networks that a test has made itself.
    pub fn start_for_all_addresses() -> io::Result<Self> {
        let command = |program: &Path, dir: &Path, port: u16| {
            let mut command = nats_command(program, dir, port)?;
            // It goes before what the file says.
            command.args(["--addr", "0.0.0.0"]);
            Ok(command)
        };
        Server::start("LATTICE_NATS_SERVER", "nats-server", command, Quit::Kill).map(Self)
    }

    /// As [`NatsServer::start`], with messages of up to 64 KiB.
    pub fn start_small() -> io::Result<Self> {
        Server::start("LATTICE_NATS_SERVER", "nats-server", small_nats_command, Quit::Kill).map(Self)
    }

    /// As [`NatsServer::start`], with more in its configuration.
    pub fn start_with(more: String) -> io::Result<Self> {
        Self::configured(move |dir| format!("{}{more}", jetstream(dir, "")))
    }

    /// The same, with JetStream in this domain.
    pub fn start_in_domain(domain: &str, more: String) -> io::Result<Self> {
        let domain = format!("domain: {domain}");
        Self::configured(move |dir| format!("{}{more}", jetstream(dir, &domain)))
    }

    /// The same, without JetStream.
    pub fn start_without_jetstream(more: String) -> io::Result<Self> {
        Self::configured(move |_| more.clone())
    }

    fn configured(more: impl Fn(&Path) -> String + Send + Sync + 'static) -> io::Result<Self> {
        let make = move |program: &Path, dir: &Path, port| configured_nats(program, dir, port, "8MB", &more(dir));
        let program = find("LATTICE_NATS_SERVER", "nats-server")?;
        Server::try_start(&program, "nats-server", Box::new(make), Quit::Kill).map(Self)
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.0.port.number())
    }

    /// Kills it. What it stored stays.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Kills it when it runs, and starts it on the same port with what it stored.
    pub fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }

    /// The folder with its configuration, store and log.
    pub fn dir(&self) -> &Path {
        self.0.dir.path()
    }
}

fn nats_command(program: &Path, dir: &Path, port: u16) -> io::Result<Command> {
    configured_nats(program, dir, port, "8MB", &jetstream(dir, ""))
}

fn small_nats_command(program: &Path, dir: &Path, port: u16) -> io::Result<Command> {
    configured_nats(program, dir, port, "64KB", &jetstream(dir, ""))
}

/// JetStream that keeps its streams in `dir`.
fn jetstream(dir: &Path, more: &str) -> String {
    format!("jetstream {{ store_dir: \"{}\"\n{more} }}\n", dir.join("store").display())
}

fn configured_nats(program: &Path, dir: &Path, port: u16, max_payload: &str, more: &str) -> io::Result<Command> {
    let config = dir.join("nats.conf");
    let text = format!("listen: \"127.0.0.1:{port}\"\nmax_payload: {max_payload}\n{more}");
    fs::write(&config, text)?;
    let mut command = Command::new(program);
    command.arg("--config").arg(config);
    Ok(command)
}

/// A redis-server that appends each write to a file, so that it has them after a restart.
#[derive(Debug)]
pub struct RedisServer(Server);

impl RedisServer {
    pub fn start() -> io::Result<Self> {
        Server::start("LATTICE_REDIS_SERVER", "redis-server", redis_command, Quit::Kill).map(Self)
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.0.port.number())
    }

    /// Kills it. What it stored stays.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Kills it when it runs, and starts it on the same port with what it stored.
    pub fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }

    /// The folder with its files and log.
    pub fn dir(&self) -> &Path {
        self.0.dir.path()
    }
}

fn redis_command(program: &Path, dir: &Path, port: u16) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--appendonly", "yes", "--save", ""]);
    // As it is by default, writes that were answered wait in its memory while the disk is slow, and go with it when it is killed.
    command.args(["--appendfsync", "no"]).arg("--dir").arg(dir);
    Ok(command)
}

/// A registry of OCI images.
#[derive(Debug)]
pub struct RegistryServer(Server);

impl RegistryServer {
    pub fn start() -> io::Result<Self> {
        Self::start_with("", "")
    }

    /// With more in its configuration: under `http:`, and at the top.
    pub fn start_with(http: &str, more: &str) -> io::Result<Self> {
        let (http, more) = (http.to_owned(), more.to_owned());
        let command = move |program: &Path, dir: &Path, port: u16| {
            let text = format!(
                "version: 0.1\nlog: {{ level: warn }}\nstorage: {{ filesystem: {{ rootdirectory: \"{}\" }} }}\n{more}\nhttp:\n  \
                 addr: 127.0.0.1:{port}\n  secret: lattice\n{http}\n",
                dir.join("store").display()
            );
            let config = dir.join("config.yml");
            fs::write(&config, text)?;
            let mut command = Command::new(program);
            command.arg("serve").arg(config);
            Ok(command)
        };
        let program = find("LATTICE_DOCKER_REGISTRY", "docker-registry")?;
        Server::try_start(&program, "docker-registry", Box::new(command), Quit::Kill).map(Self)
    }

    /// `127.0.0.1:<port>`, as it is called in the names of images.
    pub fn name(&self) -> String {
        format!("127.0.0.1:{}", self.0.port.number())
    }

    /// Kills it. What was pushed stays.
    pub fn stop(&mut self) {
        self.0.stop();
    }
}

/// From the program, or the folder with its programs, its own folder and its port.
type MakeCommand = Box<dyn Fn(&Path, &Path, u16) -> io::Result<Command> + Send + Sync>;

/// How a server is made to end.
#[derive(Debug, Clone, Copy)]
enum Quit {
    /// As by a crash.
    Kill,
    /// As by a crash, but with the processes that it has started.
    WithChildren,
    /// As by an operator: what it has in memory alone reaches the disk.
    Terminate,
}

impl Quit {
    fn signal(self) -> Option<Signal> {
        match self {
            Self::Kill => None,
            Self::WithChildren => Some(Signal::QUIT),
            Self::Terminate => Some(Signal::TERM),
        }
    }
}

struct Server {
    program: PathBuf,
    command: MakeCommand,
    quit: Quit,
    port: Port,
    child: Option<Child>,
    // Last: the folder goes after the process that writes to it.
    dir: TempDir,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("program", &self.program)
            .field("port", &self.port.number())
            .finish_non_exhaustive()
    }
}

impl Server {
    fn start(
        variable: &str,
        name: &str,
        command: fn(&Path, &Path, u16) -> io::Result<Command>,
        quit: Quit,
    ) -> io::Result<Self> {
        Self::try_start(&find(variable, name)?, name, Box::new(command), quit)
    }

    /// On another port when somebody else has taken the first.
    fn try_start(program: &Path, name: &str, command: MakeCommand, quit: Quit) -> io::Result<Self> {
        let place = || tempfile::Builder::new().prefix(&format!("lattice-{name}-")).tempdir();
        let (program, port, dir) = (program.to_owned(), Port::free(PORTS)?, place()?);
        let mut server = Self { program, command, quit, port, child: None, dir };
        let mut outcome = server.run();
        for _ in 1..TRIES {
            if outcome.is_ok() {
                break;
            }
            (server.port, server.dir) = (Port::free(PORTS)?, place()?);
            outcome = server.run();
        }
        outcome.map(|()| server)
    }

    fn run(&mut self) -> io::Result<()> {
        let log_path = self.dir.path().join("log");
        let log = fs::File::options().create(true).append(true).open(&log_path)?;
        let mut command = (self.command)(&self.program, self.dir.path(), self.port.number())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = self.child.insert(command.spawn()?);
        let address = self.port.address();
        let started = Instant::now();
        let failed = loop {
            if let Some(status) = child.try_wait()? {
                break format!("ended with {status}");
            }
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                break format!("does not answer within {START_LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.stop();
        let log = fs::read_to_string(log_path).unwrap_or_default();
        Err(io::Error::other(format!("{} {failed}:\n{log}", self.program.display())))
    }

    fn restart(&mut self) -> io::Result<()> {
        self.stop();
        self.run()
    }

    fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            if self.quit.signal().is_some_and(|signal| quit(&mut child, signal)) {
                return;
            }
            // Both fail only when the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Asks a process to end. False when it does not.
fn quit(child: &mut Child, signal: Signal) -> bool {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let asked = pid.is_some_and(|pid| rustix::process::kill_process(pid, signal).is_ok());
    let started = Instant::now();
    while asked && started.elapsed() < QUIT_LIMIT {
        if let Ok(Some(_)) = child.try_wait() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    false
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn find(variable: &str, name: &str) -> io::Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        return Ok(path.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()).ok_or_else(|| {
        io::Error::other(format!(
            "no {name} on PATH, and {variable} is not set: run `cargo xtask test`, which gets what the tests need"
        ))
    })
}
