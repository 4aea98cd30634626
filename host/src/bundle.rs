//! A host with a bundle and no lattice: the lattice is inside the process, and has what is in the bundle.

use std::{collections::BTreeSet, fs::File, io::BufReader, path::Path};

use lattice::{
    bus::{Bus, MAX_ARTIFACT},
    model::offline::{Bundle, BundleError, read},
    wire::Digest,
};

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the bundle {file} {source}")]
    File { file: String, source: BundleError },
    #[error(
        "the bundle {0} is signed by nobody whom this host trusts (--trust); `lattice-ctl bundle --sign` signs one"
    )]
    Untrusted(String),
    #[error("the bundle {file} cannot be taken over: {reason}")]
    Store { file: String, reason: String },
}

/// A lattice that has what is in the bundle. With `trust`, one of these signers must have signed it.
pub(crate) async fn open(path: &Path, trust: &[String]) -> Result<Bus, LoadError> {
    let file = path.display().to_string();
    let bundle = {
        let path = path.to_owned();
        let read = move || read(BufReader::new(File::open(path)?), MAX_ARTIFACT as u64);
        let read = tokio::task::spawn_blocking(read).await;
        let read = read.unwrap_or_else(|error| Err(BundleError::Format(error.to_string())));
        read.map_err(|source| LoadError::File { file: file.clone(), source })?
    };
    let trusted: BTreeSet<_> = trust.iter().collect();
    if !trusted.is_empty() && !bundle.signature.as_ref().is_some_and(|signature| trusted.contains(&signature.signer)) {
        return Err(LoadError::Untrusted(file));
    }
    let bus = Bus::memory(bundle.head.lattice.clone());
    fill(&bus, bundle).await.map_err(|reason| LoadError::Store { file, reason })?;
    Ok(bus)
}

async fn fill(bus: &Bus, bundle: Bundle) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let store = bus.store();
    for bytes in bundle.artifacts.values() {
        let _: Digest = bus.artifacts().put(bytes).await.map_err(|error| told(&error))?;
    }
    for signature in &bundle.head.signatures {
        store.signatures().put(&signature.key(), signature).await.map_err(|error| told(&error))?;
    }
    for (key, secret) in &bundle.head.secrets {
        store.secrets().put(key, secret).await.map_err(|error| told(&error))?;
    }
    for app in &bundle.head.apps {
        store.apps().put(app.name.as_str(), app).await.map_err(|error| told(&error))?;
    }
    Ok(())
}
