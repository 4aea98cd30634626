//! Artifacts and compiled code on disk, by digest. What is on disk is verified before it is used: a damaged entry is
//! fetched or compiled again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use lattice::{
    bus::{ArtifactError, Artifacts},
    model::app::{ComponentSpec, LinkSpec, fused_parts},
    wire::{Digest, Interface},
};
use tokio::sync::Semaphore;
use wasmtime::{Engine, component::Component};

use super::{
    component::Runtime,
    engine::{EngineError, EngineKind},
    fuse::{FuseError, Part, compose},
    needs::engine_for,
};
use crate::files::{OWN, keep, write_whole};

/// Why there is no compiled component.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Fuse(FuseError),
    #[error("artifact {digest} cannot be compiled: {reason}")]
    Compile { digest: Digest, reason: String },
    #[error("compiling artifact {0} was interrupted")]
    Interrupted(Digest),
}

/// The cache folder of one host.
#[derive(Clone)]
pub struct ArtifactCache {
    artifacts: PathBuf,
    /// Code for the engine of each kind, in folders of their own: neither can be taken for the other's.
    plain: PathBuf,
    concurrent: PathBuf,
    runtime: Runtime,
    /// One compilation at a time: each uses all cores, and some hundred megabytes for a large component.
    compiling: Arc<Semaphore>,
}

impl ArtifactCache {
    /// Opens the cache below `data`. The folders are for this user alone: compiled code is run as it is.
    pub fn open(data: &Path, runtime: &Runtime) -> std::io::Result<Self> {
        // Code from another wasmtime, other settings or another CPU type must not be mistaken for ours. The second
        // engine is not there yet, but it differs from the first one in the same way in all of this program's runs.
        let mut hasher = DefaultHasher::new();
        runtime.engine().precompile_compatibility_hash().hash(&mut hasher);
        let hash = format!("{:016x}", hasher.finish());
        let compiled = data.join("compiled");
        let cache = Self {
            artifacts: data.join("artifacts"),
            concurrent: compiled.join(format!("{hash}-concurrent")),
            plain: compiled.join(hash),
            runtime: runtime.clone(),
            compiling: Arc::new(Semaphore::new(1)),
        };
        for folder in [&cache.artifacts, &cache.plain, &cache.concurrent] {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
        }
        Ok(cache)
    }

    /// The compiled component of `digest`: from disk, or compiled from the artifact on disk or in the lattice.
    pub async fn load(&self, digest: &Digest, lattice: &Artifacts) -> Result<Component, LoadError> {
        if let Some(component) = self.compiled(digest).await? {
            return Ok(component);
        }
        let bytes = self.bytes(digest, lattice).await?;
        self.compile_new(digest, bytes).await
    }

    /// What is compiled already.
    async fn compiled(&self, digest: &Digest) -> Result<Option<Component>, LoadError> {
        for kind in [EngineKind::Plain, EngineKind::Concurrent] {
            if self.compiled_paths(kind, digest).0.exists() {
                let engine = self.runtime.engine_of(kind).await?;
                let read = self.blocking(digest, move |cache, digest| Ok(cache.read_compiled(kind, &engine, &digest)));
                if let Some(component) = read.await? {
                    return Ok(Some(component));
                }
            }
        }
        Ok(None)
    }

    async fn compile_new(&self, digest: &Digest, bytes: Bytes) -> Result<Component, LoadError> {
        let _turn = self.compiling.acquire().await.map_err(|_| LoadError::Interrupted(digest.clone()))?;
        let kind = self.blocking(digest, {
            let bytes = bytes.clone();
            move |_, _| Ok(engine_for(&bytes))
        });
        let kind = kind.await?;
        let engine = self.runtime.engine_of(kind).await?;
        self.blocking(digest, move |cache, digest| cache.compile(kind, &engine, &digest, &bytes)).await
    }

    /// The compiled component that `spec` makes together with its fused parts.
    pub async fn load_spec(&self, spec: &ComponentSpec, lattice: &Artifacts) -> Result<Component, LoadError> {
        if spec.links.iter().all(|link| link.fused.is_none()) {
            return self.load(&spec.digest, lattice).await;
        }
        // Compiled code is kept by what it was composed of, so that a start finds it without composing anew.
        let key = Digest::of(&composition(&spec.digest, &spec.imports, &spec.links));
        if let Some(component) = self.compiled(&key).await? {
            return Ok(component);
        }
        let whole = self.whole(&spec.digest, &spec.imports, &spec.links, lattice).await?;
        self.compile_new(&key, whole.into()).await
    }

