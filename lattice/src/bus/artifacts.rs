//! Artifacts by digest, so that every host can get what one user has on disk.

use std::{collections::HashMap, sync::Arc};

use async_nats::jetstream::object_store::{DeleteErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{io::AsyncReadExt, sync::watch};

use super::buckets::Buckets;
use crate::wire::Digest;

/// The largest artifact, in bytes.
pub const MAX_ARTIFACT: usize = 256 << 20;

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the lattice has no artifact {0}; apply the manifest again from where its file is")]
    Missing(Digest),
    #[error("artifact {digest} is damaged: its bytes have the digest {found}")]
    Damaged { digest: Digest, found: Digest },
    #[error("an artifact of {size} bytes is over the limit of {limit} bytes", limit = MAX_ARTIFACT)]
    TooLarge { size: usize },
    #[error("the lattice's artifact store does not answer: {0}")]
    Unavailable(String),
}

/// An artifact that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub bytes: u64,
    /// When it was stored, in milliseconds since 1970, where that is known.
    pub at_ms: Option<u64>,
}

/// The artifact store of one lattice.
#[derive(Clone)]
pub struct Artifacts(Place);

#[derive(Clone)]
enum Place {
    Nats(Arc<Buckets>),
    /// A watch channel serves as a cell that many hold and one at a time changes.
    Memory(Arc<watch::Sender<HashMap<Digest, Bytes>>>),
}

fn unavailable(error: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Unavailable(error.to_string())
}

async fn opened(buckets: &Buckets) -> Result<&ObjectStore, ArtifactError> {
    buckets.opened().await.map(|open| &open.artifacts).map_err(ArtifactError::Unavailable)
}

impl Artifacts {
    pub(super) fn nats(buckets: Arc<Buckets>) -> Self {
        Self(Place::Nats(buckets))
    }

    pub(super) fn memory() -> Self {
        Self(Place::Memory(Arc::new(watch::channel(HashMap::new()).0)))
    }

    pub async fn has(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        match &self.0 {
            Place::Nats(buckets) => match opened(buckets).await?.info(digest.hex()).await {
                Ok(info) => Ok(!info.deleted),
                Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
                Err(error) => Err(unavailable(error)),
            },
            Place::Memory(map) => Ok(map.borrow().contains_key(digest)),
        }
    }

    /// Stores `bytes` unless they are there; returns their digest.
    pub async fn put(&self, bytes: &Bytes) -> Result<Digest, ArtifactError> {
        if bytes.len() > MAX_ARTIFACT {
            return Err(ArtifactError::TooLarge { size: bytes.len() });
        }
        let digest = Digest::of(bytes);
        if self.has(&digest).await? {
            return Ok(digest);
        }
        match &self.0 {
            Place::Nats(buckets) => {
                let name = digest.hex().to_owned();
                let object = ObjectMetadata { name, chunk_size: Some(buckets.chunk()), ..ObjectMetadata::default() };
                opened(buckets).await?.put(object, &mut &bytes[..]).await.map_err(unavailable)?;
            }
            Place::Memory(map) => map.send_modify(|map| drop(map.insert(digest.clone(), bytes.clone()))),
        }
        Ok(digest)
    }

    /// All that are there, in the order of their digests.
    pub async fn list(&self) -> Result<Vec<Stored>, ArtifactError> {
        let mut all = Vec::new();
        match &self.0 {
            Place::Nats(buckets) => {
                let mut objects = opened(buckets).await?.list().await.map_err(unavailable)?;
                while let Some(object) = objects.next().await {
                    let object = object.map_err(unavailable)?;
                    let Ok(digest) = format!("sha256:{}", object.name).parse() else { continue };
                    let at = object.modified.map(|at| at.unix_timestamp_nanos() / 1_000_000);
                    let at_ms = at.and_then(|ms| u64::try_from(ms).ok());
                    all.push(Stored { digest, bytes: object.size as u64, at_ms });
                }
            }
            Place::Memory(map) => {
                let stored = |(digest, bytes): (&Digest, &Bytes)| Stored {
                    digest: digest.clone(),
                    bytes: bytes.len() as u64,
                    at_ms: None,
                };
                all.extend(map.borrow().iter().map(stored));
            }
        }
        all.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(all)
    }

    /// Removes one that nobody needs any more.
    pub async fn delete(&self, digest: &Digest) -> Result<(), ArtifactError> {
        match &self.0 {
            Place::Nats(buckets) => match opened(buckets).await?.delete(digest.hex()).await {
                Err(error) if error.kind() != DeleteErrorKind::NotFound => Err(unavailable(error)),
                _ => Ok(()),
            },
            Place::Memory(map) => {
                map.send_modify(|map| drop(map.remove(digest)));
                Ok(())
            }
        }
    }

    /// The bytes of `digest`, verified.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, ArtifactError> {
        if !self.has(digest).await? {
            return Err(ArtifactError::Missing(digest.clone()));
        }
        let bytes = match &self.0 {
            Place::Nats(buckets) => {
                let object = opened(buckets).await?.get(digest.hex()).await.map_err(unavailable)?;
                let mut bytes = Vec::new();
                object.take(MAX_ARTIFACT as u64 + 1).read_to_end(&mut bytes).await.map_err(unavailable)?;
                Bytes::from(bytes)
            }
            Place::Memory(map) => map.borrow().get(digest).cloned().unwrap_or_default(),
        };
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(ArtifactError::Damaged { digest: digest.clone(), found }),
        }
    }
}
