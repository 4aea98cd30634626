//! The host: runs components, supervises providers and follows its assignment.
//!
//! Tasks, what each receives and what it publishes:
//!
//! ```text
//! agent        assignments and inventories of all hosts, orders; -> router table, own inventory,
//!              news of the tasks that it starts                     start and stop of instances
//! publish      own inventory                                     -> hosts.<host> in the store
//! beat         a clock                                           -> beats.<host> in the store, news for the agent
//! events       what the controller and the agent have seen        -> NATS, for whoever listens
//! journal      what the agent goes on with                       -> a file in the data folder
//! controller   apps, inventories, beats, the lease               -> assignments.<host>, plans.<app>
//! per instance its service: calls from NATS                      -> answers
//! per listener connections, each with a task                     -> responses
//! per process  a provider's reports                              -> news for the agent
//! epoch        a clock, as a thread                              -> ends overdue guests
//! spares       instances that have had their calls, as a thread  -> fresh ones for the next calls
//! ```
//!
//! The private `secrets` knows what units may read that nobody else shall; [`runtime`] turns an artifact into answered calls and knows no NATS; [`links`] decides where a call goes; the agent
//! decides what runs; [`standalone`] runs one component without a lattice. A call never waits for the agent: it reads tables that are replaced as a whole.
//!
//! Shutting down: the agent tells the lattice that the host leaves, and goes on until others have taken over what they
//! can. Then the rest drains: it is told so that nobody calls it, it finishes its calls, the other tasks end, the
//! host's records are removed and the connection is flushed.

mod admin;
mod agent;
mod bundle;
pub mod config;
mod events;
mod files;
pub mod identity;
mod journal;
pub mod links;
mod logbook;
mod metrics;
mod otlp;
mod quotas;
pub mod runtime;
mod secrets;
mod spy;
pub mod standalone;
mod trust;

