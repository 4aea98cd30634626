//! `explain`: where the links of an app lead, by which way, and how their calls go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lattice::{
    model::app::{AppRecord, Transport, UnitSpec},
    wire::{HostId, UnitId},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::{
    cli::{ExplainArgs, Global},
    failure::Result,
    figures::{Counted, Flow, Rates},
    get::{Row, print},
    output::Output,
    world::World,
};

/// One link or route, and for a link by weight one of its targets.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Explained {
    from: UnitId,
    /// The interface, or the pattern of a route.
    link: String,
    name: Option<String>,
    to: UnitId,
    transport: Transport,
    ways: Vec<Way>,
    /// Of those over NATS.
    calls: Option<Rates>,
}

/// Where calls go from one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Way {
    from: HostId,
    /// To any of these.
    to: Vec<HostId>,
    way: By,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum By {
    /// The target is a part of the caller.
    Fused,
    /// Inside the process.
    Local,
    /// One NATS request.
    Lattice,
    /// There is nobody.
    None,
}

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
        let calls = self.calls.as_ref().map_or(vec!["-".to_owned(); Rates::HEADER.len()], Rates::cells);
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

/// The links of an app, with what was counted of each in so much time.
pub(crate) fn explained(
    world: &World,
    record: &AppRecord,
    flows: &BTreeMap<(UnitId, UnitId), Flow>,
    apart: Duration,
) -> Vec<Explained> {
    let mut rows = links(record);
    for row in &mut rows {
        row.ways = ways(world, &row.from, &row.to, row.transport);
        row.calls = flows.get(&(row.from.clone(), row.to.clone())).map(|flow| flow.rates(apart));
    }
    rows
}

/// All that lead from a unit of the app to another one.
fn links(record: &AppRecord) -> Vec<Explained> {
    let mut links = Vec::new();
    for (unit, spec) in record.unit_ids() {
        let one = |link: String, name: Option<String>, to: &UnitId, transport: Transport| Explained {
            from: unit.clone(),
            link,
            name,
            to: to.clone(),
            transport,
            ways: Vec::new(),
            calls: None,
        };
        match &spec.spec {
            UnitSpec::Component(component) => {
                let link = component.links.iter();
                links.extend(
                    link.map(|link| one(link.interface.clone(), Some(link.name.clone()), &link.to, link.transport)),
                );
            }
            UnitSpec::Provider(provider) => {
                let called = provider
                    .routes
                    .iter()
                    .flat_map(|route| route.to.iter().map(|target| (route.pattern.to_string(), target.unit.clone())));
                links.extend(called.map(|(pattern, to)| one(pattern, None, &to, Transport::Auto)));
            }
        }
    }
    links
}

/// From each host where `from` takes calls. As hosts do it: inside the process where that is possible and allowed.
fn ways(world: &World, from: &UnitId, to: &UnitId, transport: Transport) -> Vec<Way> {
    let runs = |unit: &UnitId| {
        let here = |instance: &lattice::model::inventory::InstanceReport| {
            instance.unit == *unit && instance.state.takes_calls()
        };
        let hosts = world.live_hosts().filter(|host| host.instances.iter().any(here));
        hosts.map(|host| host.host.clone()).collect::<BTreeSet<_>>()
    };
    let targets = runs(to);
    let way = |from: HostId| {
        let here = targets.contains(&from);
        let (to, way) = match transport {
            Transport::Fused => (vec![from.clone()], By::Fused),
            Transport::Auto | Transport::Local if here => (vec![from.clone()], By::Local),
            Transport::Local => (Vec::new(), By::None),
            Transport::Auto | Transport::Lattice if targets.is_empty() => (Vec::new(), By::None),
            Transport::Auto | Transport::Lattice => (targets.iter().cloned().collect(), By::Lattice),
        };
        Way { from, to, way }
    };
    runs(from).into_iter().map(way).collect()
}
