//! `top`: the calls that components take.

use std::time::Duration;

use lattice::wire::UnitId;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Format, Global, TopArgs},
    failure::Result,
    figures::{Counted, Flow, Rates},
    get::{Row, print},
    output::Output,
    world::World,
};

/// One unit.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unit {
    pub(crate) unit: UnitId,
    hosts: usize,
    in_flight: u64,
    per_second: f64,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
    failed_per_second: f64,
    calls: u64,
    failed: u64,
    starts: u64,
    #[serde(skip)]
    rates: Rates,
}

impl Row for Unit {
    const HEADER: &'static [&'static str] =
        &["UNIT", "HOSTS", "IN FLIGHT", "CALLS/S", "P50", "P99", "FAILED/S", "CALLS", "FAILED", "STARTS"];
    fn cells(&self) -> Vec<String> {
        let about = vec![self.unit.to_string(), self.hosts.to_string(), self.in_flight.to_string()];
        [about, self.rates.cells(), vec![self.starts.to_string()]].concat()
    }
}

/// What was counted of each unit in so much time.
pub(crate) fn units(counted: &Counted, before: &Counted, apart: Duration) -> Vec<Unit> {
    let row = |(unit, flow): (UnitId, Flow)| {
        let rates = flow.rates(apart);
        Unit {
            unit,
            hosts: flow.hosts,
            in_flight: flow.all.in_flight,
            per_second: rates.per_second,
            p50_us: rates.p50_us,
            p99_us: rates.p99_us,
            failed_per_second: rates.failed_per_second,
            calls: rates.total,
            failed: rates.failed,
            starts: flow.starts,
            rates,
        }
    };
    counted.units(before).into_iter().map(row).collect()
}

pub(crate) async fn run(global: &Global, args: &TopArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let mut world = World::read(&bus).await?;
    if let Some(app) = &args.app {
        world.app(app, &global.lattice)?;
    }
    let again = output.format == Format::Table && output.out_is_terminal && !args.once;
    let (mut before, mut began) = (Counted::read(&bus, &world, output).await, Instant::now());
    loop {
        sleep(args.every).await;
        let counted = Counted::read(&bus, &world, output).await;
        let apart = began.elapsed();
        let mut rows = units(&counted, &before, apart);
        rows.retain(|row| args.app.as_deref().is_none_or(|app| row.unit.app.as_str() == app));
        // Who has most to do comes first.
        rows.sort_by(|a, b| b.per_second.total_cmp(&a.per_second).then_with(|| a.unit.cmp(&b.unit)));
        if again {
            output.text("\x1b[H\x1b[2J")?;
        }
        print(&rows, output)?;
        if !again {
            return Ok(());
        }
        (before, began) = (counted, Instant::now());
        // Without NATS the hosts of before are asked again.
        world = World::read(&bus).await.unwrap_or(world);
    }
}
