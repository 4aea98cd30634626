//! `apply`: from a manifest's file to the desired state in the lattice, and to an app that runs.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    bus::{Bus, StoreError},
    model::{
        app::AppRecord,
        check::{CheckedApp, ComponentFacts, check, missing_secrets},
        manifest::Manifest,
        status::AppStatus,
    },
    wire::{Digest, UnitName},
};
use serde::Serialize;

use crate::{
    cli::{ApplyArgs, Format, Global, Waiting},
    failure::{Failure, Result},
    foreign,
    image::Images,
    output::{Output, Paint},
    progress::Progress,
    secrets, settings,
    source::Source,
    wait::{ready_line, until_ready},
    world::World,
};

/// How often a write is tried again after somebody else was faster.
const ATTEMPTS: usize = 8;

pub(crate) async fn run(global: &Global, args: &ApplyArgs, output: &mut Output) -> Result<()> {
    let source = Source::read(&args.file)?;
    let manifest = source.parse()?;
    let bus = match global.connect().await {
        Ok(bus) => bus,
        // What is wrong with the manifest can be told without a lattice, and is nearer to the user's hands.
        Err(unreachable) => return Err(check_alone(&source, &manifest).await.err().unwrap_or(unreachable)),
    };
    apply(&bus, &source, &manifest, args.waiting, output).await
}

/// Checks what can be checked without a lattice.
pub(crate) async fn check_alone(source: &Source, manifest: &Manifest) -> Result<()> {
    let images = Images::read(manifest, &source.folder, None).await?;
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
    waiting: Waiting,
    output: &mut Output,
) -> Result<()> {
    let images = Images::read(manifest, &source.folder, Some(bus.artifacts())).await?;
    let applied = write(bus, source, manifest, &images, output).await?;
    let status = if waiting.no_wait {
        if World::read(bus).await?.alive.is_empty() {
            let failure = Failure::NoHost(bus.lattice().clone());
            output.note(&format!("{failure}: {}", failure.help().unwrap_or_default()));
        }
        None
    } else {
        Some(until_ready(bus, &applied.record, waiting.timeout, output).await?)
    };
    if output.format != Format::Table {
        return output.value(&applied.report(status.as_ref()));
    }
    match status {
        Some(status) => {
            let line = ready_line(&applied.record, &status).replacen(": ready", &output.paint_ready(), 1);
            output.line(&line)
        }
        None => Ok(()),
    }
}

/// The record that is in the lattice now, and how it came there.
#[derive(Debug)]
struct Applied {
    record: AppRecord,
    /// `None` when it was there already.
    changes: Option<Changes>,
}

/// How a record differs from the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Changes {
    changed: Vec<UnitName>,
    added: Vec<UnitName>,
    removed: Vec<UnitName>,
}

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    app: &'a str,
    revision: u64,
    unchanged: bool,
    #[serde(flatten)]
    changes: Changes,
    /// Absent with `--no-wait`.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a AppStatus>,
}

impl Changes {
    fn between(previous: Option<&AppRecord>, next: &AppRecord) -> Self {
        let empty = BTreeMap::new();
        let before = previous.map_or(&empty, |p| &p.units);
        let mut changes = Self::default();
        for (name, unit) in &next.units {
            match before.get(name) {
                None => changes.added.push(name.clone()),
                Some(old) if old.spec != unit.spec => changes.changed.push(name.clone()),
                Some(_) => {}
            }
        }
        changes.removed = before.keys().filter(|name| !next.units.contains_key(*name)).cloned().collect();
        changes
    }

    fn describe(&self) -> String {
        let part = |what: &str, names: &[UnitName]| {
            let names: Vec<_> = names.iter().map(UnitName::as_str).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let parts = [part("changed", &self.changed), part("added", &self.added), part("removed", &self.removed)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "labels or shares changed".to_owned() } else { parts.join("; ") }
    }
}

impl Applied {
    fn line(&self) -> String {
        let AppRecord { name, revision, .. } = &self.record;
        match &self.changes {
            Some(changes) => format!("app {name}: revision {revision} ({})", changes.describe()),
            None => format!("app {name}: unchanged (revision {revision})"),
        }
    }

