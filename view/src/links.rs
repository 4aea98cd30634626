//! Where the links of an app lead, by which way, and how their calls go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lattice::{
    model::app::{AppRecord, Transport, UnitSpec},
    wire::{HostId, UnitId},
};
use serde::Serialize;

use crate::{
    calls::{Flow, Rates},
    world::World,
};

/// One link or route, and for a link by weight one of its targets.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    pub from: UnitId,
    /// The interface, or the pattern of a route.
    pub link: String,
    pub name: Option<String>,
    pub to: UnitId,
    pub transport: Transport,
    pub ways: Vec<Way>,
    /// Of those over NATS.
    pub calls: Option<Rates>,
}

/// Where calls go from one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Way {
    pub from: HostId,
    /// To any of these.
    pub to: Vec<HostId>,
    pub way: By,
}

/// By which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The target is a part of the caller.
    Fused,
    /// Inside the process.
    Local,
    /// One NATS request.
    Lattice,
    /// There is nobody.
    None,
}

/// The links of an app, with what was counted of each in so much time.
pub fn explained(
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
