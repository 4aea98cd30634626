//! What the instances of a host have in common, and whether the disk has what they need.

use std::{path::PathBuf, sync::Arc};

use lattice::{
    bus::Bus,
    model::{app::UnitSpec, assignment::Assignment},
    wire::HostId,
};
use lattice_provider_http_server::HttpServers;

use super::access::Access;
use crate::{
    journal::Shelf,
    links::Router,
    metrics::Metrics,
    quotas::Quotas,
    runtime::{ArtifactCache, Runtime},
    secrets::Secrets,
    trust::Trust,
};

/// What every instance of this host is started with.
pub(crate) struct Surroundings {
    pub(crate) host: HostId,
    pub(crate) bus: Bus,
    pub(crate) access: Access,
    pub(crate) data: PathBuf,
    /// Where the executables of providers lie.
    pub(crate) providers: PathBuf,
    /// Whether it runs programs of users.
    pub(crate) programs: bool,
    pub(crate) trust: Trust,
    pub(crate) quotas: Quotas,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) runtime: Runtime,
    pub(crate) cache: ArtifactCache,
    pub(crate) router: Arc<Router>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) servers: HttpServers,
}

impl Shelf for Arc<Surroundings> {
    async fn missing(&self, assignment: &Assignment, fetch: bool) -> Option<String> {
        let mut missing = None;
        for spec in assignment.units.values().map(|record| &record.spec) {
            let artifacts = spec.artifacts();
            if fetch && let Err(error) = self.trust.check(&self.bus, &artifacts).await {
                tracing::debug!(%error, "a signature cannot be kept");
            }
            if !self.trust.knows(&artifacts) {
                missing.get_or_insert_with(|| "a signature is not on the disk".to_owned());
            }
            // A program does not start at all when it cannot be kept.
            for digest in artifacts.iter().filter(|_| matches!(spec, UnitSpec::Component(_))) {
                if fetch
                    && !self.cache.has(digest).await
                    && let Err(error) = self.cache.fetch(digest, self.bus.artifacts()).await
                {
                    tracing::debug!(%digest, %error, "an artifact cannot be fetched");
                }
                if !self.cache.has(digest).await {
                    missing.get_or_insert_with(|| format!("the artifact {digest} is not on the disk"));
                }
            }
        }
        missing
    }

    fn hear(&self, problem: Option<String>) {
        self.metrics.keeps(problem);
    }
}
