//! What provider processes may do in NATS: all that their host may, or, where it was given a key to make users with, what they need.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use lattice::{
    bus::{Issuer, IssuerError, NatsOptions, Permissions},
    wire::{ProcessStreams, Served, ends_of_calls},
};
use lattice_provider::NatsUse;
use uuid::Uuid;

use crate::files::{OWN, write_whole};

/// By which provider processes reach NATS.
pub(crate) struct Access {
    nats: NatsOptions,
    issuer: Option<Issuer>,
    /// Where the credentials of processes lie while these run.
    folder: PathBuf,
}

/// Why a process has no way to NATS.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("--nats-signing-key: {0}")]
    Key(#[from] IssuerError),
    #[error("cannot keep credentials of provider processes in {}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

/// The way of one process. What belongs to it is gone from this machine with it.
pub(super) struct Pass {
    pub(super) nats: NatsOptions,
    file: Option<PathBuf>,
}

impl Access {
    /// With a user of its own for each process where there is a `signing_key`; else with the host's own rights for all.
    pub(crate) fn open(nats: NatsOptions, signing_key: Option<&Path>, data: &Path) -> Result<Self, AccessError> {
        let issuer = signing_key.map(|key| Issuer::read(key, nats.creds.as_deref())).transpose()?;
        let folder = data.join("credentials");
        let disk = |source| AccessError::Disk { path: folder.clone(), source };
        // Those of processes that a host had which was killed.
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(disk(error)),
            _ => {}
        }
        if issuer.is_some() {
            DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(disk)?;
        }
        Ok(Self { nats, issuer, folder })
    }

    /// The subjects, with those by which the lattice's JetStream domain is asked the same.
    fn in_domain(&self, mut subjects: Vec<String>) -> Vec<String> {
        if let Some(domain) = &self.nats.domain {
            let there = |subject: &String| match subject.strip_prefix("$JS.API.") {
                Some(what) => Some(format!("$JS.{domain}.API.{what}")),
                None => subject.starts_with("$KV.").then(|| format!("$JS.{domain}.API.{subject}")),
            };
            let more: Vec<_> = subjects.iter().filter_map(there).collect();
            subjects.extend(more);
        }
        subjects
    }

    /// For the process that answers what `served` says, and does in NATS what `uses` says.
    pub(super) fn pass(&self, served: &Served, uses: NatsUse) -> Result<Pass, AccessError> {
        let Some(issuer) = &self.issuer else { return Ok(Pass { nats: self.nats.clone(), file: None }) };
        let (inbox, process) = (format!("_INBOX.{}", served.instance), Uuid::now_v7());
        let streams = ProcessStreams::new(&served.lattice, process).to_string();
        let mut publish = vec!["_INBOX.>".to_owned()];
        publish.extend(ends_of_calls(&served.lattice));
        publish.extend(self.in_domain(uses.publish));
        let permissions = Permissions {
            publish,
            never_publish: self.in_domain(uses.never_publish),
            subscribe: vec![served.and_below(), format!("{inbox}.>"), streams],
        };
        let creds = issuer.user(&format!("provider {}", served.unit), &permissions)?;
        let file = self.folder.join(format!("{}.creds", served.instance));
        write_whole(&file, creds.as_bytes(), OWN)
            .map_err(|source| AccessError::Disk { path: self.folder.clone(), source })?;
        let nats = NatsOptions {
            creds: Some(file.clone()),
            inbox_prefix: Some(inbox),
            process: Some(process),
            ..self.nats.clone()
        };
        Ok(Pass { nats, file: Some(file) })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            // What is left is cleared away when the host starts again.
            let _ = fs::remove_file(file);
        }
    }
}
