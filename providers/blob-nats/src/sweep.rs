//! Removes what writers have left that were killed: chunks of versions that are of no object.
//!
//! A version that is being written is of no object either, until all of it is there. So what is removed has been of none at two looks,
//! and has not grown between them; nobody's clock is asked. Chunks of other clients of NATS are left to them.

use std::{collections::HashMap, time::Duration};

use async_nats::jetstream::object_store::ObjectInfo;
use futures_util::TryStreamExt;
use lattice_provider::blobstore::BlobError;
use tokio_util::task::AbortOnDropHandle;
use uuid::{Uuid, Version};

use crate::{
    container::{Buckets, Container, failed},
    listing, names,
};

/// Between two looks. No writer is silent for so long and goes on.
const LOOK: Duration = Duration::from_secs(3600);

/// Looks again and again until what is returned is dropped.
pub(crate) fn begin(buckets: Buckets) -> AbortOnDropHandle<()> {
    let mut sweeper = Sweeper { buckets, before: HashMap::new() };
    AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LOOK).await;
            sweeper.look().await;
        }
    }))
}

struct Sweeper {
    buckets: Buckets,
    /// The chunks of each version that was of no object at the last look, by bucket and version.
    before: HashMap<(String, String), usize>,
}

impl Sweeper {
    /// Removes what was of no object before and is of none now; how many versions that were. What fails is for the next look.
    async fn look(&mut self) -> usize {
        let (mut now, mut removed) = (HashMap::new(), 0);
        let containers = self.buckets.all().await.unwrap_or_else(|error| {
            tracing::warn!(%error, "chunks that nobody needs cannot be looked for");
            Vec::new()
        });
        for container in containers {
            match self.look_at(&container, &mut now).await {
                Ok(gone) => removed += gone,
                // It may just have been deleted.
                Err(error) => tracing::debug!(bucket = container.bucket, %error, "not looked through"),
            }
        }
        self.before = now;
        removed
    }

    async fn look_at(
        &self,
        container: &Container,
        now: &mut HashMap<(String, String), usize>,
    ) -> Result<usize, BlobError> {
        let mut removed = 0;
        for (version, chunks) in unneeded(container).await? {
            let of = (container.bucket.clone(), version);
            if self.before.get(&of) == Some(&chunks) {
                container.forget(&of.1).await?;
                tracing::info!(
                    bucket = of.0,
                    version = of.1,
                    chunks,
                    "removed what a writer has left that did not come to its end"
                );
                removed += 1;
            } else {
                now.insert(of, chunks);
            }
        }
        Ok(removed)
    }
}

/// The versions of our making that no description names, and how many chunks they have.
async fn unneeded(container: &Container) -> Result<HashMap<String, usize>, BlobError> {
    // Chunks first: what is described meanwhile is seen below.
    let asked = container.stream.info_with_subjects(names::all_chunks(&container.bucket));
    let mut subjects = container.ask(asked).await?.map_err(|error| failed(&error))?;
    let mut versions = HashMap::new();
    while let Some((subject, chunks)) = container.ask(subjects.try_next()).await?.map_err(|error| failed(&error))? {
        if let Some(version) = names::version(&subject).filter(|version| is_ours(version)) {
            versions.insert(version.to_owned(), chunks);
        }
    }
    if !versions.is_empty() {
        listing::walk(container, 1, |_, text| {
            if let Ok(info) = serde_json::from_slice::<ObjectInfo>(text) {
                versions.remove(&info.nuid);
            }
            // One that is left must be looked for to the end.
            !versions.is_empty()
        })
        .await?;
    }
    Ok(versions)
}

/// Whether `upload` has made it up.
fn is_ours(version: &str) -> bool {
    Uuid::try_parse(version).is_ok_and(|id| id.get_version() == Some(Version::SortRand))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]
mod tests {
    use bytes::Bytes;
    use lattice::bus::{Bus, NatsOptions};
    use lattice_provider::conformance::servers::NatsServer;
    use lattice_provider_jetstream::JetStream;

    use super::*;
    use crate::{TIMEOUT, upload};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_killed_writers_have_left_is_removed_and_nothing_else() {
        let server = NatsServer::start().unwrap();
        let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
        let bus = Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap();
        let buckets = Buckets::new(JetStream::new(&bus, TIMEOUT).unwrap(), "shop-".to_owned(), 1);
        buckets.create("c").await.unwrap();
        let container = buckets.container("c").await.unwrap();
        upload::upload(&container, "kept", Bytes::from(vec![7; 300_000]).into()).await.unwrap();
        let kept = container.found("kept").await.unwrap().unwrap().info.nuid;
        let chunk = async |version: &str| {
            let sent = container.jetstream.context.publish(names::chunks(&container.bucket, version), "x".into());
            sent.await.unwrap().await.unwrap();
        };
        let version = || Uuid::now_v7().simple().to_string();
        let (dead, slow, foreign) = (version(), version(), "Z7nuidOfAnotherClient2".to_owned());
        for version in [&dead, &dead, &slow, &foreign] {
            chunk(version).await;
        }
        let left = async || {
            let asked = container.stream.info_with_subjects(names::all_chunks(&container.bucket)).await.unwrap();
            let all: Vec<_> = asked.try_collect().await.unwrap();
            let mut all: Vec<_> = all.iter().map(|(subject, _)| names::version(subject).unwrap().to_owned()).collect();
            all.sort();
            all
        };
        let sorted = |mut all: Vec<String>| {
            all.sort();
            all
        };
        let mut sweeper = Sweeper { buckets: buckets.clone(), before: HashMap::new() };
        assert_eq!(sweeper.look().await, 0, "each may be under way");
        chunk(&slow).await;
        assert_eq!(sweeper.look().await, 1);
        assert_eq!(left().await, sorted(vec![kept.clone(), slow.clone(), foreign.clone()]));
        assert_eq!(sweeper.look().await, 1, "it has come to a halt, too");
        assert_eq!(sweeper.look().await, 0);
        assert_eq!(left().await, sorted(vec![kept, foreign]));
        // Of those that are somebody else's nothing is seen.
        let others = Buckets::new(JetStream::new(&bus, TIMEOUT).unwrap(), "shoe-".to_owned(), 1);
        assert!(others.all().await.unwrap().is_empty());
    }
}
