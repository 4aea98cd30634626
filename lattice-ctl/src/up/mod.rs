//! `up`: everything that an app needs, on this machine, for as long as the command runs.
//!
//! The order: check the manifest, find or start NATS, find or start a host, apply, follow the log. Whatever ends it,
//! what was started is ended in the other order: a host drains before NATS goes.

mod host;

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use lattice::{
    bus::{Bus, NatsOptions},
    model::manifest::Manifest,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

pub(crate) use self::host::program as host_program;
use crate::{
    apply,
    child::Child,
    cli::{Format, Global, UpArgs, Waiting},
    failure::{Failure, Result},
    image::registry::Registries,
    nats,
    output::Output,
    source::Source,
};

/// How often the log and the processes are looked at.
const LOOK: Duration = Duration::from_millis(200);

pub(crate) async fn run(global: &Global, args: &UpArgs, output: &mut Output) -> Result<()> {
    let source = Source::read(&args.file)?;
    let manifest = source.parse()?;
    let registries = Registries::new(&args.registry)?;
    apply::check_alone(&source, &manifest, &registries).await?;
    let mut up = Up::new(args.data.clone());
    let stop = stopped()?;
    // Not cancel-safe and need not be: what `go` has started is in `up`, and ends below.
    let outcome = tokio::select! {
        outcome = up.go(global, args, (&source, &manifest, &registries), output) => outcome,
        () = stop => Ok(()),
    };
    up.end(output).await;
    outcome
}

/// A unit that is a program.
fn program(manifest: &Manifest) -> Option<&str> {
    let mut providers = manifest.spec.providers.0.iter();
    providers.find(|(_, provider)| provider.image.is_some()).map(|(key, _)| key.value.as_str())
}

/// What a command has started.
pub(crate) struct Up {
    data: PathBuf,
    /// Held while something of ours runs: two of us would share a JetStream store.
    lock: Option<File>,
    nats: Option<Child>,
    host: Option<Child>,
}

impl Up {
    /// Nothing yet, with a folder for the data of what will be.
    pub(crate) fn new(data: PathBuf) -> Self {
        Self { data, lock: None, nats: None, host: None }
    }

    async fn go(
        &mut self,
        global: &Global,
        args: &UpArgs,
        (source, manifest, registries): (&Source, &Manifest, &Registries),
        output: &mut Output,
    ) -> Result<()> {
        let bus = self.bus(global, output).await?;
        if !host::is_alive(&bus).await? {
            // Told before anything is started: it would start, and then lack the right.
            if let (false, Some(unit)) = (args.allow_programs, program(manifest)) {
                return Err(Failure::Start {
                    message: format!("`{unit}` is a program, and a host runs none unless it is told to"),
                    help: Some(
                        "add --allow-programs: it runs with your rights, like any program that you start".to_owned(),
                    ),
                });
            }
            self.host(global, args.allow_programs, &bus, output).await?;
        }
        let waiting = Waiting { no_wait: false, timeout: args.timeout };
        apply::apply(&bus, source, manifest, registries, None, waiting, output).await?;
        if self.host.is_none() && self.nats.is_none() {
            output.note("NATS and a host were running already, so nothing ends with this command");
            return Ok(());
        }
        if output.format == Format::Table {
            output.note("Ctrl-C ends what was started here; the host's log follows");
        }
        self.follow(output).await
    }

    /// The lattice, with a NATS server and a host of our own where there is none.
    pub(crate) async fn lattice(&mut self, global: &Global, allow_programs: bool, output: &mut Output) -> Result<Bus> {
        let bus = self.bus(global, output).await?;
        if !host::is_alive(&bus).await? {
            self.host(global, allow_programs, &bus, output).await?;
        }
        Ok(bus)
    }

    /// A lattice that nobody else has: NATS at a port that is free, and a host. Returns its URL, too.
    pub(crate) async fn alone(
        &mut self,
        global: &Global,
        allow_programs: bool,
        output: &mut Output,
    ) -> Result<(Bus, String)> {
        let program = nats::find()?;
        self.prepare()?;
        output.remark("starting nats-server\n");
        let (child, url) = nats::start_anywhere(&program, &self.data).await?;
        let child = self.nats.insert(child);
        let global =
            Global { nats: NatsOptions { urls: vec![url.clone()], ..NatsOptions::default() }, ..global.clone() };
        let bus = nats::until_answers(child, async || global.connect().await).await?;
        self.host(&global, allow_programs, &bus, output).await?;
        Ok((bus, url))
    }

    async fn host(&mut self, global: &Global, allow_programs: bool, bus: &Bus, output: &mut Output) -> Result<()> {
        self.prepare()?;
        output.remark("starting lattice-host\n");
        let child = self.host.insert(host::start(global, &self.data, allow_programs)?);
        host::until_joined(child, bus).await
    }

    /// The lattice, with a NATS server of our own when there is none.
    async fn bus(&mut self, global: &Global, output: &mut Output) -> Result<Bus> {
        let unreachable = match global.connect().await {
            Ok(bus) => return Ok(bus),
            Err(failure) => failure,
        };
        let Some(place) = nats::place(global, &unreachable).await? else { return Err(unreachable) };
        let program = nats::find()?;
        self.prepare()?;
        output.remark(&format!("starting nats-server at {place}\n"));
        let child = self.nats.insert(nats::start(&program, place, &self.data)?);
        nats::until_answers(child, async || global.connect().await).await
    }

    /// Makes the data folder, and makes sure that it is ours alone.
    fn prepare(&mut self) -> Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        let file = |what, path: &Path| {
            let path = path.to_owned();
            move |source| Failure::File { what, path, source }
        };
        fs::create_dir_all(&self.data).map_err(file("cannot make the folder", &self.data))?;
        self.data = self.data.canonicalize().map_err(file("cannot find the folder", &self.data))?;
        let ignore = self.data.join(".gitignore");
        fs::write(&ignore, "*\n").map_err(file("cannot write", &ignore))?;
        let path = self.data.join("lock");
        let lock = File::create(&path).map_err(file("cannot write", &path))?;
        if lock.try_lock().is_err() {
            return Err(Failure::Start {
                message: format!("another `lattice-ctl up` runs with the data in {}", self.data.display()),
                help: Some("end it, or name another folder with --data".to_owned()),
            });
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// Shows the host's log until a process ends that should not.
    async fn follow(&mut self, output: &mut Output) -> Result<()> {
        let mut log = self.host.as_ref().map(|host| Tail { path: host.log.clone(), offset: 0 });
        loop {
            if let Some(log) = &mut log {
                output.remark(&log.more());
            }
            self.still_runs()?;
            sleep(LOOK).await;
        }
    }

    /// An error when a process has ended that should not.
    pub(crate) fn still_runs(&mut self) -> Result<()> {
        [&mut self.host, &mut self.nats].into_iter().flatten().try_for_each(Child::still_runs)
    }

    pub(crate) async fn end(&mut self, output: &mut Output) {
        for child in [self.host.take(), self.nats.take()].into_iter().flatten() {
            output.remark(&format!("ending {}\n", child.name));
            child.end().await;
        }
    }
}

/// A file that grows.
struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// What has been written since the last time. A file that cannot be read now may be readable the next time.
    fn more(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.offset))?;
            file.read_to_end(&mut bytes)
        });
        if read.is_err() {
            return String::new();
        }
        // Half a line, or half a character, waits for the rest.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        self.offset += whole as u64;
        String::from_utf8_lossy(&bytes[..whole]).into_owned()
    }
}

/// Ends when somebody wants this process to end. The handlers are in place when this returns, so that no signal comes
/// too early.
pub(crate) fn stopped() -> Result<impl Future<Output = ()>> {
    let handler = |kind| signal(kind).map_err(|e| Failure::Other(format!("cannot handle signals: {e}")));
    let (mut interrupt, mut terminate, mut hangup) =
        (handler(SignalKind::interrupt())?, handler(SignalKind::terminate())?, handler(SignalKind::hangup())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_comes_in_whole_lines() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = Tail { path: file.path().to_owned(), offset: 0 };
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.more(), "one\n");
        assert_eq!(tail.more(), "");
        file.write_all("o ü\n".as_bytes()).unwrap();
        assert_eq!(tail.more(), "two ü\n");
    }

    #[test]
    fn a_data_folder_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let up = || Up::new(dir.path().join("data"));
        let (mut first, mut second) = (up(), up());
        first.prepare().unwrap();
        first.prepare().unwrap();
        let failure = second.prepare().unwrap_err();
        assert!(failure.to_string().starts_with("another `lattice-ctl up` runs with the data in "), "{failure}");
        drop(first);
        second.prepare().unwrap();
    }
}
