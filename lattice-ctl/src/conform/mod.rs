//! `conform`: a capability's whole behaviour against a provider, ours or a stranger's, as a lattice meets it: the provider is
//! a process that is told what to do by [`process`], and everything else happens over NATS.

mod failure;
mod lasting;
mod process;
mod report;
mod suites;
mod target;

use std::{path::PathBuf, time::Instant};

use lattice::{
    bus::{Bus, NatsOptions},
    wire::UnitId,
};
use tempfile::TempDir;

pub(crate) use self::failure::ConformFailure;
use self::{
    lasting::{Backend, Checked},
    process::{Launcher, Provider},
    report::Report,
    suites::Suites,
    target::Target,
};
use crate::{
    child::Child,
    cli::{ConformArgs, Global},
    failure::{Failure, Result},
    nats,
    output::Output,
    progress::Progress,
    up::stopped,
};

pub(crate) async fn run(global: &Global, args: &ConformArgs, output: &mut Output) -> Result<()> {
    // Before anything is started: what is wrong with these can be told without it.
    let target = Target::find(args)?;
    let suites = Suites::of(&target)?;
    let executable = target.executable()?;
    let folder = tempfile::Builder::new().prefix("lattice-conform-").tempdir();
    let folder = folder.map_err(|error| Failure::Other(format!("cannot make a folder for its data: {error}")))?;
    let mut here = Here { folder, nats: None };
    let stop = stopped()?;
    // Not cancel-safe and need not be: what `check` has started ends with the provider, which it owns, and below.
    let outcome = tokio::select! {
        outcome = here.check(global, args, (target, executable), suites, output) => outcome,
        () = stop => Err(ConformFailure::Stopped.into()),
    };
    if let Some(server) = here.nats.take() {
        server.end().await;
    }
    outcome
}

/// What this command has for itself.
struct Here {
    folder: TempDir,
    nats: Option<Child>,
}

impl Here {
    async fn check(
        &mut self,
        global: &Global,
        args: &ConformArgs,
        (target, executable): (Target, PathBuf),
        suites: Suites,
        output: &mut Output,
    ) -> Result<()> {
        let started = Instant::now();
        let (options, bus) = self.lattice(global).await?;
        let run = RunId::new();
        let launcher = Launcher::new(&target, executable, run.unit()?, options, self.folder.path())?;
        let mut provider = Provider::start(launcher, bus.clone()).await?;
        let mut report = Report::new(&target);
        let mut progress = Progress::default();
        for kind in suites.kinds() {
            let place = suites.place(kind, &provider, &bus, &target, run.tag()).await?;
            // A line that is rewritten on a terminal; elsewhere the report says all of it.
            let mut begins = |check: &'static str| {
                if output.remarks_are_terminal {
                    progress.show(output, &format!("{}: {}", target.name, report::in_words(check)));
                }
            };
            report.suite(kind, &place.suite().run(&target.name, &mut begins).await);
            let Some(lasting) = place.lasting().await.map_err(Failure::Other)? else {
                report.lasting(kind, Checked::nothing());
                continue;
            };
            let backend = Backend { stop: args.stop.as_deref(), start: args.start.as_deref() };
            let checked = lasting::check(&mut provider, &*lasting, backend, target.in_memory, &mut begins).await;
            report.lasting(kind, checked);
        }
        progress.clear(output);
        let log = provider.end().await;
        report.print(started.elapsed(), &log, output)
    }

    /// The lattice whose NATS was named, else one of our own.
    async fn lattice(&mut self, global: &Global) -> Result<(NatsOptions, Bus)> {
        let connect = async |options: &NatsOptions| -> Result<Bus> {
            Ok(Bus::connect_for_calls(options, global.lattice.clone(), "lattice-ctl conform").await?)
        };
        if global.nats_named {
            let bus = connect(&global.nats).await?;
            return Ok((global.nats.clone(), bus));
        }
        let (server, url) = nats::start_anywhere(&nats::find()?, self.folder.path()).await?;
        let server = self.nats.insert(server);
        let options = NatsOptions { urls: vec![url], ..NatsOptions::default() };
        let bus = nats::until_answers(server, async || connect(&options).await).await?;
        Ok((options, bus))
    }
}

/// What everything is named after that this run leaves in a backend, so that it meets nothing of another run's.
struct RunId(String);

impl RunId {
    fn new() -> Self {
        let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos());
        Self(format!("conform{:x}{:x}", std::process::id(), nanos as u32))
    }

    /// Letters and digits alone.
    fn tag(&self) -> &str {
        &self.0
    }

    fn unit(&self) -> Result<UnitId> {
        format!("{}/provider", self.0).parse().map_err(|error| Failure::Other(format!("{error}")))
    }
}
