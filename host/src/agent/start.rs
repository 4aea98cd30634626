//! Starting one instance: from a unit's record to something that takes calls.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{CallHandler, Pace, Serving},
    model::{
        app::{ComponentSpec, Isolation, ProviderSpec, RouteSpec, UnitRecord, UnitSpec},
        catalog,
    },
    wire::{CallError, CallHead, InstanceId, Interface, Served},
};
use lattice_provider::{
    Health, StartError,
    http::{self, HttpHandler, HttpServed},
};
use lattice_provider_http_server::{Config, ConfigError, ListenError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    News, builtin,
    diff::Key,
    instance::{Kind, Obstacle, Running, Speaks},
    probe::Patient,
    process::{Executable, Process, ProcessError, Started},
    program::{self, ProgramError},
    surroundings::Surroundings,
};
use crate::{
    links::{self, ComponentLinks},
    runtime::{LoadedFunctions, LoadedHttp, cache::LoadError, component::PrepareError, grants::Grants},
    secrets::{Granted, SecretError, Settings, Veil},
    trust::Distrust,
};

/// Why an instance is not running. It is tried again, with growing pauses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartFailure {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error("{kind}: {source}")]
    Provider { kind: String, source: StartError },
    #[error(transparent)]
    Distrust(#[from] Distrust),
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(
        "this release of the host has no provider `{0}`; use a newer one, or remove the provider from the manifest"
    )]
    Unknown(String),
    #[error("cannot answer calls from the lattice: {0}")]
    Serve(CallError),
    #[error("{0}")]
    Unwell(String),
    /// What was said had a secret in it, which is hidden here.
    #[error("{reason}")]
    Veiled { reason: String, obstacle: Obstacle },
}

impl StartFailure {
    pub(super) fn obstacle(&self) -> Obstacle {
        match self {
            Self::Provider { source: StartError::Busy(_), .. }
            | Self::Process(ProcessError::Failed { busy: true, .. }) => Obstacle::Held,
            Self::Distrust(_) => Obstacle::Unsigned,
            Self::Veiled { obstacle, .. } => *obstacle,
            _ => Obstacle::Other,
        }
    }

    /// The same without the secrets of its unit.
    fn under(self, veil: &Veil) -> Self {
        let said = self.to_string();
        let reason = veil.over(said.clone());
        if reason == said { self } else { Self::Veiled { reason, obstacle: self.obstacle() } }
    }
}

/// Starts the instance `key`. Its health goes to `news` for as long as it runs.
pub(super) async fn start(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    record: &UnitRecord,
    news: mpsc::Sender<News>,
) -> Result<Running, StartFailure> {
    here.trust.check(&here.bus, &record.spec.artifacts()).await?;
    match &record.spec {
        UnitSpec::Component(spec) => component(here, key, instance, spec, news).await,
        UnitSpec::Provider(spec) => {
            let settings = here.secrets.settings(&key.unit.app, &spec.config)?;
            let started = provider(here, key, instance, spec, &settings, news).await;
            started.map_err(|failure| failure.under(&settings.veil))
        }
    }
}

async fn provider(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    spec: &ProviderSpec,
    settings: &Settings,
    news: mpsc::Sender<News>,
) -> Result<Running, StartFailure> {
    match spec.isolate {
        _ if spec.kind == catalog::HTTP_SERVER => server(here, key, instance, spec, settings).await,
        Isolation::Host => in_host(here, key, instance, spec, settings, news).await,
        Isolation::Process => in_process(here, key, instance, spec, settings, news).await,
    }
}

async fn serve(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    handler: Arc<dyn CallHandler>,
    pace: Pace,
) -> Result<Serving, StartFailure> {
    let served = Served { lattice: here.bus.lattice().clone(), unit: key.unit.clone(), instance: instance.clone() };
    here.bus.serve(&served, handler, pace).await.map_err(StartFailure::Serve)
}

