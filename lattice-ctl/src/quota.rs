//! `quota`: how much of the lattice apps may have.

use lattice::{
    bus::Bus,
    model::{
        app::{Scale, UnitSpec},
        check::CheckedApp,
        quota::{Quota, Usage},
    },
};
use lattice_view::world::World;
use serde::Serialize;

use crate::{
    cli::{Global, QuotaCommand},
    failure::{Failure, Result},
    get::{Row, print},
    output::Output,
};

pub(crate) async fn run(global: &Global, command: &QuotaCommand, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let key =
        |app: &Option<lattice::wire::AppName>| app.as_ref().map_or(Quota::DEFAULT.to_owned(), ToString::to_string);
    match command {
        QuotaCommand::List => list(&bus, output).await,
        QuotaCommand::Set { app, copies, memory, in_flight, per_second } => {
            let quota = Quota {
                version: Quota::VERSION,
                copies: *copies,
                memory_bytes: *memory,
                in_flight: *in_flight,
                per_second: *per_second,
            };
            bus.store().quotas().put(&key(app), &quota).await?;
            output.line(&format!("{}: {}", name(&key(app)), words(&quota).join(", ")))
        }
        QuotaCommand::Remove { app } => {
            bus.store().quotas().delete(&key(app)).await?;
            output.line(&format!("{}: no quota of its own", name(&key(app))))
        }
    }
}

fn name(key: &str) -> String {
    if key == Quota::DEFAULT { "apps without a quota of their own".to_owned() } else { format!("app {key}") }
}

fn words(quota: &Quota) -> Vec<String> {
    let Quota { copies, memory_bytes, in_flight, per_second, .. } = quota;
    let mut words = Vec::new();
    words.extend(copies.map(|n| format!("{n} copies")));
    words.extend(memory_bytes.map(|n| format!("{} MiB", n >> 20)));
    words.extend(in_flight.map(|n| format!("{n} calls in flight")));
    words.extend(per_second.map(|n| format!("{n} calls a second")));
    if words.is_empty() {
        words.push("no bound".to_owned());
    }
    words
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    /// `null` for apps without a quota of their own.
    app: Option<String>,
    #[serde(flatten)]
    quota: Quota,
    /// What the app has now.
    copies_used: u64,
    memory_used: u64,
}

impl Row for Listed {
    const HEADER: &'static [&'static str] = &["APP", "QUOTA", "COPIES", "MEMORY"];
    fn cells(&self) -> Vec<String> {
        let app = self.app.clone().unwrap_or_else(|| "(others)".to_owned());
        let used = [self.copies_used.to_string(), format!("{} MiB", self.memory_used >> 20)];
        let [copies, memory] = if self.app.is_some() { used } else { ["-".to_owned(), "-".to_owned()] };
        vec![app, words(&self.quota).join(", "), copies, memory]
    }
}

async fn list(bus: &Bus, output: &mut Output) -> Result<()> {
    let world = World::read(bus).await?;
    let listed = |(key, quota): (&String, &Quota)| {
        let mut usage = Usage::default();
        let app = world.apps.get(key).map(|entry| &entry.value);
        for (unit, record) in app.iter().flat_map(|app| &app.units) {
            let planned = world.plans.get(key).and_then(|plan| plan.value.units.get(unit));
            usage.add(&record.spec, planned.map_or(0, |planned| planned.hosts.len() as u64));
        }
        Listed {
            app: Some(key.clone()).filter(|key| key != Quota::DEFAULT),
            quota: *quota,
            copies_used: usage.copies,
            memory_used: usage.memory_bytes,
        }
    };
    print(&world.quotas.iter().map(listed).collect::<Vec<_>>(), output)
}

/// Whether the app asks for more than it may have, as far as that is known before it is placed.
pub(crate) fn check(world: &World, app: &CheckedApp) -> Result<()> {
    let Some(quota) = Quota::of(&app.name, &world.quotas) else { return Ok(()) };
    let mut usage = Usage::default();
    for spec in app.units.values() {
        usage.add(spec, least(spec));
    }
    let Some(exceeded) = quota.exceeded(usage) else { return Ok(()) };
    let Usage { copies, memory_bytes } = usage;
    Err(Failure::Refused {
        message: format!(
            "app {} asks for {copies} copies and {} MiB: {exceeded} is less",
            app.name,
            memory_bytes >> 20
        ),
        help: format!("ask for less, or have the quota raised with `lattice-ctl quota set {}`", app.name),
    })
}

/// The copies that there are to be at least.
fn least(spec: &UnitSpec) -> u64 {
    match spec.scale() {
        Scale::Replicas(n) => u64::from(n),
        Scale::PerHost => 1,
        Scale::Follow(follow) => u64::from(follow.min),
    }
}
