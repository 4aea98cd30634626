//! The providers that are part of the host's own program.

use lattice::model::{app::ProviderSpec, messages::SubscriptionSpec};
use lattice_provider::{
    Capability, Health, HealthReporter, Provider, StartContext,
    messaging::{HandlerRemote, Subscription, Subscriptions, Work},
    parse_config,
};
use lattice_provider_blob::{Azure, Gcs, Memory as BlobMemory, S3};
use lattice_provider_blob_fs::Files;
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
use crate::links;

/// What it answers, how it is, and what it does for its subscriptions.
type Started = (Capability, watch::Receiver<Health>, Work);

/// Starts the provider that `spec` names, inside this process.
pub(super) async fn start(here: &Surroundings, key: &Key, spec: &ProviderSpec) -> Result<Started, StartFailure> {
    match spec.kind.as_str() {
        HttpClientProvider::KIND => start_one::<HttpClientProvider>(here, key, spec).await,
        Memory::KIND => start_one::<Memory>(here, key, spec).await,
        Redb::KIND => start_one::<Redb>(here, key, spec).await,
        Nats::KIND => start_one::<Nats>(here, key, spec).await,
        Redis::KIND => start_one::<Redis>(here, key, spec).await,
        Files::KIND => start_one::<Files>(here, key, spec).await,
        BlobMemory::KIND => start_one::<BlobMemory>(here, key, spec).await,
        S3::KIND => start_one::<S3>(here, key, spec).await,
        Azure::KIND => start_one::<Azure>(here, key, spec).await,
        Gcs::KIND => start_one::<Gcs>(here, key, spec).await,
        Postgres::KIND => start_one::<Postgres>(here, key, spec).await,
        Messaging::KIND => start_one::<Messaging>(here, key, spec).await,
        other => Err(StartFailure::Unknown(other.to_owned())),
    }
}

async fn start_one<P: Provider>(here: &Surroundings, key: &Key, spec: &ProviderSpec) -> Result<Started, StartFailure> {
    let failed = |source| StartFailure::Provider { kind: P::KIND.to_owned(), source };
    let config = parse_config::<P>(&spec.config).map_err(failed)?;
    let (health, healths) = HealthReporter::new();
    let subscription = |spec: &SubscriptionSpec| Subscription {
        spec: spec.clone(),
        to: HandlerRemote(links::subscriber(&here.bus, &here.router, &key.unit, spec)),
    };
    let all = spec.subscriptions.iter().map(subscription).collect();
    let work = Work::default();
    let context = StartContext {
        unit: key.unit.clone(),
        data_dir: here.provider_data(),
        bus: here.bus.clone(),
        health,
        subscriptions: Subscriptions { all, work: work.clone() },
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
