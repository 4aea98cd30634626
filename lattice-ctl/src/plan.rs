//! `plan`: what `apply` would do, without doing it.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    bus::Bus,
    model::{app::AppRecord, manifest::Manifest, signature::Signer},
    wire::{HostId, UnitId, UnitName},
};
use lattice_control::Plan;
use lattice_view::{why::plan_world, world::World};
use serde::Serialize;
use serde_json::Value;

use crate::{
    apply::{checked_in, connect},
    artifact::read_signer,
    cli::{Format, Global, PlanArgs},
    failure::{Failure, Result},
    image::{Images, registry::Registries},
    output::{Output, Paint, plain},
    revision::{Changes, Wish, next},
    settings,
    source::Source,
};

/// What `-o json` prints.
#[derive(Debug, Serialize)]
struct Report {
    app: String,
    /// The revision that there would be.
    revision: u64,
    would_change: bool,
    #[serde(flatten)]
    changes: Changes,
    /// Of each unit that would change: what is different, as `key: before -> after`.
    differences: BTreeMap<UnitName, Vec<String>>,
    /// Units of any app whose places would change, and those that would start anew.
    places: Vec<Place>,
}

/// The hosts of a unit, by their short ids.
#[derive(Debug, Serialize)]
struct Place {
    unit: UnitId,
    stays: Vec<String>,
    comes: Vec<String>,
    goes: Vec<String>,
    /// Whether its instances would be replaced by new ones.
    starts_anew: bool,
    /// Why fewer copies than wanted would be placed.
    problem: Option<String>,
}

pub(crate) async fn run(global: &Global, args: &PlanArgs, output: &mut Output) -> Result<()> {
    let mut all = Source::read_all(&args.manifests)?;
    let registries = Registries::new(&args.registry)?;
    let bus = connect(global, &mut all, &registries).await?;
    let mut world = World::read(&bus).await?;
    let signer = args.sign.as_deref().map(read_signer).transpose()?;
    let mut would_change = false;
    for (source, manifest) in &all {
        let report = plan(&bus, &mut world, source, manifest, &registries, signer.as_ref(), output).await?;
        match output.format {
            Format::Table => show(&report, output)?,
            _ => output.value(&report)?,
        }
        would_change |= report.would_change;
    }
    if would_change { Err(Failure::WouldChange) } else { Ok(()) }
}

/// Plans one app in `world`, which has it then.
async fn plan(
    bus: &Bus,
    world: &mut World,
    source: &Source,
    manifest: &Manifest,
    registries: &Registries,
    signer: Option<&Signer>,
    output: &mut Output,
) -> Result<Report> {
    let images = Images::read(manifest, source.origins(Some(bus), registries)).await?;
    let app = checked_in(bus, world, source, manifest, &images, output).await?;
    let found = settings::check_programs(bus, world, &app, manifest, output).await;
    if !found.is_empty() {
        return Err(source.rejected(found));
    }
    app.notes.iter().for_each(|note| output.note(note));
    let name = app.name.clone();
    let before = world.apps.get(name.as_str()).map(|entry| &entry.value);
    let wish = Wish { app, manifest: source.own_text(), cause: String::new() };
    let Some(record) = next(wish, world) else {
        return Ok(Report {
            app: name.to_string(),
            revision: before.map_or(0, |record| record.revision),
            would_change: false,
            changes: Changes::default(),
            differences: BTreeMap::new(),
            places: Vec::new(),
        });
    };
    let mut planned = plan_world(bus, world).await?;
    let now = lattice_control::plan(&planned);
    if let Some(signer) = signer {
        let artifacts = record.units.values().flat_map(|unit| unit.spec.artifacts());
        artifacts.for_each(|digest| planned.signers.add(digest, signer.public_key()));
    }
    planned.apps.insert(name.clone(), record.clone());
    let then = lattice_control::plan(&planned);
    let report = Report {
        app: name.to_string(),
        revision: record.revision,
        would_change: true,
        changes: Changes::between(before, &record),
        differences: differences(before, &record),
        places: places(&now, &then, before, &record),
    };
    world.insert(record);
    Ok(report)
}

fn differences(before: Option<&AppRecord>, after: &AppRecord) -> BTreeMap<UnitName, Vec<String>> {
    let mut all = BTreeMap::new();
    for (name, unit) in &after.units {
        let Some(old) = before.and_then(|record| record.units.get(name)).filter(|old| old.spec != unit.spec) else {
            continue;
        };
        let value = |spec| serde_json::to_value(spec).unwrap_or_default();
        let mut found = Vec::new();
        compare("", &value(&old.spec), &value(&unit.spec), &mut found);
        all.insert(name.clone(), found);
    }
    all
}

/// Adds what is different below `path`.
fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        let told = |value: &Value| if value.is_null() { "none".to_owned() } else { value.to_string() };
        return found.push(format!("{path}: {} -> {}", told(before), told(after)));
    };
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        // The outermost key says only whether it is a component or a provider.
        let below = if path.is_empty() && (key == "component" || key == "provider") {
            String::new()
        } else if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let part = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
        compare(&below, &part(old), &part(new), found);
    }
}