    /// The bytes of a component with its fused parts in it.
    fn whole<'a>(
        &'a self,
        digest: &'a Digest,
        imports: &'a [Interface],
        links: &'a [LinkSpec],
        lattice: &'a Artifacts,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, LoadError>> + Send + 'a>> {
        Box::pin(async move {
            let mut parts = Vec::new();
            for (fused, interfaces) in fused_parts(imports, links).into_values() {
                let bytes = self.whole(&fused.digest, &fused.imports, &fused.links, lattice).await?;
                parts.push(Part { bytes, interfaces: interfaces.into_iter().cloned().collect() });
            }
            let bytes = self.bytes(digest, lattice).await?.to_vec();
            if parts.is_empty() {
                return Ok(bytes);
            }
            let fuse = move |_, _| compose(bytes, parts).map_err(LoadError::Fuse);
            self.blocking(digest, fuse).await
        })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        digest: &Digest,
        work: impl FnOnce(Self, Digest) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<T, LoadError> {
        let (cache, id) = (self.clone(), digest.clone());
        tokio::task::spawn_blocking(move || work(cache, id))
            .await
            .map_err(|_| LoadError::Interrupted(digest.clone()))?
    }

    async fn bytes(&self, digest: &Digest, lattice: &Artifacts) -> Result<Bytes, LoadError> {
        let path = self.artifact(digest);
        if let Ok(bytes) = tokio::fs::read(&path).await {
            if Digest::of(&bytes) == *digest {
                return Ok(bytes.into());
            }
            tracing::warn!(%digest, path = %path.display(), "an artifact on disk is damaged; fetching it again");
        }
        let bytes = lattice.get(digest).await?;
        if let Err(error) = keep(path.clone(), bytes.clone(), OWN).await {
            tracing::warn!(%error, path = %path.display(), "cannot keep an artifact on disk");
        }
        Ok(bytes)
    }

    fn artifact(&self, digest: &Digest) -> PathBuf {
        self.artifacts.join(format!("{}.wasm", digest.hex()))
    }

    /// Whether an artifact lies on disk.
    pub(crate) async fn has(&self, digest: &Digest) -> bool {
        tokio::fs::try_exists(self.artifact(digest)).await.unwrap_or(false)
    }

    /// Tries again to have an artifact on disk, which could not be kept there when it was needed.
    pub(crate) async fn fetch(&self, digest: &Digest, lattice: &Artifacts) -> Result<(), LoadError> {
        self.bytes(digest, lattice).await.map(drop)
    }

    fn compile(
        &self,
        kind: EngineKind,
        engine: &Engine,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<Component, LoadError> {
        let failed =
            |error: wasmtime::Error| LoadError::Compile { digest: digest.clone(), reason: format!("{error:#}") };
        let started = std::time::Instant::now();
        let component = Component::new(engine, bytes).map_err(failed)?;
        tracing::info!(%digest, size = bytes.len(), took = ?started.elapsed(), "compiled");
        let kept = component.serialize().map_err(failed).map(|code| self.write_compiled(kind, digest, &code));
        match kept {
            // Mapped from the file its pages can be dropped and shared; the freshly compiled copy cannot.
            Ok(Ok(())) => Ok(self.read_compiled(kind, engine, digest).unwrap_or(component)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot keep compiled code on disk");
                Ok(component)
            }
            Err(error) => Err(error),
        }
    }

    fn compiled_paths(&self, kind: EngineKind, digest: &Digest) -> (PathBuf, PathBuf) {
        let folder = match kind {
            EngineKind::Plain => &self.plain,
            EngineKind::Concurrent => &self.concurrent,
        };
        (folder.join(format!("{}.code", digest.hex())), folder.join(format!("{}.sum", digest.hex())))
    }

    fn write_compiled(&self, kind: EngineKind, digest: &Digest, code: &[u8]) -> std::io::Result<()> {
        let (code_path, sum_path) = self.compiled_paths(kind, digest);
        write_whole(&code_path, code, OWN)?;
        write_whole(&sum_path, Digest::of(code).as_str().as_bytes(), OWN)
    }

    fn read_compiled(&self, kind: EngineKind, engine: &Engine, digest: &Digest) -> Option<Component> {
        let (code_path, sum_path) = self.compiled_paths(kind, digest);
        let expected = std::fs::read_to_string(&sum_path).ok()?;
        let code = std::fs::read(&code_path).ok()?;
        if Digest::of(&code).as_str() != expected {
            tracing::warn!(%digest, path = %code_path.display(), "compiled code on disk is damaged; compiling again");
            return None;
        }
        // SAFETY: the file was written by this program for this engine configuration (its hash is in the path), lies
        // in a folder that only this user can write to, and has the checksum of what was written.
        #[expect(unsafe_code, reason = "wasmtime trusts compiled code; see the comment above")]
        let component = unsafe { Component::deserialize_file(engine, &code_path) };
        component
            .map_err(|error| tracing::warn!(%digest, %error, "compiled code on disk cannot be used; compiling again"))
            .ok()
    }
}

/// What a composition is made of, as bytes to take a digest of.
fn composition(digest: &Digest, imports: &[Interface], links: &[LinkSpec]) -> Vec<u8> {
    let mut all = format!("{digest}(").into_bytes();
    for (to, (fused, interfaces)) in fused_parts(imports, links) {
        for interface in interfaces {
            all.extend(format!("{interface},").bytes());
        }
        all.extend(format!("={to}:").bytes());
        all.extend(composition(&fused.digest, &fused.imports, &fused.links));
    }
    all.push(b')');
    all
}