async fn component(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    spec: &ComponentSpec,
    news: mpsc::Sender<News>,
) -> Result<Running, StartFailure> {
    let compiled = here.cache.load_spec(spec, here.bus.artifacts()).await?;
    let spec = spec.composed();
    let links = ComponentLinks::new(&here.bus, &here.router, &key.unit, &spec);
    let secrets = Granted::new(&here.secrets, &key.unit.app, &spec);
    let quota = Some(here.quotas.of(&key.unit.app));
    let grants = Grants { secrets, quota, counts: here.metrics.unit(&key.unit), ..Grants::default() };
    let component = here.runtime.prepare(&compiled, key.unit.clone(), &spec, links, grants)?;
    let http = component.serves_http().then(|| Arc::new(LoadedHttp(component.clone())) as Arc<dyn HttpHandler>);
    let functions = LoadedFunctions::new(component.clone(), &compiled, here.bus.exchange());
    let mut serves: Vec<Interface> = functions.interfaces().cloned().collect();
    serves.extend(http.is_some().then(http::interface));
    serves.sort();
    let callable = functions.interfaces().next().is_some();
    let functions = callable.then(|| Arc::new(functions));
    let patient = spec.health.as_ref().map(|health| Patient::new(health, http.as_ref(), functions.as_ref()));
    if let Some(patient) = &patient {
        patient.ask().await.map_err(StartFailure::Unwell)?;
    }
    let serving = if serves.is_empty() {
        None
    } else {
        let http = http.clone().map(|handler| HttpServed { handler, bus: here.bus.clone() });
        Some(
            serve(here, key, instance, Arc::new(ComponentCalls { http, functions: functions.clone() }), Pace::Heavy)
                .await?,
        )
    };
    let watching = CancellationToken::new();
    if let Some(patient) = patient {
        tokio::spawn(patient.watch(key.clone(), news, watching.clone()));
    }
    let what = Kind::Component { component, http, functions };
    Ok(Running { what, serving, serves, speaks: Speaks::LIKE_US, watching })
}

/// What a component answers over the lattice.
struct ComponentCalls {
    http: Option<HttpServed>,
    functions: Option<Arc<LoadedFunctions>>,
}

#[async_trait]
impl CallHandler for ComponentCalls {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        match (&self.http, &self.functions) {
            (Some(http), _) if head.interface.unversioned() == http::interface().unversioned() => {
                http.call(head, payload).await
            }
            (_, Some(functions)) => functions.call(head, payload).await,
            _ => Err(CallError::NotServed(head.interface.to_string())),
        }
    }
}

async fn server(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    spec: &ProviderSpec,
    settings: &Settings,
) -> Result<Running, StartFailure> {
    let config = Config::parse(&settings.config)?;
    let route = |spec: &RouteSpec| (spec.pattern.clone(), links::route(&here.bus, &here.router, &key.unit, spec));
    let routes = spec.routes.iter().map(route).collect();
    let listening = here.servers.add(instance.clone(), Some(key.unit.clone()), &config, routes).await?;
    let watching = CancellationToken::new();
    Ok(Running { what: Kind::Server(listening), serving: None, serves: Vec::new(), speaks: Speaks::LIKE_US, watching })
}

async fn in_host(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    spec: &ProviderSpec,
    settings: &Settings,
    news: mpsc::Sender<News>,
) -> Result<Running, StartFailure> {
    let (capability, health, work) = builtin::start(here, key, spec, settings).await?;
    let serving = serve(here, key, instance, capability.handler(&here.bus), Pace::Light).await?;
    let watching = CancellationToken::new();
    tokio::spawn(forward(key.clone(), health, settings.veil.clone(), news, watching.clone()));
    let serves = capability.interfaces();
    Ok(Running {
        what: Kind::Backend(capability, work),
        serving: Some(serving),
        serves,
        speaks: Speaks::LIKE_US,
        watching,
    })
}

async fn in_process(
    here: &Surroundings,
    key: &Key,
    instance: &InstanceId,
    spec: &ProviderSpec,
    settings: &Settings,
    news: mpsc::Sender<News>,
) -> Result<Running, StartFailure> {
    let executable = match &spec.program {
        Some(program) => program::prepare(here, key, program, spec.limits).await?,
        None => {
            let kind = catalog::find(&spec.kind).ok_or_else(|| StartFailure::Unknown(spec.kind.clone()))?;
            Executable::known(here, spec, kind.interfaces())?
        }
    };
    let serves = executable.serves.clone();
    let Started { process, health, speaks } =
        Process::start(here, key, instance, settings, executable, news.clone()).await?;
    let watching = CancellationToken::new();
    tokio::spawn(forward(key.clone(), health, settings.veil.clone(), news, watching.clone()));
    Ok(Running { what: Kind::Process(process), serving: None, serves, speaks, watching })
}

/// Tells the agent an instance's health, when it is not ready from the beginning, and each change of it.
async fn forward(
    key: Key,
    mut health: watch::Receiver<Health>,
    veil: Veil,
    news: mpsc::Sender<News>,
    stop: CancellationToken,
) {
    let mut told = Health::Ready;
    loop {
        let newest = match health.borrow_and_update().clone() {
            Health::Degraded(reason) => Health::Degraded(veil.over(reason)),
            Health::Ready => Health::Ready,
        };
        if newest != told && news.send(News::Health(key.clone(), newest.clone())).await.is_err() {
            return;
        }
        told = newest;
        tokio::select! {
            changed = health.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}
