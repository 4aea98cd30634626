//! The providers that are part of the host's own program.

use lattice::{
    model::{
        app::ProviderSpec, catalog::HTTP_SERVER, messages::SubscriptionSpec, schedule::ScheduleSpec, watch::WatchSpec,
    },
    wire::{LatticeName, UnitId},
};
use lattice_provider::{
    Capability, Health, HealthReporter, NatsUse, Provider, StartContext, Work, check_config, checked_config,
    keyvalue::Watch,
    messaging::{HandlerRemote, Subscription},
    parse_config,
    schedule::Schedule,
};
use lattice_provider_blob::{Azure, Gcs, Memory as BlobMemory, S3};
use lattice_provider_blob_fs::Files;
use lattice_provider_blob_nats::NatsObjects;
use lattice_provider_cron::CronProvider;
use lattice_provider_http_client::HttpClientProvider;
use lattice_provider_http_server::Config as ServerConfig;
use lattice_provider_keyvalue_memory::Memory;
use lattice_provider_keyvalue_nats::Nats;
use lattice_provider_keyvalue_postgres::PostgresKeyValue;
use lattice_provider_keyvalue_redb::Redb;
use lattice_provider_keyvalue_redis::Redis;
use lattice_provider_messaging_nats::Messaging;
use lattice_provider_postgres::Postgres;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{diff::Key, start::StartFailure, surroundings::Surroundings};
use crate::{links, secrets::Settings};

/// What it answers, how it is, and what it does by itself.
type Started = (Capability, watch::Receiver<Health>, Work);

/// Does `$work` with `$P` as the type of the provider of this name; `None` when there is none.
macro_rules! with_kind {
    ($kind:expr, $P:ident => $work:expr) => {
        with_kind!(@ $kind, $P => $work, HttpClientProvider, Memory, Redb, Nats, Redis,
            PostgresKeyValue, Files, BlobMemory, S3, Azure, Gcs, NatsObjects,
            Postgres, CronProvider, Messaging)
    };
    (@ $kind:expr, $P:ident => $work:expr, $($provider:ident),*) => {
        match $kind {
            $($provider::KIND => {
                type $P = $provider;
                Some($work)
            })*
            _ => None,
        }
    };
}

/// Starts the provider that `spec` names, inside this process.
pub(super) async fn start(
    here: &Surroundings,
    key: &Key,
    spec: &ProviderSpec,
    settings: &Settings,
) -> Result<Started, StartFailure> {
    let started = with_kind!(spec.kind.as_str(), P => start_one::<P>(here, key, spec, settings).await);
    started.unwrap_or_else(|| Err(StartFailure::Unknown(spec.kind.clone())))
}

/// What is wrong with the settings of a provider, as far as it can be told without starting it.
pub(super) fn check(kind: &str, config: &Map<String, Value>, unit: &UnitId) -> Result<(), String> {
    if kind == HTTP_SERVER {
        return ServerConfig::parse(config).map(drop).map_err(|error| error.reason());
    }
    with_kind!(kind, P => check_config::<P>(config, unit)).unwrap_or(Ok(()))
}

/// What a process of this kind does in NATS; nothing where its settings make no sense, which it says itself when it is started.
pub(super) fn nats_use(kind: &str, config: &Map<String, Value>, lattice: &LatticeName, unit: &UnitId) -> NatsUse {
    let uses = with_kind!(kind, P => {
        parse_config::<P>(config).map(|config| P::nats_use(&config, lattice, unit)).unwrap_or_default()
    });
    uses.unwrap_or_default()
}

async fn start_one<P: Provider>(
    here: &Surroundings,
    key: &Key,
    spec: &ProviderSpec,
    settings: &Settings,
) -> Result<Started, StartFailure> {
    let failed = |source| StartFailure::Provider { kind: P::KIND.to_owned(), source };
    let config = checked_config::<P>(&settings.config, &key.unit).map_err(failed)?;
    let (health, healths) = HealthReporter::new();
    let subscription = |spec: &SubscriptionSpec| Subscription {
        spec: spec.clone(),
        to: HandlerRemote(links::subscriber(&here.bus, &here.router, &key.unit, spec)),
    };
    let schedule = |spec: &ScheduleSpec| Schedule {
        spec: spec.clone(),
        to: links::scheduled(&here.bus, &here.router, &key.unit, spec),
    };
    let watch =
        |spec: &WatchSpec| Watch { spec: spec.clone(), to: links::watcher(&here.bus, &here.router, &key.unit, spec) };
    let work = Work::default();
    let context = StartContext {
        unit: key.unit.clone(),
        data_dir: here.provider_data(),
        bus: here.bus.clone(),
        health,
        subscriptions: spec.subscriptions.iter().map(subscription).collect(),
        schedules: spec.schedules.iter().map(schedule).collect(),
        watches: spec.watches.iter().map(watch).collect(),
        work: work.clone(),
    };
    let capability = P::start(context, config).await.map_err(failed)?;
    Ok((capability, healths, work))
}

impl Surroundings {
    /// The folder in which providers of this host keep their files.
    pub(super) fn provider_data(&self) -> std::path::PathBuf {
        self.data.join("providers")
    }
}
