//! `why`: which rule has placed a unit where it is, and what keeps it from other hosts.

use lattice::wire::UnitId;
use lattice_view::{
    why::{OnHost, Report, reports},
    world::World,
};

use crate::{
    cli::{Format, Global, WhyArgs},
    failure::Result,
    get::{Row, print},
    output::Output,
    wait::why,
};

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
