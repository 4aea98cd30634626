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
    pub(crate) runtime: Runtime,
    pub(crate) cache: ArtifactCache,
    pub(crate) router: Arc<Router>,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) servers: HttpServers,
}

impl Shelf for Arc<Surroundings> {
    async fn is_complete(&self, assignment: &Assignment, fetch: bool) -> bool {
        let mut complete = true;
        for spec in assignment.units.values().map(|record| &record.spec) {
            let artifacts = spec.artifacts();
            if fetch && let Err(error) = self.trust.check(&self.bus, &artifacts).await {
                tracing::debug!(%error, "a signature cannot be kept");
            }
            complete &= self.trust.knows(&artifacts);
            // A program does not start at all when it cannot be kept.
            for digest in artifacts.iter().filter(|_| matches!(spec, UnitSpec::Component(_))) {
                if fetch
                    && !self.cache.has(digest).await
                    && let Err(error) = self.cache.fetch(digest, self.bus.artifacts()).await
                {
                    tracing::debug!(%digest, %error, "an artifact cannot be fetched");
                }
                complete &= self.cache.has(digest).await;
            }
        }
        complete
    }
}
