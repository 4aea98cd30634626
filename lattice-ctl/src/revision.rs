//! Revisions of apps: what is written down as the next one.

use std::{collections::BTreeMap, time::Duration};

use lattice::{
    bus::{ArtifactError, Bus, StoreError},
    model::{
        app::{AppRecord, UnitSpec},
        check::CheckedApp,
        status::AppStatus,
    },
    wire::{AppName, UnitName},
};
use lattice_control::history;
use lattice_view::world::{World, now_ms};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Format, Waiting},
    failure::{Failure, Result},
    output::{Output, Paint},
    wait::{ready_line, until_ready},
};

/// How often a write is tried again after somebody else was faster.
const ATTEMPTS: usize = 8;

/// How long a write is tried that has no answer: after the death of one of its servers a cluster agrees on new leaders.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);

/// Does what `attempt` does, again when somebody else was faster, or when it is not known whether a write was done: then the next
/// attempt reads what there is.
pub(crate) async fn again<T>(mut attempt: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let (begin, mut conflicts) = (Instant::now(), 0);
    loop {
        match attempt().await {
            Err(Failure::Store(StoreError::Conflict { .. })) if conflicts < ATTEMPTS => conflicts += 1,
            Err(Failure::Store(StoreError::Unavailable(_)) | Failure::Artifact(ArtifactError::Unavailable(_)))
                if begin.elapsed() < PATIENCE =>
            {
                sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// What an app shall be.
pub(crate) struct Wish {
    pub(crate) app: CheckedApp,
    pub(crate) manifest: String,
    /// What made it so, for the history: `apply`, `scale cart to 3`.
    pub(crate) cause: String,
}

/// Lets an app of `world` be what `wish` says.
pub(crate) fn assume(world: &mut World, wish: Wish) {
    if let Some(record) = next(wish, world) {
        world.insert(record);
    }
}

/// The record that is in the lattice now, and how it came there.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) record: AppRecord,
    /// `None` when it was there already.
    pub(crate) changes: Option<Changes>,
}

/// How a record differs from the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Changes {
    pub(crate) changed: Vec<UnitName>,
    pub(crate) added: Vec<UnitName>,
    pub(crate) removed: Vec<UnitName>,
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
    pub(crate) fn between(previous: Option<&AppRecord>, next: &AppRecord) -> Self {
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

    pub(crate) fn describe(&self) -> String {
        let part = |what: &str, names: &[UnitName]| {
            let names: Vec<_> = names.iter().map(UnitName::as_str).collect();
            (!names.is_empty()).then(|| format!("{what}: {}", names.join(", ")))
        };
        let parts = [part("changed", &self.changed), part("added", &self.added), part("removed", &self.removed)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "labels or shares changed".to_owned() } else { parts.join("; ") }
    }
}

impl Written {
    fn line(&self) -> String {
        let AppRecord { name, revision, .. } = &self.record;
        match &self.changes {
            Some(changes) => format!("app {name}: revision {revision} ({})", changes.describe()),
            None => format!("app {name}: unchanged (revision {revision})"),
        }
    }

    /// Tells what was written, and waits until it is so unless told otherwise.
    pub(crate) async fn see_through(
        self,
        bus: &Bus,
        waiting: Waiting,
        notes: &[String],
        output: &mut Output,
    ) -> Result<()> {
        output.say(&self.line())?;
        notes.iter().for_each(|note| output.note(note));
        let status = if waiting.no_wait {
            if World::read(bus).await?.alive.is_empty() {
                let failure = Failure::NoHost(bus.lattice().clone());
                output.note(&format!("{failure}: {}", failure.help().unwrap_or_default()));
            }
            None
        } else {
            Some(until_ready(bus, &self.record, waiting.timeout, output).await?)
        };
        if output.format != Format::Table {
            return output.value(&Report {
                app: self.record.name.as_str(),
                revision: self.record.revision,
                unchanged: self.changes.is_none(),
                changes: self.changes.clone().unwrap_or_default(),
                status: status.as_ref(),
            });
        }
        match status {
            Some(status) => {
                let ready = format!(": {}", output.paint(Paint::Green, "ready"));
                output.line(&ready_line(&self.record, &status).replacen(": ready", &ready, 1))
            }
            None => Ok(()),
        }
    }
}

/// The record that makes `wish` come true in `world`; `None` when it is so already.
pub(crate) fn next(wish: Wish, world: &World) -> Option<AppRecord> {
    let Wish { app: CheckedApp { name, labels, units, shares, .. }, manifest, cause } = wish;
    let before = world.apps.get(name.as_str()).map(|entry| &entry.value);
    let mut record = AppRecord::next(name, before, manifest, labels, units, shares)?;
    (record.at_ms, record.cause) = (now_ms(), cause);
    Some(record)
}

/// Writes what follows from `wish`, over what `world` has.
pub(crate) async fn write(bus: &Bus, wish: Wish, world: &World) -> Result<Written> {
    let name = wish.app.name.clone();
    put(bus, &name, next(wish, world), world).await
}

/// Makes the app again what it was in `target`.
pub(crate) async fn go_back(bus: &Bus, target: &AppRecord, world: &World) -> Result<Written> {
    let current = world.app(target.name.as_str(), bus.lattice())?;
    let next = current.value.back_to(target).map(|mut record| {
        (record.at_ms, record.cause) = (now_ms(), format!("rollback to {}", target.revision));
        record
    });
    put(bus, &target.name, next, world).await
}

/// Writes `next`, if there is a change, over what `world` has.
async fn put(bus: &Bus, name: &AppName, next: Option<AppRecord>, world: &World) -> Result<Written> {
    let previous = world.apps.get(name.as_str());
    let Some(mut record) = next else {
        return match previous {
            Some(entry) => Ok(Written { record: entry.value.clone(), changes: None }),
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
    let (apps, key) = (bus.store().apps(), name.as_str());
    match previous {
        Some(entry) => {
            history::keep(bus, &entry.value).await?;
            apps.update(key, &record, entry.revision).await?
        }
        None => apps.create(key, &record).await?,
    };
    let changes = Some(Changes::between(previous.map(|entry| &entry.value), &record));
    Ok(Written { record, changes })
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

/// The app that `record` is, as a wish.
pub(crate) fn as_it_is(record: &AppRecord) -> CheckedApp {
    let spec = |(name, unit): (&UnitName, &lattice::model::app::UnitRecord)| (name.clone(), unit.spec.clone());
    let units: BTreeMap<UnitName, UnitSpec> = record.units.iter().map(spec).collect();
    CheckedApp {
        name: record.name.clone(),
        labels: record.labels.clone(),
        units,
        shares: record.shares.clone(),
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::app::Scale;

    use super::*;
    use crate::wait::tests::{Fake, TINY};

    async fn scaled(fake: &Fake, to: u32) -> Written {
        let world = World::read(&fake.bus).await.unwrap();
        let mut app = as_it_is(&world.apps["shop"].value);
        app.units.values_mut().for_each(|spec| spec.set_scale(Scale::Replicas(to)));
        write(&fake.bus, Wish { app, manifest: TINY.into(), cause: format!("to {to}") }, &world).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_written_over_is_kept_and_in_the_end_forgotten() {
        let fake = Fake::new();
        let name = fake.app(TINY).await.name;
        assert!(scaled(&fake, 1).await.changes.is_none(), "it is so already");
        for to in 2..30 {
            let written = scaled(&fake, to).await;
            assert_eq!(written.record.revision, u64::from(to));
            let unit = written.record.units.values().next().unwrap();
            assert_eq!(unit.revision, 1, "its instances are what they were");
        }
        let kept = history::before(&fake.bus, &name).await.unwrap();
        assert_eq!(kept.iter().map(|record| record.revision).collect::<Vec<_>>(), (9..29).collect::<Vec<_>>());
        assert_eq!(kept[19].cause, "to 28");
        // An app whose name begins alike has a history of its own.
        assert!(history::before(&fake.bus, &"sho".parse().unwrap()).await.unwrap().is_empty());
        crate::delete::forget(&fake.bus.store().history(), &name).await.unwrap();
        assert!(history::before(&fake.bus, &name).await.unwrap().is_empty());
    }
}