    fn report<'a>(&'a self, status: Option<&'a AppStatus>) -> Report<'a> {
        Report {
            app: self.record.name.as_str(),
            revision: self.record.revision,
            unchanged: self.changes.is_none(),
            changes: self.changes.clone().unwrap_or_default(),
            status,
        }
    }
}

/// Checks the manifest against the lattice, then brings artifacts and record there.
async fn write(
    bus: &Bus,
    source: &Source,
    manifest: &Manifest,
    images: &Images,
    output: &mut Output,
) -> Result<Applied> {
    let mut conflict = None;
    for _ in 0..ATTEMPTS {
        let world = World::read(bus).await?;
        let secrets = secrets::of_app(bus, &manifest.metadata.name.value).await?;
        let foreign = foreign::facts(bus, &world, manifest).await;
        let mut app = checked(source, manifest, images, foreign, &world, Some(&secrets))?;
        let found = settings::check(bus, &world, &app, manifest, output).await;
        if !found.is_empty() {
            return Err(source.rejected(found));
        }
        let notes = std::mem::take(&mut app.notes);
        // Before the record: no host may be told of an artifact that it cannot get.
        upload(bus, images, output).await?;
        match write_once(bus, source, app, &world).await {
            Err(Failure::Store(error @ StoreError::Conflict { .. })) => conflict = Some(error),
            Ok(applied) => {
                output.say(&applied.line())?;
                notes.iter().for_each(|note| output.note(note));
                return Ok(applied);
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(conflict.map_or_else(|| Failure::Other("nothing was written".to_owned()), Failure::Store))
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

async fn write_once(bus: &Bus, source: &Source, app: CheckedApp, world: &World) -> Result<Applied> {
    let key = app.name.as_str().to_owned();
    let previous = world.apps.get(&key);
    let before = previous.map(|entry| &entry.value);
    let CheckedApp { name, labels, units, shares, .. } = app;
    let Some(mut record) = AppRecord::next(name, before, source.text.clone(), labels, units, shares) else {
        return match previous {
            Some(entry) => Ok(Applied { record: entry.value.clone(), changes: None }),
            None => Err(Failure::Other("a new app cannot be unchanged".to_owned())),
        };
    };
    if previous.is_none() {
        begin_above_remains(bus, &mut record, world).await?;
    }
    let size = serde_json::to_vec(&record).map_or(0, |bytes| bytes.len());
    if size > bus.max_payload() {
        return Err(Failure::TooLarge { app: record.name, size, limit: bus.max_payload() });
    }
    let apps = bus.store().apps();
    match previous {
        Some(entry) => apps.update(&key, &record, entry.revision).await?,
        None => apps.create(&key, &record).await?,
    };
    let changes = Some(Changes::between(before, &record));
    Ok(Applied { record, changes })
}

/// An app that was deleted a moment ago may still be planned, assigned or running somewhere. Were its new revision one
/// that they know, they would take the old units for the new ones; so it begins above theirs.
async fn begin_above_remains(bus: &Bus, record: &mut AppRecord, world: &World) -> Result<()> {
    let planned = world.plans.get(record.name.as_str()).map(|plan| plan.value.revision);
    let running = world.hosts.values().flat_map(|host| &host.value.instances);
    let running = running.filter(|i| i.unit.app == record.name).map(|i| i.revision);
    let assignments = bus.store().assignments().list().await?;
    let assigned = assignments.values().flat_map(|assignment| &assignment.value.units);
    let assigned = assigned.filter(|(id, _)| id.app == record.name).map(|(_, unit)| unit.revision);
    let floor = planned.into_iter().chain(running).chain(assigned).max().unwrap_or(0);
    record.revision += floor;
    for unit in record.units.values_mut() {
        unit.revision += floor;
    }
    Ok(())
}

impl Output {
    fn paint_ready(&self) -> String {
        format!(": {}", self.paint(Paint::Green, "ready"))
    }
}

#[cfg(test)]
mod tests;
