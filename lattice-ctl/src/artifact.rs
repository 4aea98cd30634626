//! `artifact`: what lies in the lattice's store, who vouches for it, and what nobody needs any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use lattice::{
    bus::{Bus, Stored},
    model::{
        app::{AppRecord, UnitSpec},
        signature::{Signature, Signer},
    },
    wire::{AppName, Digest},
};
use lattice_view::world::{World, now_ms};
use serde::Serialize;

use crate::{
    cli::{ArtifactCommand, Global, PruneArgs},
    failure::{Failure, Result},
    get::{Row, print},
    output::Output,
    secrets::write_seed,
};

pub(crate) async fn run(global: &Global, command: &ArtifactCommand, output: &mut Output) -> Result<()> {
    match command {
        ArtifactCommand::List => list(&global.connect().await?, output).await,
        ArtifactCommand::Sign { app, key } => {
            let signer = read_signer(key)?;
            sign_app(&global.connect().await?, app, &signer, output).await
        }
        ArtifactCommand::Prune(args) => prune(&global.connect().await?, args, output).await,
        ArtifactCommand::Keygen { file } => {
            let (signer, seed) = Signer::generate().map_err(|error| Failure::Other(error.to_string()))?;
            write_seed(file, &seed)?;
            let (file, key) = (file.display(), signer.public_key());
            output.line(&format!(
                "{file}: the seed of {key}; start hosts with `--trust {key}`, and sign with `--key {file}`"
            ))
        }
    }
}

/// Reads a signer's seed.
pub(crate) fn read_signer(file: &Path) -> Result<Signer> {
    let failed = |source| Failure::File { what: "cannot read the key", path: file.to_owned(), source };
    let seed = fs::read_to_string(file).map_err(failed)?;
    Signer::from_seed(&seed).map_err(|error| Failure::Refused {
        message: format!("{}: {error}", file.display()),
        help: "make one with `lattice-ctl artifact keygen FILE`".to_owned(),
    })
}

/// Puts signatures beside the artifacts of these units.
pub(crate) async fn sign<'u>(
    bus: &Bus,
    signer: &Signer,
    units: impl IntoIterator<Item = &'u UnitSpec>,
) -> Result<BTreeSet<Digest>> {
    let artifacts: BTreeSet<_> = units.into_iter().flat_map(UnitSpec::artifacts).collect();
    for digest in &artifacts {
        let signature = signer.sign(digest).map_err(|error| Failure::Other(error.to_string()))?;
        bus.store().signatures().put(&signature.key(), &signature).await?;
    }
    Ok(artifacts)
}

async fn sign_app(bus: &Bus, app: &AppName, signer: &Signer, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let record = &world.app(app.as_str(), bus.lattice())?.value;
    let signed = sign(bus, signer, record.units.values().map(|unit| &unit.spec)).await?;
    for digest in signed {
        output.line(&format!("{digest} signed by {}", signer.public_key()))?;
    }
    Ok(())
}

/// One line of a list.
#[derive(Debug, Serialize)]
struct Artifact {
    digest: Digest,
    bytes: u64,
    age_seconds: Option<u64>,
    /// Apps, with `@` and the revision where it is not their newest.
    used_by: Vec<String>,
    signed_by: Vec<String>,
}

impl Row for Artifact {
    const HEADER: &'static [&'static str] = &["DIGEST", "KIB", "AGE", "USED BY", "SIGNED BY"];
    fn cells(&self) -> Vec<String> {
        let age = self.age_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds}s"));
        let words = |words: &[String]| if words.is_empty() { "-".to_owned() } else { words.join(", ") };
        let size = self.bytes.div_ceil(1024).to_string();
        vec![self.digest.to_string(), size, age, words(&self.used_by), words(&self.signed_by)]
    }
}

/// Who needs which artifact: apps as they are, and the revisions to which they can go back.
async fn users(bus: &Bus) -> Result<BTreeMap<Digest, BTreeSet<String>>> {
    let mut users: BTreeMap<Digest, BTreeSet<String>> = BTreeMap::new();
    let mut note = |record: &AppRecord, name: String| {
        for digest in record.units.values().flat_map(|unit| unit.spec.artifacts()) {
            users.entry(digest).or_default().insert(name.clone());
        }
    };
    for (app, entry) in bus.store().apps().list().await? {
        note(&entry.value, app);
    }
    for entry in bus.store().history().list().await?.into_values() {
        note(&entry.value, format!("{}@{}", entry.value.name, entry.value.revision));
    }
    // What a host was given may be older than both, while it is away.
    for entry in bus.store().assignments().list().await?.into_values() {
        for (unit, record) in &entry.value.units {
            for digest in record.spec.artifacts() {
                users.entry(digest).or_default().insert(unit.app.to_string());
            }
        }
    }
    Ok(users)
}

async fn list(bus: &Bus, output: &mut Output) -> Result<()> {
    let (stored, mut users) = (bus.artifacts().list().await?, users(bus).await?);
    let mut signers: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for entry in bus.store().signatures().list().await?.into_values() {
        let signature: Signature = entry.value;
        if signature.verify(&signature.digest).is_ok() {
            signers.entry(signature.digest).or_default().push(signature.signer);
        }
    }
    let now = now_ms();
    let artifact = |Stored { digest, bytes, at_ms }| Artifact {
        bytes,
        age_seconds: at_ms.map(|at| now.saturating_sub(at) / 1000),
        used_by: users.remove(&digest).unwrap_or_default().into_iter().collect(),
        signed_by: signers.remove(&digest).unwrap_or_default(),
        digest,
    };
    print(&stored.into_iter().map(artifact).collect::<Vec<_>>(), output)
}

async fn prune(bus: &Bus, args: &PruneArgs, output: &mut Output) -> Result<()> {
    // In this order: what is brought meanwhile is younger than anything that is removed.
    let (stored, now) = (bus.artifacts().list().await?, now_ms());
    let users = users(bus).await?;
    let old = u64::try_from(args.older_than.as_millis()).unwrap_or(u64::MAX);
    let unused = |stored: &Stored| {
        !users.contains_key(&stored.digest) && stored.at_ms.is_some_and(|at| now.saturating_sub(at) >= old)
    };
    let mut freed = 0;
    for Stored { digest, bytes, .. } in stored.into_iter().filter(unused) {
        if !args.dry_run {
            bus.artifacts().delete(&digest).await?;
            for signer in bus.store().signatures().list_of(digest.hex()).await?.into_keys() {
                bus.store().signatures().delete(&format!("{}.{signer}", digest.hex())).await?;
            }
        }
        freed += bytes;
        output.line(&format!("{digest} ({} KiB)", bytes.div_ceil(1024)))?;
    }
    let (done, freed) = (if args.dry_run { "would free" } else { "freed" }, freed.div_ceil(1024));
    output.note(&format!("{done} {freed} KiB"));
    Ok(())
}
