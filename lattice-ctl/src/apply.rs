//! `apply`: from a manifest's file to the desired state in the lattice, and to an app that runs.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    bus::Bus,
    model::{
        check::{CheckedApp, ComponentFacts, check, missing_secrets},
        manifest::Manifest,
        signature::Signer,
    },
    wire::Digest,
};
use lattice_view::world::World;

use crate::{
    artifact::{read_signer, sign},
    cli::{ApplyArgs, Global, Waiting},
    defaults,
    failure::Result,
    foreign,
    image::{Images, registry::Registries},
    output::Output,
    progress::Progress,
    quota,
    revision::{Wish, again, assume, write},
    secrets, settings,
    source::Source,
};

pub(crate) async fn run(global: &Global, args: &ApplyArgs, output: &mut Output) -> Result<()> {
    let mut all = Source::read_all(&args.manifests)?;
    let registries = Registries::new(&args.registry)?;
    let bus = connect(global, &mut all, &registries).await?;
    let signer = args.sign.as_deref().map(read_signer).transpose()?;
    if all.len() > 1 {
        check_all(&bus, &all, &registries, signer.as_ref(), output).await?;
    }
    for (source, manifest) in &all {
        apply(&bus, source, manifest, &registries, signer.as_ref(), args.waiting, output).await?;
    }
    Ok(())
}

/// Checks manifests that are applied together, each as if those before it were there.
async fn check_all(
    bus: &Bus,
    all: &[(Source, Manifest)],
    registries: &Registries,
    signer: Option<&Signer>,
    output: &mut Output,
) -> Result<()> {
    let mut world = World::read(bus).await?;
    for (source, manifest) in all {
        let images = Images::read(manifest, source.origins(Some(bus), registries)).await?;
        let app = settled(bus, &world, source, manifest, &images, signer, output).await?;
        // Those that are linked to it are checked against what it is.
        assume(&mut world, Wish { app, manifest: source.own_text(), cause: String::new() });
    }
    Ok(())
}

/// The lattice that the manifests are for. Where there is none, what is wrong with them can be told without it, and is nearer to
/// the user's hands. They have the lattice's defaults then.
pub(crate) async fn connect(global: &Global, all: &mut [(Source, Manifest)], registries: &Registries) -> Result<Bus> {
    let unreachable = match global.connect().await {
        Ok(bus) => {
            defaults::fill_in(&bus, all).await?;
            return Ok(bus);
        }
        Err(unreachable) => unreachable,
    };
    for (source, manifest) in &*all {
        check_alone(source, manifest, registries).await?;
    }
    Err(unreachable)
}

/// Checks what can be checked without a lattice.
pub(crate) async fn check_alone(source: &Source, manifest: &Manifest, registries: &Registries) -> Result<()> {
    let images = Images::read(manifest, source.origins(None, registries)).await?;
    // An app whose images are not all here would seem to lack what they are.
    if (images.incomplete || manifest.reaches_out()) && images.problems.is_empty() {
        return Ok(());
    }
    checked(source, manifest, &images, BTreeMap::new(), &World::default(), None).map(drop)
}

/// Applies a manifest and, unless told otherwise, waits until the app is ready.
pub(crate) async fn apply(
    bus: &Bus,
    source: &Source,
    manifest: &Manifest,
    registries: &Registries,
    signer: Option<&Signer>,
    waiting: Waiting,
    output: &mut Output,
) -> Result<()> {
    let images = Images::read(manifest, source.origins(Some(bus), registries)).await?;
    let (written, notes) = again(async || {
        let world = World::read(bus).await?;
        let mut app = settled(bus, &world, source, manifest, &images, signer, output).await?;
        let notes = std::mem::take(&mut app.notes);
        let wish = Wish { app, manifest: source.own_text(), cause: "apply".to_owned() };
        Ok((write(bus, wish, &world).await?, notes))
    })
    .await?;
    written.see_through(bus, waiting, &notes, output).await
}

/// The app that the manifest describes, with nothing wrong, and its artifacts in the lattice: no host may be told of one that it cannot
/// get, and programs are asked by what is there. Bytes alone change nothing.
async fn settled(
    bus: &Bus,
    world: &World,
    source: &Source,
    manifest: &Manifest,
    images: &Images,
    signer: Option<&Signer>,
    output: &mut Output,
) -> Result<CheckedApp> {
    let app = checked_in(bus, world, source, manifest, images, output).await?;
    upload(bus, images, output).await?;
    if let Some(signer) = signer {
        sign(bus, signer, app.units.values()).await?;
    }
    let found = settings::check_programs(bus, world, &app, manifest, output).await;
    if found.is_empty() { Ok(app) } else { Err(source.rejected(found)) }
}

/// Checks the manifest against the lattice as `world` has it, without changing anything there.
pub(crate) async fn checked_in(
    bus: &Bus,
    world: &World,
    source: &Source,
    manifest: &Manifest,
    images: &Images,
    output: &mut Output,
) -> Result<CheckedApp> {
    let secrets = secrets::of_app(bus, &manifest.metadata.name.value).await?;
    let foreign = foreign::facts(bus, world, manifest).await;
    let app = checked(source, manifest, images, foreign, world, Some(&secrets))?;
    quota::check(world, &app)?;
    let found = settings::check(bus, world, &app, manifest, output).await;
    if found.is_empty() { Ok(app) } else { Err(source.rejected(found)) }
}

/// The app that the manifest describes, or everything that is wrong. `foreign` are units of other apps, `secrets` those that
/// the lattice has of this one.
fn checked(
    source: &Source,
    manifest: &Manifest,
    images: &Images,
    mut foreign: BTreeMap<String, ComponentFacts>,
    world: &World,
    secrets: Option<&BTreeSet<String>>,
) -> Result<CheckedApp> {
    let others = world.apps.values().map(|entry| &entry.value);
    foreign.extend(images.facts.clone());
    let checked = check(manifest, &foreign, others);
    let missing = secrets.map(|known| missing_secrets(manifest, known));
    let problems = images.problems.iter().cloned().chain(missing.into_iter().flatten()).collect::<Vec<_>>();
    match (checked, problems) {
        (Ok(app), problems) if problems.is_empty() => Ok(app),
        (Ok(_), problems) => Err(source.rejected(problems)),
        (Err(found), mut problems) => {
            problems.extend(found);
            Err(source.rejected(problems))
        }
    }
}

async fn upload(bus: &Bus, images: &Images, output: &mut Output) -> Result<()> {
    let mut progress = Progress::default();
    for bytes in &images.files {
        if !bus.artifacts().has(&Digest::of(bytes)).await? {
            progress.show(output, &format!("uploading {} KiB", bytes.len().div_ceil(1024)));
            bus.artifacts().put(bytes).await?;
        }
    }
    progress.clear(output);
    Ok(())
}

#[cfg(test)]
mod tests;