fn places(now: &Plan, then: &Plan, before: Option<&AppRecord>, after: &AppRecord) -> Vec<Place> {
    let hosts = |plan: &Plan, unit: &UnitId| -> BTreeSet<HostId> {
        let planned = plan.reports.get(&unit.app).and_then(|report| report.units.get(&unit.unit));
        planned.map(|planned| planned.hosts.iter().cloned().collect()).unwrap_or_default()
    };
    let units = |plan: &Plan| -> BTreeSet<UnitId> {
        let of = |(app, report): (&_, &lattice::model::assignment::PlanReport)| {
            report.units.keys().map(|unit| UnitId::new(Clone::clone(app), unit.clone())).collect::<Vec<_>>()
        };
        plan.reports.iter().flat_map(of).collect()
    };
    let short = |hosts: Vec<&HostId>| hosts.into_iter().map(|host| host.short().to_owned()).collect();
    let mut found = Vec::new();
    for unit in units(now).union(&units(then)) {
        let (old, new) = (hosts(now, unit), hosts(then, unit));
        let revision = |record: &AppRecord| record.units.get(&unit.unit).map(|unit| unit.revision);
        let is_ours = unit.app == after.name;
        let starts_anew =
            is_ours && before.and_then(revision).is_some_and(|old| revision(after).is_some_and(|new| new != old));
        let planned = then.reports.get(&unit.app).and_then(|report| report.units.get(&unit.unit));
        let problem = planned.and_then(|planned| planned.problem.clone()).filter(|_| is_ours);
        if old != new || starts_anew || problem.is_some() {
            found.push(Place {
                unit: unit.clone(),
                stays: short(old.intersection(&new).collect()),
                comes: short(new.difference(&old).collect()),
                goes: short(old.difference(&new).collect()),
                starts_anew,
                problem,
            });
        }
    }
    found
}

fn show(report: &Report, output: &mut Output) -> Result<()> {
    let Report { app, revision, changes, .. } = report;
    if !report.would_change {
        return output.line(&format!("app {app}: no change (revision {revision})"));
    }
    output.line(&format!("app {app}: would become revision {revision} ({})", changes.describe()))?;
    for unit in &changes.added {
        output.line(&output.paint(Paint::Green, &format!("  + {unit}")))?;
    }
    for (unit, differences) in &report.differences {
        output.line(&output.paint(Paint::Yellow, &format!("  ~ {unit}")))?;
        for difference in differences {
            output.line(&format!("      {}", plain(difference)))?;
        }
    }
    for unit in &changes.removed {
        output.line(&output.paint(Paint::Red, &format!("  - {unit}")))?;
    }
    for place in &report.places {
        output.line(&place.line())?;
    }
    Ok(())
}

impl Place {
    /// `shop/cart: starts anew on NAAAAAAA; comes to NBBBBBBB; leaves NCCCCCCC`
    fn line(&self) -> String {
        let part = |what: &str, hosts: &[String]| (!hosts.is_empty()).then(|| format!("{what} {}", hosts.join(", ")));
        let stays = if self.starts_anew { "starts anew on" } else { "stays on" };
        let parts = [part(stays, &self.stays), part("comes to", &self.comes), part("leaves", &self.goes)];
        let mut parts: Vec<_> = parts.into_iter().flatten().collect();
        parts.extend(self.problem.clone());
        format!("  {}: {}", self.unit, if parts.is_empty() { "runs nowhere".to_owned() } else { parts.join("; ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::tests::{Fake, TINY, host};

    async fn planned(fake: &Fake, text: &str) -> (Report, String) {
        let (mut output, captured) = Output::captured(Format::Table);
        let source = Source { name: "shop.yaml".into(), text: text.into(), folder: ".".into() };
        let mut world = World::read(&fake.bus).await.unwrap();
        let report =
            plan(&fake.bus, &mut world, &source, &source.parse().unwrap(), &Registries::default(), None, &mut output)
                .await
                .unwrap();
        show(&report, &mut output).unwrap();
        (report, captured.out())
    }

    #[tokio::test(start_paused = true)]
    async fn what_would_change_is_told_and_nothing_is_written() {
        let fake = Fake::new();
        let record = fake.app(TINY).await;
        fake.plan(&record, &["A"]).await;
        fake.runs("A", &record).await;
        fake.beat("A").await;
        let assigned = record.unit_ids().map(|(id, unit)| (id, unit.clone())).collect();
        let assignment = lattice::model::assignment::Assignment {
            version: 1,
            host: host("A"),
            term: 1,
            generation: 1,
            units: assigned,
            given_up: false,
        };
        fake.bus.store().assignments().put(host("A").as_str(), &assignment).await.unwrap();
        let (report, told) = planned(&fake, TINY).await;
        assert!(!report.would_change);
        assert_eq!(told, "app shop: no change (revision 1)\n");

        let more = TINY.replace("keyvalue-memory", "keyvalue-memory, config: { ttl: 5s }") + "    web: { use: cron }\n";
        let (report, told) = planned(&fake, &more).await;
        assert!(report.would_change);
        assert_eq!(
            told,
            "app shop: would become revision 2 (changed: cache; added: web)\n  + web\n  ~ cache\n      config.ttl: none -> \
             \"5s\"\n  shop/cache: starts anew on NAAAAAAA\n  shop/web: comes to NAAAAAAA\n"
        );
        let (_, told) =
            planned(&fake, &TINY.replace("keyvalue-memory", "keyvalue-memory, placement: { require: { zone: [b] } }"))
                .await;
        assert!(told.contains("      placement.require.zone: none -> [\"b\"]\n"), "{told}");
        assert!(told.contains("  shop/cache: leaves NAAAAAAA; no live host has zone=b"), "{told}");
        assert_eq!(fake.bus.store().apps().get("shop").await.unwrap().unwrap().value, record);
    }
}
