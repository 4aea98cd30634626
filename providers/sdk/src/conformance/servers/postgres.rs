//! A PostgreSQL with a folder of its own.

use std::{
    env, fs, io,
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{Quit, START_LIMIT, Server};

/// A PostgreSQL server with one user, `lattice`, who has a password.
#[derive(Debug)]
pub struct PostgresServer(Server);

/// The user's password.
pub const POSTGRES_PASSWORD: &str = "pass-word";
/// Who runs it where the tests are root's, which it refuses to be: nobody.
const NOBODY: u32 = 65_534;
/// Where Debian puts it, a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";

impl PostgresServer {
    pub fn start() -> io::Result<Self> {
        Self::start_with(|_| Ok(()))
    }

    /// As [`PostgresServer::start`]; `prepare` may put files into the folder of the data, such as `postgresql.auto.conf`.
    pub fn start_with(prepare: fn(&Path) -> io::Result<()>) -> io::Result<Self> {
        let programs = programs()?;
        let make = move |programs: &Path, dir: &Path, port| command(programs, dir, port, prepare);
        let mut server = Self(Server::try_start(&programs, "postgres", Box::new(make), Quit::WithChildren)?);
        server.ready()?;
        Ok(server)
    }

    /// With user and password.
    pub fn url(&self) -> String {
        format!("postgres://lattice:{POSTGRES_PASSWORD}@127.0.0.1:{}/postgres", self.0.port.number())
    }

    pub fn port(&self) -> u16 {
        self.0.port.number()
    }

    /// Ends it as a crash does. What was committed stays.
    pub fn stop(&mut self) {
        self.0.stop();
    }

    /// Ends it when it runs, and starts it on the same port with what was committed.
    pub fn restart(&mut self) -> io::Result<()> {
        self.0.stop();
        // One that was killed has left there that it is ready.
        if let Err(error) = fs::remove_file(self.state())
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        self.0.restart()?;
        self.ready()
    }

    /// Where it says how far it is.
    fn state(&self) -> PathBuf {
        self.0.dir.path().join("data/postmaster.pid")
    }

    /// Waits until it takes statements: it listens earlier.
    fn ready(&mut self) -> io::Result<()> {
        let state = self.state();
        let started = Instant::now();
        loop {
            if fs::read_to_string(&state).is_ok_and(|text| text.lines().nth(7).map(str::trim) == Some("ready")) {
                return Ok(());
            }
            if started.elapsed() > START_LIMIT {
                let log = fs::read_to_string(self.0.dir.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("PostgreSQL is not ready within {START_LIMIT:?}:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The folder with `initdb` and `postgres`.
fn programs() -> io::Result<PathBuf> {
    if let Some(folder) = env::var_os("LATTICE_POSTGRES") {
        return Ok(folder.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir(DEBIAN).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let folders: Vec<_> = env::split_paths(&path).chain(debian).collect();
    let has_both = |folder: &&PathBuf| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file());
    folders.iter().find(has_both).cloned().ok_or_else(|| {
        io::Error::other(
            "no PostgreSQL on PATH, and LATTICE_POSTGRES is not set: run `cargo xtask test`, which gets what the tests need",
        )
    })
}

/// A command of the user that the folder belongs to.
fn as_owner(program: &Path, dir: &Path) -> io::Result<Command> {
    let mut command = Command::new(program);
    let owner = dir.metadata()?;
    if owner.uid() != fs::metadata("/proc/self")?.uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    command.current_dir(dir);
    Ok(command)
}

fn command(programs: &Path, dir: &Path, port: u16, prepare: fn(&Path) -> io::Result<()>) -> io::Result<Command> {
    let data = dir.join("data");
    if !data.exists() {
        let secret = dir.join("password");
        fs::write(&secret, POSTGRES_PASSWORD)?;
        if fs::metadata("/proc/self")?.uid() == 0 {
            for path in [dir, &secret] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let mut init = as_owner(&programs.join("initdb"), dir)?;
        init.args(["--username=lattice", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        init.arg("--pwfile").arg(&secret).arg("--pgdata").arg(&data).stdin(Stdio::null());
        let made = init.output()?;
        if !made.status.success() {
            let text = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(io::Error::other(format!("initdb ended with {}:\n{text}", made.status)));
        }
        prepare(&data)?;
        let owner = dir.metadata()?;
        for entry in fs::read_dir(&data)? {
            chown(entry?.path(), Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    let mut command = as_owner(&programs.join("postgres"), dir)?;
    command.arg("-D").arg(data).args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    // A crash of the program loses nothing that the system has been given. Without the compiler of queries: it is a library
    // of a hundred megabytes, which an unpacked server does without.
    command.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "jit=off", "-c", "shared_buffers=16MB"]);
    Ok(command)
}
