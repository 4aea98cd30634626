//! Whose artifacts this host runs: everybody's, or those that somebody has signed whom it was told to trust.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use lattice::{
    bus::Bus,
    model::signature::{Signature, check_signer},
    wire::Digest,
};

use crate::files::{OWN, keep};

/// The signers that are trusted.
pub(crate) struct Trust {
    /// Nobody need sign when it is empty.
    signers: BTreeSet<String>,
    /// Where signatures are kept, so that they are there while the lattice is away.
    folder: PathBuf,
}

/// Why an artifact is not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Distrust {
    #[error("{0} is signed by nobody whom this host trusts (--trust); sign it with `lattice-ctl artifact sign`")]
    Unsigned(Digest),
    #[error("{digest} cannot be run before its signatures can be read: {reason}")]
    Unreadable { digest: Digest, reason: String },
}

impl Trust {
    pub(crate) fn new(signers: &[String], data: &Path) -> std::io::Result<Self> {
        let folder = data.join("signatures");
        if !signers.is_empty() {
            std::fs::create_dir_all(&folder)?;
        }
        Ok(Self { signers: signers.iter().cloned().collect(), folder })
    }

    /// Whether anything is run only when it is signed.
    pub(crate) fn needs_signatures(&self) -> bool {
        !self.signers.is_empty()
    }

    /// Whether all of these may run here.
    pub(crate) async fn check(&self, bus: &Bus, artifacts: &BTreeSet<Digest>) -> Result<(), Distrust> {
        if !self.needs_signatures() {
            return Ok(());
        }
        for digest in artifacts {
            if !self.is_known(digest) {
                self.ask(bus, digest).await?;
            }
        }
        Ok(())
    }

    /// Whether what is needed to trust these lies on disk.
    pub(crate) fn knows(&self, artifacts: &BTreeSet<Digest>) -> bool {
        !self.needs_signatures() || artifacts.iter().all(|digest| self.is_known(digest))
    }

    fn vouches(&self, signature: &Signature, digest: &Digest) -> bool {
        self.signers.contains(&signature.signer) && signature.verify(digest).is_ok()
    }

    fn file(&self, digest: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", digest.hex()))
    }

    fn is_known(&self, digest: &Digest) -> bool {
        let kept = std::fs::read(self.file(digest)).ok();
        let kept = kept.and_then(|bytes| serde_json::from_slice::<Signature>(&bytes).ok());
        kept.is_some_and(|signature| self.vouches(&signature, digest))
    }

    async fn ask(&self, bus: &Bus, digest: &Digest) -> Result<(), Distrust> {
        let signatures = bus.store().signatures().list_of(digest.hex()).await;
        let signatures =
            signatures.map_err(|error| Distrust::Unreadable { digest: digest.clone(), reason: error.to_string() })?;
        let found = signatures.into_values().map(|entry| entry.value).find(|s| self.vouches(s, digest));
        let signature = found.ok_or_else(|| Distrust::Unsigned(digest.clone()))?;
        let path = self.file(digest);
        let kept = match serde_json::to_vec(&signature) {
            Ok(bytes) => keep(path.clone(), bytes, OWN).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, path = %path.display(), "cannot keep a signature on disk");
        }
        Ok(())
    }
}

/// A signer as the command line names it.
pub(crate) fn parse_signer(text: &str) -> Result<String, String> {
    check_signer(text).map_err(|error| error.to_string())
}
