//! `why`: which rule has placed a unit where it is, and what keeps it from other hosts.

use lattice::{
    bus::Bus,
    model::{
        app::Scale,
        inventory::InstanceState,
        status::{UnitState, UnitStatus},
    },
    wire::{AppName, HostId, UnitId, UnitName},
};
use lattice_control::{Explanation, Reason, explain};
use serde::Serialize;

use crate::{
    cli::{Format, Global, WhyArgs},
    failure::{Failure, Result},
    get::{Row, print},
    output::Output,
    planning::plan_world,
    wait::why,
    world::World,
};

/// One unit, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    unit: UnitId,
    state: UnitState,
    /// Why it is not ready.
    reason: Option<String>,
    wanted: u32,
    ready: u32,
    /// How many copies the manifest asks for, in words.
    scale: String,
    hosts: Vec<OnHost>,
}

#[derive(Debug, Serialize)]
struct OnHost {
    host: HostId,
    /// Whether it is to run there.
    planned: bool,
    /// Of the instance that is there; `null` when there is none.
    state: Option<InstanceState>,
    why: String,
}

impl Row for OnHost {
    const HEADER: &'static [&'static str] = &["HOST", "PLANNED", "STATE", "WHY"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.host.short().to_owned(),
            if self.planned { "yes" } else { "no" }.to_owned(),
            self.state.map_or("-".to_owned(), |state| state.to_string()),
            self.why.clone(),
        ]
    }
}

pub(crate) async fn run(global: &Global, args: &WhyArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let world = World::read(&bus).await?;
    let (app, unit) = &args.of;
    let reports = reports(&bus, &world, app, unit.as_ref()).await?;
    if output.format != Format::Table {
        return output.value(&reports.iter().map(|(report, _)| report).collect::<Vec<_>>());
    }
    for (at, (report, status)) in reports.iter().enumerate() {
        let gap = if at > 0 { "\n" } else { "" };
        let Report { unit: UnitId { app, .. }, ready, wanted, scale, .. } = report;
        let moving = if *scale == wanted.to_string() { String::new() } else { format!("; {scale}") };
        output.line(&format!("{gap}{app}/{} ({ready}/{wanted} ready{moving})", why(status)))?;
        if !report.hosts.is_empty() {
            print(&report.hosts, output)?;
        }
    }
    Ok(())
}

/// What is to be said of a unit, or of all units of an app, and how each is.
pub(crate) async fn reports(
    bus: &Bus,
    world: &World,
    app: &AppName,
    unit: Option<&UnitName>,
) -> Result<Vec<(Report, UnitStatus)>> {
    let planned = plan_world(bus, world).await?;
    let app = &world.app(app.as_str(), bus.lattice())?.value;
    let mut units = world.status(app).units;
    units.retain(|status| unit.is_none_or(|name| *name == status.unit));
    if let (true, Some(unit)) = (units.is_empty(), unit) {
        return Err(Failure::no_unit(app, unit));
    }
    let mut explained = explain(&planned, |other| other.app == app.name && unit.is_none_or(|u| *u == other.unit));
    let report = |status: UnitStatus| {
        let unit = UnitId::new(app.name.clone(), status.unit.clone());
        let explanation = explained.remove(&unit)?;
        let scale = app.units.get(&status.unit)?.spec.scale();
        Some((report(unit, &status, scale, &explanation), status))
    };
    Ok(units.into_iter().filter_map(report).collect())
}

fn report(unit: UnitId, status: &UnitStatus, scale: Scale, explanation: &Explanation) -> Report {
    let on = |(host, reason): &(HostId, Reason)| OnHost {
        host: host.clone(),
        planned: explanation.planned.hosts.contains(host),
        state: status.instances.iter().find(|instance| instance.host == *host).map(|instance| instance.state),
        why: words(reason),
    };
    Report {
        unit,
        state: status.state,
        reason: status.reason.clone(),
        wanted: status.wanted,
        ready: status.ready,
        scale: scale.to_string(),
        hosts: explanation.hosts.iter().map(on).collect(),
    }
}

fn words(reason: &Reason) -> String {
    match reason {
        Reason::Stays => "it was there, and may stay".to_owned(),
        Reason::Placed => "the best place for a new copy".to_owned(),
        Reason::LeavesLater(Some(refusal)) => format!("{refusal}; it goes when others have taken over"),
        Reason::LeavesLater(None) => "it goes when others have taken over".to_owned(),
        Reason::Refused(refusal) => refusal.to_string(),
        Reason::Enough => "there are enough copies".to_owned(),
        Reason::Silent { runs: true } => "not heard of; it keeps what it has".to_owned(),
        Reason::Silent { runs: false } => "not heard of; it gets nothing".to_owned(),
    }
}