use std::{path::PathBuf, sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, ConnectError, Serving},
    model::inventory::HostRecord,
    wire::{CallError, HostId, LatticeName},
};
use lattice_provider_http_server::{HttpServers, Listening};
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admin::{Admin, Joined, systemd},
    agent::{Access, AccessError, Agent, Beginnings, Orders, Surroundings},
    config::Options,
    events::Events,
    identity::IdentityError,
    links::Router,
    metrics::Metrics,
    otlp::{Otlp, OtlpError},
    quotas::Quotas,
    runtime::{ArtifactCache, EngineError, Runtime},
    secrets::{KeyError, Secrets},
    trust::Trust,
};

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot use the data folder {}: {source}; choose another one with --data", path.display())]
    Data { path: PathBuf, source: std::io::Error },
    #[error("another lattice-host runs in the data folder {}; give each host its own with --data", path.display())]
    Twice { path: PathBuf },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Admin(#[from] admin::AdminError),
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    #[error(transparent)]
    Bundle(#[from] bundle::LoadError),
    #[error("cannot answer in the lattice: {0}")]
    Serve(#[from] CallError),
}

/// How long instances may take to finish their calls when the host shuts down.
const WIND_UP: Duration = Duration::from_secs(20);
/// How long telling the lattice that the host is gone may take.
const GOOD_BYE: Duration = Duration::from_secs(3);
/// Between attempts to reach NATS for the first time.
const CONNECT_PAUSE: Duration = Duration::from_secs(1);

/// A host that is part of its lattice.
pub struct Host {
    pub id: HostId,
    bus: Bus,
    tasks: TaskTracker,
    agent: tokio::task::JoinHandle<()>,
    drain: CancellationToken,
    stop: CancellationToken,
    dismissed: CancellationToken,
    /// Answers what is asked of every host.
    _answers: Serving,
    /// Answers those who look after the machine.
    _listening: Option<Listening>,
    otlp: Option<Otlp>,
    /// Held while the host lives, so that no other one uses its data folder.
    _lock: std::fs::File,
}

impl Host {
    /// Starts a host and joins the lattice. While NATS cannot be reached it goes on with what it had to run before, if there was
    /// anything, else it waits; the log says which. Credentials that are refused are an error at once.
    pub async fn start(options: Options) -> Result<Self, HostError> {
        let id = identity::load(&options.data)?;
        let lock = lock(&options.data)?;
        let metrics = Arc::new(Metrics::default());
        let otlp = Otlp::start(&options.otlp, &id, &options.lattice)?;
        let left_out = otlp.as_ref().map(Otlp::left_out);
        let dashboard = options.dashboard.as_deref();
        let admin = Admin::new(id.clone(), options.lattice.clone(), metrics.clone(), left_out, dashboard)?;
        if let Some(otlp) = &otlp {
            otlp.tell(admin.registry());
        }
        // Before it has joined: that may take until NATS is there.
        let listening = match options.admin {
            Some(address) => Some(admin.listen(address).await?),
            None => None,
        };
        let keys = secrets::read_keys(&options.secrets_keys)?;
        let runtime = Runtime::new()?;
        let data = |source| HostError::Data { path: options.data.clone(), source };
        let cache = ArtifactCache::open(&options.data, &runtime).map_err(data)?;
        std::fs::create_dir_all(options.data.join("providers")).map_err(data)?;
        let nats = options.nats.clone().absolute().map_err(data)?;
        let access = Access::open(nats, options.nats_signing_key.as_deref(), &options.data)?;
        let kept = journal::read(&options.data, &options.lattice).filter(|kept| kept.assignment.host == id);
        let bus = match &options.bundle {
            Some(file) => bundle::open(file, &options.trust).await?,
            None => join(&options, &id, kept.is_some()).await?,
        };
        // Where the lattice can be asked, what it says now counts.
        let kept = kept.filter(|_| !*bus.connected().borrow());
        let router = Arc::new(Router::default());
        let (assignment, sealed) = kept.map(|kept| (kept.assignment, kept.secrets)).unzip();
        let sealed = sealed.unwrap_or_default();
        let secrets = Arc::new(Secrets::follow(&bus, keys, options.secrets_dir.clone(), sealed));
        let surroundings = Arc::new(Surroundings {
            host: id.clone(),
            bus: bus.clone(),
            access,
            data: std::path::absolute(&options.data).map_err(data)?,
            providers: options.providers(),
            programs: options.allow_programs,
            quotas: Quotas::default(),
            metrics,
            trust: Trust::new(&options.trust, &options.data).map_err(data)?,
            runtime,
            cache,
            router: router.clone(),
            secrets: secrets.clone(),
            servers: HttpServers::default(),
        });
        let figures = Arc::<lattice_control::Figures>::default();
        let events = Arc::new(Events::new(bus.clone(), id.clone()));
        let answers = agent::serve_answers(&surroundings, events.clone(), !options.no_spy).await?;
        let mut record = HostRecord {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            labels: options.labels(),
            started_ms: agent::started(),
            taints: options.taints.iter().cloned().collect(),
            capacity: options.capacity.unwrap_or_default(),
            programs: options.allow_programs,
            trusts: options.trust.iter().cloned().collect(),
            secrets_key: secrets.public_key(),
            ..HostRecord::of(id.clone())
        };
        let orders = Orders::follow(&bus, &mut record).await;
        let (tasks, stop, drain) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        let dismissed = CancellationToken::new();
        let (record, published) = watch::channel(record);
        let (news, inbox) = mpsc::channel(256);
        tasks.spawn(agent::publish(bus.clone(), published.clone(), stop.clone()));
        let (beats, heard) = watch::channel(None);
        let followed = agent::Followed::default();
        let meter = agent::Meter::new(followed.clone(), router.clone());
        tasks.spawn(agent::beat(bus.clone(), id.clone(), meter, beats, stop.clone()));
        let (journal, kept) = watch::channel(None);
        tasks.spawn(journal::keep(options.data.clone(), surroundings.clone(), kept, stop.clone()));
        let told = figures.happenings();
        tasks.spawn({
            let stop = stop.clone();
            async move { events.tell(told, stop).await }
        });
        if !options.no_control {
            let timing =
                lattice_control::Timing { hold_above: options.hold_above, ..lattice_control::Timing::default() };
            tasks.spawn(lattice_control::run(bus.clone(), id.clone(), timing, Arc::clone(&figures), drain.clone()));
        }
        let links = router.clone();
        let agent = Agent::new(
            surroundings,
            router,
            Beginnings {
                record,
                orders,
                assignment,
                journal,
                followed,
                heard,
                news,
                figures: figures.clone(),
                dismissed: dismissed.clone(),
            },
        );
        let agent = tokio::spawn(agent.run(inbox, drain.clone(), WIND_UP));
        admin.joined(Joined { bus: bus.clone(), record: published, figures, router: links });
        tasks.spawn(systemd::tell(admin, stop.clone()));
        tracing::info!(host = %id, lattice = %bus.lattice(), "joined the lattice");
        Ok(Self {
            id,
            bus,
            tasks,
            agent,
            drain,
            stop,
            dismissed,
            _answers: answers,
            _listening: listening,
            otlp,
            _lock: lock,
        })
    }

    /// Leaves the lattice: finishes the calls under way, then ends.
    pub async fn shut_down(self) {
        systemd::ending();
        self.drain.cancel();
        if let Err(error) = self.agent.await {
            tracing::error!(%error, "the agent failed");
        }
        self.stop.cancel();
        self.tasks.close();
        let good_bye = async {
            self.tasks.wait().await;
            agent::leave(&self.bus, &self.id).await;
            self.bus.flush().await;
        };
        // Without NATS none of this can be done, and waiting for it would keep a host from ending.
        if tokio::time::timeout(GOOD_BYE, good_bye).await.is_err() {
            tracing::warn!("cannot tell the lattice that this host is gone; it will see that it is silent");
        }
        if let Some(otlp) = self.otlp
            && tokio::time::timeout(GOOD_BYE, otlp.end()).await.is_err()
        {
            tracing::warn!("the collector does not take the last of what there was to tell");
        }
    }

    /// The lattice that it is a part of.
    pub fn lattice(&self) -> &LatticeName {
        self.bus.lattice()
    }

    /// Resolves when an operator has ordered this process to end.
    pub fn dismissed(&self) -> impl Future<Output = ()> + use<> {
        self.dismissed.clone().cancelled_owned()
    }

    /// Resolves when the host can no longer do its work.
    pub async fn failed(&mut self) -> String {
        match (&mut self.agent).await {
            Ok(()) => "the agent ended".to_owned(),
            Err(error) => error.to_string(),
        }
    }
}

fn lock(data: &std::path::Path) -> Result<std::fs::File, HostError> {
    let path = data.join("lock");
    let file = std::fs::File::create(path).map_err(|source| HostError::Data { path: data.to_owned(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(HostError::Twice { path: data.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(HostError::Data { path: data.to_owned(), source }),
    }
}

/// Connects to the lattice. With something to do meanwhile the host does not wait for it.
async fn join(options: &Options, id: &HostId, has_work: bool) -> Result<Bus, ConnectError> {
    let name = format!("lattice-host {}", id.short());
    loop {
        match Bus::connect(&options.nats, options.lattice.clone(), &name).await {
            Err(error @ (ConnectError::Unreachable { .. } | ConnectError::NoJetStream { .. })) if has_work => {
                tracing::warn!("{error}; going on with what this host had to run, until the lattice is back");
                return Bus::connect_later(&options.nats, options.lattice.clone(), &name).await;
            }
            Err(error @ ConnectError::Unreachable { .. }) => {
                tracing::warn!("{error}; trying again");
                tokio::time::sleep(CONNECT_PAUSE).await;
            }
            other => return other,
        }
    }
}
