//! `top`: the calls that components take.

use lattice_view::{
    calls::{Counted, UnitCalls, units},
    world::World,
};
use tokio::time::{Instant, sleep};

use crate::{
    cli::{Format, Global, TopArgs},
    failure::Result,
    get::{Row, print},
    output::Output,
    rates::cells,
};

impl Row for UnitCalls {
    const HEADER: &'static [&'static str] =
        &["UNIT", "HOSTS", "IN FLIGHT", "CALLS/S", "P50", "P99", "FAILED/S", "CALLS", "FAILED", "STARTS"];
    fn cells(&self) -> Vec<String> {
        let about = vec![self.unit.to_string(), self.hosts.to_string(), self.in_flight.to_string()];
        [about, cells(&self.rates), vec![self.starts.to_string()]].concat()
    }
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
