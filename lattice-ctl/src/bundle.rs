//! `bundle`: apps with all that they are made of in one file, for hosts that have no lattice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

use lattice::{
    bus::Bus,
    model::{
        app::{AppRecord, UnitSpec},
        offline::{self, BundleHead, needs_nats},
        secret::SecretSource,
    },
    wire::{AppName, Digest, UnitId},
};
use lattice_view::world::{World, now_ms};
use serde::Serialize;

use crate::{
    artifact::read_signer,
    cli::{BundleArgs, Global},
    failure::{Failure, Result},
    output::Output,
    push::write,
};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    file: String,
    apps: Vec<&'a AppName>,
    artifacts: usize,
    bytes: usize,
    signed_by: Option<String>,
}

pub(crate) async fn run(global: &Global, args: &BundleArgs, output: &mut Output) -> Result<()> {
    let signer = args.sign.as_deref().map(read_signer).transpose()?;
    let bus = global.connect().await?;
    let world = World::read(&bus).await?;
    let mut apps = Vec::new();
    for name in &args.apps {
        apps.push(world.app(name.as_str(), bus.lattice())?.value.clone());
    }
    check(&apps)?;
    let mut head = BundleHead {
        version: BundleHead::VERSION,
        lattice: bus.lattice().clone(),
        at_ms: now_ms(),
        secrets: secrets(&bus, &apps).await?,
        apps,
        signatures: Vec::new(),
    };
    let mut artifacts = BTreeMap::new();
    for digest in head.needs() {
        head.signatures.extend(bus.store().signatures().list_of(digest.hex()).await?.into_values().map(|e| e.value));
        artifacts.insert(digest.clone(), bus.artifacts().get(&digest).await?);
    }
    let other = |error: &dyn std::fmt::Display| Failure::Other(error.to_string());
    if let Some(signer) = &signer {
        let key = signer.public_key();
        head.signatures.retain(|signature| signature.signer != key);
        for digest in artifacts.keys() {
            head.signatures.push(signer.sign(digest).map_err(|error| other(&error))?);
        }
    }
    let bytes = head.to_bytes().map_err(|error| other(&error))?;
    let signature = signer.as_ref().map(|signer| signer.sign(&Digest::of(&bytes)));
    let signature = signature.transpose().map_err(|error| other(&error))?;
    let mut file = Vec::new();
    offline::write(&mut file, &bytes, signature.as_ref(), &artifacts).map_err(|error| other(&error))?;
    file.flush().map_err(|error| other(&error))?;
    let failed = |source| Failure::File { what: "cannot write", path: args.to.clone(), source };
    write(&args.to, &file).map_err(failed)?;
    let shown = args.to.display().to_string();
    output.say(&format!("{shown}: run it with `lattice-host --bundle {shown}`"))?;
    output.report(&Report {
        file: shown,
        apps: head.apps.iter().map(|app| &app.name).collect(),
        artifacts: artifacts.len(),
        bytes: file.len(),
        signed_by: signer.map(|signer| signer.public_key()),
    })
}

/// Whether these apps can run where there is no lattice.
fn check(apps: &[AppRecord]) -> Result<()> {
    let refused = |message: String, help: &str| Err(Failure::Refused { message, help: help.to_owned() });
    for app in apps {
        for (unit, record) in app.unit_ids() {
            if let Some(why) = needs_nats(&record.spec) {
                let help = "put another provider in its place, such as keyvalue-redb or blob-fs inside the host";
                return refused(format!("{unit} cannot run without NATS: {why}"), help);
            }
            let there = |to: &UnitId| apps.iter().any(|app| app.name == to.app);
            if let Some(to) = linked(&record.spec).into_iter().find(|to| !there(to)) {
                return refused(format!("{unit} is linked to {to}, which is not in the bundle"), "name that app, too");
            }
        }
    }
    Ok(())
}

/// The units that a component is linked to.
fn linked(spec: &UnitSpec) -> Vec<&UnitId> {
    match spec {
        UnitSpec::Component(component) => component.links.iter().map(|link| &link.to).collect(),
        UnitSpec::Provider(_) => Vec::new(),
    }
}

/// The sealed secrets that these apps need; those of files and of the environment are where the host is.
async fn secrets(bus: &Bus, apps: &[AppRecord]) -> Result<BTreeMap<String, lattice::model::secret::SealedSecret>> {
    let needed: BTreeSet<_> = apps
        .iter()
        .flat_map(|app| {
            app.units.values().flat_map(move |unit| unit.spec.secrets().into_iter().map(|s| (&app.name, s)))
        })
        .filter_map(|(app, source)| match source {
            SecretSource::Lattice(name) => Some(format!("{app}.{name}")),
            _ => None,
        })
        .collect();
    let sealed = bus.store().secrets().list().await?;
    Ok(sealed.into_iter().filter(|(key, _)| needed.contains(key)).map(|(key, entry)| (key, entry.value)).collect())
}
