//! The provider's process, as a host has one: orders on its standard input, reports on its standard output.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    wire::{CallError, ContentType, InstanceId, Interface, Served, UnitId, value::FunctionShape},
};
use lattice_provider::{
    Caller, Failed, Health, Launch, Lines, Order, PROGRAM_ENVIRONMENT, Report,
    conformance::{JsonCaller, LatticeCaller},
    json_only,
};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Map, Value};
use tokio::{
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use super::{ConformFailure, target::Target};
use crate::{child::last_lines, failure::Failure};

/// How long a process may take to become ready: what a host gives it.
const START: Duration = Duration::from_secs(15);
/// How long one may take to end when it is told to.
const DRAIN: Duration = Duration::from_secs(15);

/// How the process is started, each time.
pub(super) struct Launcher {
    name: String,
    path: PathBuf,
    known: bool,
    env: Vec<(String, String)>,
    unit: UnitId,
    nats: NatsOptions,
    data_dir: PathBuf,
    config: Map<String, Value>,
    log: PathBuf,
}

impl Launcher {
    /// With the files of the process in `folder`.
    pub(super) fn new(
        target: &Target,
        path: PathBuf,
        unit: UnitId,
        nats: NatsOptions,
        folder: &Path,
    ) -> Result<Self, Failure> {
        let data_dir = folder.join("data");
        std::fs::create_dir_all(&data_dir).map_err(|source| Failure::File {
            what: "cannot make the folder",
            path: data_dir.clone(),
            source,
        })?;
        let nats = nats.absolute().map_err(|error| Failure::Other(format!("cannot find this folder: {error}")))?;
        Ok(Self {
            name: target.name.clone(),
            path,
            known: target.known,
            env: target.env.clone(),
            unit,
            nats,
            data_dir,
            config: target.config.clone(),
            log: folder.join("provider.log"),
        })
    }

    /// The command, with no more of our environment than a host gives it of its own.
    fn command(&self) -> std::io::Result<Command> {
        let passed = |name: &&str| !self.known || *name == "LATTICE_LOG";
        let inherited = PROGRAM_ENVIRONMENT.into_iter().filter(passed);
        let inherited = inherited.filter_map(|name| Some((name, std::env::var_os(name)?)));
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.path);
        command.env_clear().envs(inherited).envs(self.env.iter().cloned()).current_dir(&self.data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
        // Ctrl-C is for this command, and with a group of its own it is killed with all that it has started.
        command.process_group(0);
        Ok(command)
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ConformFailure {
        let (name, reason) = (self.name.clone(), reason.to_string());
        ConformFailure::NotStarted { name, reason, log: last_lines(&self.log) }
    }

    async fn start(&self, instance: &InstanceId, bus: &Bus) -> Result<(Running, bool), ConformFailure> {
        let spawned = self.command().and_then(|mut command| command.spawn());
        let mut child = spawned.map_err(|error| self.failed(format!("{}: {error}", self.path.display())))?;
        let (Some(mut orders), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(self.failed("its standard streams are not connected"));
        };
        let launch = Order::Start(Box::new(Launch {
            lattice: bus.lattice().clone(),
            unit: self.unit.clone(),
            instance: instance.clone(),
            nats: self.nats.clone(),
            data_dir: self.data_dir.clone(),
            config: self.config.clone(),
            traces: false,
        }));
        let mut reports = Lines::new(reports);
        let first = async {
            // One that ends before it has read this says why in its log.
            let _ = launch.send(&mut orders).await;
            reports.report(drop).await
        };
        let first = timeout(START, first).await;
        let first = first.map_err(|_| self.failed(format!("it is not ready within {} s", START.as_secs())))?;
        let (health, json) = match first {
            Some(Report::Health { health, content_types, .. }) => {
                let json = json_only(content_types).map_err(|said| {
                    self.failed(format!("it takes calls in {said} alone; every provider takes {}", ContentType::Json))
                })?;
                (health, json)
            }
            Some(Report::Failed(Failed { reason, .. })) => return Err(self.failed(reason)),
            Some(Report::Spans(_) | Report::Checked(_)) => {
                return Err(self.failed("it has not said first that it is ready, or why not".to_owned()));
            }
            None => {
                let status = child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
                return Err(self.failed(format!("it ended before it was ready ({status})")));
            }
        };
        let (tell, health) = watch::channel(health);
        let follow = AbortOnDropHandle::new(tokio::spawn(follow(reports, tell)));
        Ok((Running { child, orders, health, _follow: follow }, json))
    }
}

async fn follow(mut reports: Lines<ChildStdout>, tell: watch::Sender<Health>) {
    while let Some(report) = reports.report(drop).await {
        if let Report::Health { health, .. } = report {
            tell.send_replace(health);
        }
    }
}

/// A process that is ready.
struct Running {
    child: Child,
    orders: ChildStdin,
    health: watch::Receiver<Health>,
    _follow: AbortOnDropHandle<()>,
}

impl Running {
    /// Kills it and all that it has started.
    async fn kill(mut self) {
        let group = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        // Both fail only when it has ended already.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.kill().await;
    }
}

/// Whom calls go to.
#[derive(Clone)]
struct Instance {
    id: InstanceId,
    json_only: bool,
}

/// The provider, one process after the other.
pub(super) struct Provider {
    launcher: Launcher,
    bus: Bus,
    running: Option<Running>,
    starts: u64,
    instance: watch::Sender<Option<Instance>>,
}

impl Provider {
    pub(super) async fn start(launcher: Launcher, bus: Bus) -> Result<Self, ConformFailure> {
        let instance = watch::Sender::new(None);
        let mut provider = Self { launcher, bus, running: None, starts: 0, instance };
        provider.restart().await?;
        Ok(provider)
    }

    /// Kills the process, as a machine that fails does, and starts it again with its data.
    pub(super) async fn restart(&mut self) -> Result<(), ConformFailure> {
        if let Some(running) = self.running.take() {
            running.kill().await;
        }
        self.starts += 1;
        let id: InstanceId =
            format!("{:016x}", self.starts).parse().map_err(|error| self.launcher.failed(format!("{error}")))?;
        let (running, json_only) = self.launcher.start(&id, &self.bus).await?;
        self.running = Some(running);
        self.instance.send_replace(Some(Instance { id, json_only }));
        Ok(())
    }

    /// What calls whichever process there is.
    pub(super) fn caller(&self, deadline: Duration) -> Arc<dyn Caller> {
        let (bus, unit, instance) = (self.bus.clone(), self.launcher.unit.clone(), self.instance.subscribe());
        Arc::new(Calls { bus, unit, instance, deadline })
    }

    /// The number of the process, while it runs.
    pub(super) fn id(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    /// What the process says of itself.
    pub(super) fn health(&self) -> Option<watch::Receiver<Health>> {
        self.running.as_ref().map(|running| running.health.clone())
    }

    /// Lets it end by itself. Returns the end of its log.
    pub(super) async fn end(mut self) -> String {
        if let Some(mut running) = self.running.take() {
            let drained = Order::Drain.send(&mut running.orders).await.is_ok()
                && timeout(DRAIN, running.child.wait()).await.is_ok();
            if !drained {
                running.kill().await;
            }
        }
        last_lines(&self.launcher.log)
    }
}

/// Calls the process that there is at the moment of each call.
struct Calls {
    bus: Bus,
    unit: UnitId,
    instance: watch::Receiver<Option<Instance>>,
    deadline: Duration,
}

#[async_trait]
impl Caller for Calls {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let instance = self.instance.borrow().clone();
        let Instance { id, json_only } = instance.ok_or_else(|| CallError::NoInstance(self.unit.to_string()))?;
        let served = Served { lattice: self.bus.lattice().clone(), unit: self.unit.clone(), instance: id };
        let caller = LatticeCaller { bus: self.bus.clone(), served, deadline: self.deadline };
        let mut connected = self.bus.connected();
        let call = async {
            match json_only {
                true => JsonCaller(caller).call(interface, function, shape, payload).await,
                false => caller.call(interface, function, shape, payload).await,
            }
        };
        // A backend that is the lattice's own NATS takes the way to its provider along, and that is no fault of the provider.
        tokio::select! {
            biased;
            _ = connected.wait_for(|connected| !connected) => {
                Err(CallError::Transport("there is no connection to NATS".to_owned()))
            }
            outcome = call => outcome,
        }
    }
}
