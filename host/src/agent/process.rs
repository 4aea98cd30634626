//! A provider as a supervised process.

use std::{
    io::ErrorKind,
    path::PathBuf,
    pin::Pin,
    process::Stdio,
    time::{Duration, Instant},
};

use lattice::{
    bus::Bus,
    model::app::{ProcessLimits, ProviderSpec},
    trace::{self, Span, Value},
    wire::{CallSubject, ContentType, InstanceId, Interface, Served},
};
use lattice_provider::{Failed, Health, Launch, Lines, Order, Report, json_only};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::AsyncRead,
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use super::{
    News,
    access::{AccessError, Pass},
    builtin,
    diff::Key,
    instance::Speaks,
    limits,
    surroundings::Surroundings,
};
use crate::secrets::{Settings, Veil};

/// Why a provider process is not running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("the executable of {kind} is not at {}; put it there, or start the host with --providers DIR", path.display())]
    Missing { kind: String, path: PathBuf },
    #[error("cannot start {name} ({}): {source}", path.display())]
    Spawn { name: String, path: PathBuf, source: std::io::Error },
    #[error("cannot limit the process of {name}: {source}")]
    Limits { name: String, source: std::io::Error },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{reason}")]
    Failed { reason: String, busy: bool },
    #[error("{name} did not become ready within {} s", START.as_secs())]
    Slow { name: String },
    #[error("{name} says that it takes calls in {said} alone; every provider takes them in {}", ContentType::Json)]
    ContentTypes { name: String, said: String },
}

/// How long a process may take to become ready.
const START: Duration = Duration::from_secs(15);
/// How long it may take until calls reach a process that says it is ready, and the pause between two looks. Some clients of NATS
/// ask the server for a sign before they have told it of a subscription.
const HEARD: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(10);
/// How long the last of a log may take to arrive when its process has ended: children of that may hold it open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Attempts to start a file that was just written, and the pause between them: a process that is being started beside it
/// may hold the file open for writing for a moment.
const BUSY_ATTEMPTS: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(25);

/// What is started.
pub(super) struct Executable {
    /// What it is called in messages.
    pub(super) name: String,
    /// Its name in the catalog, if it is there.
    pub(super) kind: Option<String>,
    /// The interfaces whose calls it answers.
    pub(super) serves: Vec<Interface>,
    pub(super) path: PathBuf,
    /// Where it keeps its files.
    pub(super) data_dir: PathBuf,
    pub(super) limits: ProcessLimits,
    pub(super) command: Command,
}

impl Executable {
    /// The executable of a provider of the catalog.
    pub(super) fn known(
        here: &Surroundings,
        spec: &ProviderSpec,
        serves: Vec<Interface>,
    ) -> Result<Self, ProcessError> {
        let path = here.providers.join(format!("lattice-provider-{}", spec.kind));
        if !path.is_file() {
            return Err(ProcessError::Missing { kind: spec.kind.clone(), path });
        }
        let mut command = Command::new(&path);
        // It gets nothing of the host's environment but the level of its log.
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "LATTICE_LOG"));
        let (name, data_dir, limits) = (spec.kind.clone(), here.provider_data(), spec.limits);
        Ok(Self { kind: Some(name.clone()), name, serves, path, data_dir, limits, command })
    }

    /// What it is told when it starts, and its way to NATS.
    fn launch(&self, here: &Surroundings, served: &Served, settings: &Settings) -> Result<(Order, Pass), AccessError> {
        // A program of a user answers calls, and has no other business there.
        let uses = |kind: &String| builtin::nats_use(kind, &settings.config, &served.lattice, &served.unit);
        let pass = here.access.pass(served, self.kind.as_ref().map(uses).unwrap_or_default())?;
        let launch = Launch {
            lattice: served.lattice.clone(),
            unit: served.unit.clone(),
            instance: served.instance.clone(),
            nats: pass.nats.clone(),
            data_dir: self.data_dir.clone(),
            config: settings.config.clone(),
            traces: trace::is_on(),
        };
        Ok((Order::Start(Box::new(launch)), pass))
    }

    async fn spawn(&mut self) -> Result<Child, ProcessError> {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (name, path) = (&self.name, &self.path);
        let spawned = spawn(&mut self.command).await;
        spawned.map_err(|source| ProcessError::Spawn { name: name.clone(), path: path.clone(), source })
    }
}

/// Starts a process that does not outlive what is returned.
pub(super) async fn spawn(command: &mut Command) -> std::io::Result<Child> {
    command.kill_on_drop(true);
    let mut attempts = 0;
    loop {
        attempts += 1;
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && attempts < BUSY_ATTEMPTS => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            spawned => return spawned,
        }
    }
}

