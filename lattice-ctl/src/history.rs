//! `history`, `rollback` and `scale`: revisions that do not come from a file.

use std::path::PathBuf;

use lattice::{
    bus::Bus,
    model::{
        app::{AppRecord, UnitSpec},
        check::{check, missing_secrets},
        manifest::Manifest,
    },
    wire::UnitId,
};
use lattice_control::history::before;
use lattice_view::world::{World, now_ms};
use serde::Serialize;

use crate::{
    cli::{Global, HistoryArgs, RollbackArgs, ScaleArgs},
    failure::{Failure, Result},
    foreign,
    get::{Row, age, print},
    image::{Images, registry::Registries},
    output::Output,
    revision::{Changes, Wish, again, as_it_is, go_back, write},
    secrets,
    source::Source,
};

#[derive(Debug, Serialize)]
struct Revision {
    revision: u64,
    /// Whether it is the newest one.
    current: bool,
    /// `null` where it was not written down.
    age_seconds: Option<u64>,
    cause: String,
    /// How it differs from the revision before it; `null` for the oldest that is known.
    changes: Option<Changes>,
}

impl Row for Revision {
    const HEADER: &'static [&'static str] = &["REVISION", "AGE", "CAUSE", "CHANGES"];
    fn cells(&self) -> Vec<String> {
        vec![
            format!("{}{}", self.revision, if self.current { " (current)" } else { "" }),
            self.age_seconds.map_or("-".to_owned(), age),
            self.cause.clone(),
            self.changes.as_ref().map_or("-".to_owned(), Changes::describe),
        ]
    }
}

pub(crate) async fn history(global: &Global, args: &HistoryArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let world = World::read(&bus).await?;
    let current = world.app(&args.app, bus.lattice())?.value.clone();
    let records = before(&bus, &current.name).await?;
    let now = now_ms();
    let mut rows: Vec<Revision> = Vec::new();
    let mut previous: Option<&AppRecord> = None;
    for record in records.iter().filter(|record| record.revision < current.revision).chain([&current]) {
        rows.push(Revision {
            revision: record.revision,
            current: record.revision == current.revision,
            age_seconds: (record.at_ms > 0).then(|| now.saturating_sub(record.at_ms) / 1000),
            cause: record.cause.clone(),
            changes: previous.map(|previous| Changes::between(Some(previous), record)),
        });
        previous = Some(record);
    }
    rows.reverse();
    print(&rows, output)
}

pub(crate) async fn rollback(global: &Global, args: &RollbackArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let current = World::read(&bus).await?.app(&args.app, bus.lattice())?.value.clone();
    let records = before(&bus, &current.name).await?;
    let target = target(&current, &records, args.to)?;
    let written = again(async || {
        let world = World::read(&bus).await?;
        world.app(&args.app, bus.lattice())?;
        still_fits(&bus, &world, target).await?;
        go_back(&bus, target, &world).await
    });
    written.await?.see_through(&bus, args.waiting, &[], output).await
}

/// The revision to go back to: the one that is asked for, else the newest before the current one.
fn target<'r>(current: &AppRecord, records: &'r [AppRecord], to: Option<u64>) -> Result<&'r AppRecord> {
    let found = match to {
        Some(revision) => records.iter().find(|record| record.revision == revision),
        None => records.iter().rev().find(|record| record.revision < current.revision),
    };
    found.ok_or_else(|| Failure::NotFound {
        message: match to {
            Some(revision) if revision == current.revision => {
                format!("revision {revision} of app {} is the current one", current.name)
            }
            Some(revision) => format!("app {} has no revision {revision}", current.name),
            None => format!("app {} has no revision before {}", current.name, current.revision),
        },
        help: match records {
            [] => "there is nothing to go back to".to_owned(),
            [first, .., last] if records.len() > 1 => {
                format!("kept are {} to {}; `lattice-ctl history {}`", first.revision, last.revision, current.name)
            }
            [one, ..] => format!("kept is {}", one.revision),
        },
    })
}

/// Checks an old revision against the lattice as it is now: other apps may have taken its routes, or share no longer what it
/// is linked to.
async fn still_fits(bus: &Bus, world: &World, target: &AppRecord) -> Result<()> {
    let source = Source {
        name: format!("app {}, revision {}", target.name, target.revision),
        text: target.manifest.clone(),
        folder: PathBuf::new(),
    };
    let mut manifest = source.parse()?;
    pin(&mut manifest, target);
    // Its images are pinned: none is in a registry.
    let images = Images::read(&manifest, source.origins(Some(bus), &Registries::default())).await?;
    let mut facts = foreign::facts(bus, world, &manifest).await;
    facts.extend(images.facts);
    let secrets = secrets::of_app(bus, &manifest.metadata.name.value).await?;
    let mut problems = images.problems;
    problems.extend(missing_secrets(&manifest, &secrets));
    problems.extend(check(&manifest, &facts, world.apps.values().map(|entry| &entry.value)).err().unwrap_or_default());
    if problems.is_empty() { Ok(()) } else { Err(source.rejected(problems)) }
}

/// Lets a manifest name its images as the lattice has them.
fn pin(manifest: &mut Manifest, record: &AppRecord) {
    let spec = |name: &str| record.units.iter().find(|(unit, _)| unit.as_str() == name).map(|(_, unit)| &unit.spec);
    for (key, component) in &mut manifest.spec.components.0 {
        if let Some(UnitSpec::Component(spec)) = spec(&key.value) {
            component.image.value = spec.digest.to_string();
        }
    }
    for (key, provider) in &mut manifest.spec.providers.0 {
        if let (Some(image), Some(program)) = (&mut provider.image, spec(&key.value).and_then(UnitSpec::program)) {
            image.value = program.digest.to_string();
            // What it described was checked when it was there.
            provider.wit = None;
        }
    }
}

pub(crate) async fn scale(global: &Global, args: &ScaleArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let UnitId { app, unit } = &args.unit;
    let cause = format!("scale {unit} to {}", args.scale);
    let written = again(async || {
        let world = World::read(&bus).await?;
        let record = &world.app(app.as_str(), bus.lattice())?.value;
        let mut wish = as_it_is(record);
        wish.units.get_mut(unit).ok_or_else(|| Failure::no_unit(record, unit))?.set_scale(args.scale);
        if let holders @ [_, ..] = record.fused_into(unit).as_slice() {
            let holders: Vec<_> = holders.iter().map(|holder| holder.as_str()).collect();
            return Err(Failure::Refused {
                message: format!("`{unit}` does not run by itself: it is fused into {}", holders.join(" and ")),
                help: "scale that".to_owned(),
            });
        }
        let wish = Wish { app: wish, manifest: record.manifest.clone(), cause: cause.clone() };
        write(&bus, wish, &world).await
    });
    let written = written.await?;
    let note = format!("`apply` of a manifest that says something else of `{unit}` changes it back");
    let notes = if written.changes.is_some() { vec![note] } else { Vec::new() };
    written.see_through(&bus, args.waiting, &notes, output).await
}
