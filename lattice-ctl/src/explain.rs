//! `explain`: where the links of an app lead, by which way, and how their calls go.

use lattice::wire::HostId;
use lattice_view::{
    calls::Counted,
    links::{By, Explained, Way, explained},
    world::World,
};
use tokio::time::{Instant, sleep};

use crate::{
    cli::{ExplainArgs, Global},
    failure::Result,
    get::{Row, print},
    output::Output,
    rates,
};

impl Row for Explained {
    const HEADER: &'static [&'static str] =
        &["FROM", "LINK", "TO", "WAY", "CALLS/S", "P50", "P99", "FAILED/S", "CALLS", "FAILED"];
    fn cells(&self) -> Vec<String> {
        let link = match self.name.as_deref().filter(|name| *name != lattice::model::app::DEFAULT_LINK) {
            Some(name) => format!("{} ({name})", self.link),
            None => self.link.clone(),
        };
        let hosts = |hosts: &[HostId]| hosts.iter().map(|host| host.short()).collect::<Vec<_>>().join(",");
        let way = |way: &Way| match way.way {
            By::Fused => format!("fused on {}", way.from.short()),
            By::Local => format!("local on {}", way.from.short()),
            By::Lattice => format!("{} -> {}", way.from.short(), hosts(&way.to)),
            By::None => format!("{} -> nobody", way.from.short()),
        };
        let ways: Vec<_> = self.ways.iter().map(way).collect();
        let ways = if ways.is_empty() { "not running".to_owned() } else { ways.join("; ") };
        let calls = self.calls.as_ref().map_or(vec!["-".to_owned(); rates::HEADER.len()], rates::cells);
        [vec![self.from.to_string(), link, self.to.to_string(), ways], calls].concat()
    }
}

pub(crate) async fn run(global: &Global, args: &ExplainArgs, output: &mut Output) -> Result<()> {
    let bus = global.connect().await?;
    let world = World::read(&bus).await?;
    let record = &world.app(&args.app, &global.lattice)?.value;
    let (before, began) = (Counted::read(&bus, &world, output).await, Instant::now());
    sleep(args.during).await;
    let (flows, apart) = (Counted::read(&bus, &world, output).await.links(&before), began.elapsed());
    print(&explained(&world, record, &flows, apart), output)
}
