//! The providers that are part of the host's own program.

use lattice::model::{app::ProviderSpec, messages::SubscriptionSpec, schedule::ScheduleSpec};
use lattice_provider::{
    Capability, Health, HealthReporter, Provider, StartContext, Work,
    messaging::{HandlerRemote, Subscription},
    parse_config,
    schedule::Schedule,
};
use lattice_provider_blob::{Azure, Gcs, Memory as BlobMemory, S3};
use lattice_provider_blob_fs::Files;
use lattice_provider_cron::CronProvider;
use lattice_provider_http_client::HttpClientProvider;
use lattice_provider_keyvalue_memory::Memory;
use lattice_provider_keyvalue_nats::Nats;
use lattice_provider_keyvalue_redb::Redb;
use lattice_provider_keyvalue_redis::Redis;
use lattice_provider_messaging_nats::Messaging;
use lattice_provider_postgres::Postgres;
use tokio::sync::watch;

use super::{
    diff::Key,
    start::{StartFailure, Surroundings},
};
use crate::{links, secrets::Settings};

/// What it answers, how it is, and what it does by itself.
type Started = (Capability, watch::Receiver<Health>, Work);

/// Starts the provider that `spec` names, inside this process.
pub(super) async fn start(
    here: &Surroundings,
    key: &Key,
    spec: &ProviderSpec,
    settings: &Settings,
) -> Result<Started, StartFailure> {
    match spec.kind.as_str() {
        HttpClientProvider::KIND => start_one::<HttpClientProvider>(here, key, spec, settings).await,
        Memory::KIND => start_one::<Memory>(here, key, spec, settings).await,
        Redb::KIND => start_one::<Redb>(here, key, spec, settings).await,
        Nats::KIND => start_one::<Nats>(here, key, spec, settings).await,
        Redis::KIND => start_one::<Redis>(here, key, spec, settings).await,
        Files::KIND => start_one::<Files>(here, key, spec, settings).await,
        BlobMemory::KIND => start_one::<BlobMemory>(here, key, spec, settings).await,
        S3::KIND => start_one::<S3>(here, key, spec, settings).await,
        Azure::KIND => start_one::<Azure>(here, key, spec, settings).await,
        Gcs::KIND => start_one::<Gcs>(here, key, spec, settings).await,
        Postgres::KIND => start_one::<Postgres>(here, key, spec, settings).await,
        CronProvider::KIND => start_one::<CronProvider>(here, key, spec, settings).await,
        Messaging::KIND => start_one::<Messaging>(here, key, spec, settings).await,
        other => Err(StartFailure::Unknown(other.to_owned())),
    }
}

async fn start_one<P: Provider>(
    here: &Surroundings,
    key: &Key,
    spec: &ProviderSpec,
    settings: &Settings,
) -> Result<Started, StartFailure> {
    let failed = |source| StartFailure::Provider { kind: P::KIND.to_owned(), source };
    let config = parse_config::<P>(&settings.config).map_err(failed)?;
    let (health, healths) = HealthReporter::new();
    let subscription = |spec: &SubscriptionSpec| Subscription {
        spec: spec.clone(),
        to: HandlerRemote(links::subscriber(&here.bus, &here.router, &key.unit, spec)),
    };
    let schedule = |spec: &ScheduleSpec| Schedule {
        spec: spec.clone(),
        to: links::scheduled(&here.bus, &here.router, &key.unit, spec),
    };
    let work = Work::default();
    let context = StartContext {
        unit: key.unit.clone(),
        data_dir: here.provider_data(),
        bus: here.bus.clone(),
        health,
        subscriptions: spec.subscriptions.iter().map(subscription).collect(),
        schedules: spec.schedules.iter().map(schedule).collect(),
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
