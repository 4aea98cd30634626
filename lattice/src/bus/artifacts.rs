//! Artifacts by digest, so that every host can get what one user has on disk.

use std::{collections::HashMap, sync::Arc};

use async_nats::jetstream::object_store::{InfoErrorKind, ObjectMetadata, ObjectStore};
use bytes::Bytes;
use tokio::{io::AsyncReadExt, sync::watch};

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

/// The artifact store of one lattice.
#[derive(Clone)]
pub struct Artifacts(Place);

#[derive(Clone)]
enum Place {
    Nats {
        store: Box<ObjectStore>,
        chunk: usize,
    },
    /// A watch channel serves as a cell that many hold and one at a time changes.
    Memory(Arc<watch::Sender<HashMap<Digest, Bytes>>>),
}

fn unavailable(error: impl std::fmt::Display) -> ArtifactError {
    ArtifactError::Unavailable(error.to_string())
}

impl Artifacts {
    /// Artifacts in NATS, in pieces of at most `chunk` bytes: what a message of this server carries.
    pub(super) fn nats(store: ObjectStore, chunk: usize) -> Self {
        Self(Place::Nats { store: Box::new(store), chunk })
    }

    pub(super) fn memory() -> Self {
        Self(Place::Memory(Arc::new(watch::channel(HashMap::new()).0)))
    }

    pub async fn has(&self, digest: &Digest) -> Result<bool, ArtifactError> {
        match &self.0 {
            Place::Nats { store, .. } => match store.info(digest.hex()).await {
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
            Place::Nats { store, chunk } => {
                let name = digest.hex().to_owned();
                let object = ObjectMetadata { name, chunk_size: Some(*chunk), ..ObjectMetadata::default() };
                store.put(object, &mut &bytes[..]).await.map_err(unavailable)?;
            }
            Place::Memory(map) => map.send_modify(|map| drop(map.insert(digest.clone(), bytes.clone()))),
        }
        Ok(digest)
    }

    /// The bytes of `digest`, verified.
    pub async fn get(&self, digest: &Digest) -> Result<Bytes, ArtifactError> {
        if !self.has(digest).await? {
            return Err(ArtifactError::Missing(digest.clone()));
        }
        let bytes = match &self.0 {
            Place::Nats { store, .. } => {
                let object = store.get(digest.hex()).await.map_err(unavailable)?;
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