/// A provider process that is ready. It ends when its standard input does, so it never outlives its host.
pub(crate) struct Process {
    orders: ChildStdin,
    /// Ends the process at once.
    kill: CancellationToken,
    /// Closes when the process has ended.
    ended: mpsc::Receiver<()>,
}

/// A process that has become ready.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) health: watch::Receiver<Health>,
    pub(super) speaks: Speaks,
}

impl Process {
    pub(super) async fn start(
        here: &Surroundings,
        key: &Key,
        instance: &InstanceId,
        settings: &Settings,
        mut executable: Executable,
        news: mpsc::Sender<News>,
    ) -> Result<Started, ProcessError> {
        let name = executable.name.clone();
        let failed = |reason: String| ProcessError::Failed { reason: format!("{name}: {reason}"), busy: false };
        let mut child = executable.spawn().await?;
        let process = child.id();
        let limited = process.map_or(Ok(()), |process| limits::begin(process, executable.limits));
        limited.map_err(|source| ProcessError::Limits { name: name.clone(), source })?;
        let mut exceeded = Box::pin(limits::exceeded(process, executable.limits));
        let (Some(mut orders), Some(reports), Some(log)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed("its standard streams are not connected".to_owned()));
        };
        let log = tokio::spawn(forward_log(key.clone(), log, settings.veil.clone()));
        let mut reports = Reports { key: key.clone(), lines: Lines::new(reports), veil: settings.veil.clone() };
        let served = Served { lattice: here.bus.lattice().clone(), unit: key.unit.clone(), instance: instance.clone() };
        let (launch, pass) = executable.launch(here, &served, settings)?;
        let first = async {
            // One that ends before it has read this says why in its log.
            if let Err(error) = launch.send(&mut orders).await {
                tracing::debug!(%error, "a provider process does not read its standard input");
            }
            reports.next().await
        };
        // Neither is looked at again when the other has come first.
        let first = tokio::select! {
            first = tokio::time::timeout(START, first) => first.map_err(|_| ProcessError::Slow { name: name.clone() })?,
            told = &mut exceeded => {
                end_now(&mut child);
                return Err(failed(told));
            }
        };
        let (health, speaks) = match first {
            Some(report) => ready(&name, report)?,
            None => {
                let how = tokio::time::timeout(START, ended(&mut child, log)).await;
                let how = how.unwrap_or_else(|_| "it closed its standard output".to_owned());
                return Err(failed(format!("it ended before it was ready ({how})")));
            }
        };
        if !listens(&here.bus, &served, &executable.serves).await {
            tracing::warn!(unit = %served.unit, %instance, "a provider says that it is ready, and does not listen to calls");
        }
        let (health, healths) = watch::channel(health);
        let kill = CancellationToken::new();
        let (alive, ended) = mpsc::channel(1);
        let supervised = Supervised { child, reports, health, log, key: key.clone(), news, exceeded, _pass: pass };
        tokio::spawn(supervised.run(kill.clone(), alive));
        Ok(Started { process: Self { orders, kill, ended }, health: healths, speaks })
    }

    /// Lets it finish its calls, and ends it after `limit` in any case.
    pub(super) async fn stop(mut self, limit: Duration) {
        if Order::Drain.send(&mut self.orders).await.is_ok()
            && tokio::time::timeout(limit, self.ended.recv()).await.is_ok()
        {
            return;
        }
        self.kill.cancel();
        self.ended.recv().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

/// How a process is that has started, and how it is called, by the first that it says.
fn ready(name: &str, first: Report) -> Result<(Health, Speaks), ProcessError> {
    match first {
        Report::Health { health, content_types, bundles } => {
            let json_only = json_only(content_types);
            let json_only = json_only.map_err(|said| ProcessError::ContentTypes { name: name.to_owned(), said })?;
            Ok((health, Speaks { json_only, bundles }))
        }
        Report::Failed(Failed { reason, busy }) => Err(ProcessError::Failed { reason, busy }),
        Report::Spans(_) | Report::Checked(_) => Err(ProcessError::Failed {
            reason: format!("{name} has not said first that it is ready, or why not"),
            busy: false,
        }),
    }
}

/// Whether calls reach a process, or will in a moment.
async fn listens(bus: &Bus, served: &Served, serves: &[Interface]) -> bool {
    let interface = serves.first().and_then(|interface| interface.unversioned().parse().ok());
    let Some(interface) = interface else { return true };
    let Served { lattice, unit, instance } = served.clone();
    let subject = CallSubject { lattice, unit, instance, interface };
    let until = Instant::now() + HEARD;
    while !bus.listens(&subject).await {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(LOOK).await;
    }
    true
}

/// A process that is followed until it ends.
struct Supervised {
    child: Child,
    reports: Reports,
    health: watch::Sender<Health>,
    log: JoinHandle<String>,
    key: Key,
    news: mpsc::Sender<News>,
    /// Says so when it takes more than it may.
    exceeded: Pin<Box<dyn Future<Output = String> + Send>>,
    /// Its way to NATS, which ends with it.
    _pass: Pass,
}

impl Supervised {
    /// `_alive` is dropped at the end: that is what the one who stops the process waits for.
    async fn run(mut self, kill: CancellationToken, _alive: mpsc::Sender<()>) {
        let mut too_much = None;
        while too_much.is_none() {
            // Cancel-safe: `next` keeps what it has read, and `exceeded` only looks.
            tokio::select! {
                report = self.reports.next() => match report {
                    Some(Report::Health { health, .. }) => drop(self.health.send_replace(health)),
                    Some(Report::Spans(spans)) => self.reports.hand_in(spans),
                    // Nobody has asked.
                    Some(Report::Checked(_)) => {}
                    Some(Report::Failed(Failed { reason, .. })) => {
                        let reason = self.reports.veil.over(reason);
                        tracing::warn!(unit = %self.key.unit, reason, "a provider process gives up");
                    }
                    None => break,
                },
                told = &mut self.exceeded => too_much = Some(told),
                () = kill.cancelled() => break,
            }
        }
        if too_much.is_some() {
            end_now(&mut self.child);
        }
        // Cancel-safe: waiting again for a process that has ended gives the same answer.
        tokio::select! {
            _ = self.child.wait() => {}
            () = kill.cancelled() => end_now(&mut self.child),
        }
        let how = ended(&mut self.child, self.log).await;
        let how = too_much.unwrap_or(how);
        let _ = self.news.send(News::Ended(self.key, format!("its process ended ({how})"))).await;
    }
}

/// Kills a process, and those that it has started when it leads a group of its own.
pub(super) fn end_now(child: &mut Child) {
    let group = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    // Fails for one that leads no group; no other group has its number while it is not waited for.
    let killed = group.map(|group| kill_process_group(group, Signal::KILL));
    if !matches!(killed, Some(Ok(()))) {
        let _ = child.start_kill();
    }
}

/// How a process has ended: its status, and the last line of its log.
async fn ended(child: &mut Child, log: JoinHandle<String>) -> String {
    let status = match child.wait().await {
        Ok(status) => status,
        Err(error) => return error.to_string(),
    };
    let words = tokio::time::timeout(LAST_WORDS, log).await.ok().and_then(Result::ok);
    // One that was killed could not say why.
    match words.filter(|words| status.code().is_some() && !words.is_empty()) {
        Some(words) => format!("{status}; its last words: {words}"),
        None => status.to_string(),
    }
}

/// What a process says to its host.
struct Reports {
    key: Key,
    lines: Lines<ChildStdout>,
    veil: Veil,
}

impl Reports {
    /// What it tells of its calls: always as its own, and without secrets.
    fn hand_in(&self, spans: Vec<Span>) {
        for mut span in spans {
            span.name = self.veil.over(span.name);
            span.error = span.error.map(|error| self.veil.over(error));
            for value in span.attributes.values_mut() {
                if let Value::Text(text) = value {
                    *text = self.veil.over(std::mem::take(text));
                }
            }
            trace::hand_in(&self.key.unit, span);
        }
    }

    /// Cancel-safe: what has been read is kept.
    async fn next(&mut self) -> Option<Report> {
        let Self { key, lines, veil } = self;
        lines.report(|line| tracing::info!(target: "provider", unit = %key.unit, "{}", veil.over(line))).await
    }
}

/// Brings what a process says to the host's log; returns its last line.
async fn forward_log(key: Key, log: impl AsyncRead + Unpin, veil: Veil) -> String {
    let (mut lines, mut last) = (Lines::new(log), String::new());
    while let Some(line) = lines.next().await {
        let line = veil.over(line);
        tracing::info!(target: "provider", unit = %key.unit, "{line}");
        if !line.trim().is_empty() {
            last = line.chars().take(MAX_WORDS).collect();
        }
    }
    last
}

/// So much of a log's last line stands in the status, in characters.
const MAX_WORDS: usize = 200;
