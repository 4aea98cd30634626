//! Worlds for the tests of the plan.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::{
        app::{
            AppRecord, ComponentSpec, FusedSpec, LinkSpec, LinkTarget, Placement, ProgramSpec, ProviderSpec, Scale,
            Transport, UnitSpec,
        },
        inventory::{HostRecord, InstanceReport, InstanceState},
    },
    wire::{Digest, HostId, UnitId, UnitName},
};
use lattice_control::{Plan, World, plan};

pub fn host(at: usize) -> HostId {
    let letter = char::from(b'A' + at as u8);
    format!("N{}", letter.to_string().repeat(55)).parse().unwrap()
}

pub fn record(at: usize, zone: Option<&str>) -> HostRecord {
    HostRecord {
        labels: zone.map(|zone| ("zone".to_owned(), zone.to_owned())).into_iter().collect(),
        // Every other one, so that generated worlds have both.
        programs: at % 2 == 1,
        ..HostRecord::of(host(at))
    }
}

/// Live hosts in these zones.
pub fn hosts(zones: &[Option<&str>]) -> BTreeMap<HostId, HostRecord> {
    zones.iter().enumerate().map(|(at, zone)| (host(at), record(at, *zone))).collect()
}

/// A provider: an HTTP server when it listens.
pub fn spec(scale: Scale, zones: &[&str], address: Option<&str>) -> UnitSpec {
    let zones: Vec<_> = zones.iter().map(|zone| (*zone).to_owned()).collect();
    let require = if zones.is_empty() { BTreeMap::new() } else { BTreeMap::from([("zone".to_owned(), zones)]) };
    let kind = if address.is_some() { "http-server" } else { "keyvalue-memory" };
    UnitSpec::Provider(ProviderSpec {
        config: address.map(|a| ("address".to_owned(), a.into())).into_iter().collect(),
        scale,
        placement: Placement { require, ..Placement::default() },
        ..ProviderSpec::of(kind)
    })
}

/// A component with fused links to these units of `app`.
pub fn component(app: &str, parts: &[&str]) -> UnitSpec {
    let empty = Digest::of(b"");
    let to = |part: &str| format!("{app}/{part}").parse().unwrap();
    let link = |part: &&str| LinkSpec {
        transport: Transport::Fused,
        fused: Some(Box::new(FusedSpec { digest: empty.clone(), imports: Vec::new(), links: Vec::new() })),
        ..LinkSpec::new(&format!("acme:{part}"), to(part), LinkTarget::Wit)
    };
    UnitSpec::Component(ComponentSpec { links: parts.iter().map(link).collect(), ..ComponentSpec::of(empty.clone()) })
}

/// The same as a program of the user's own.
pub fn program(mut spec: UnitSpec) -> UnitSpec {
    if let UnitSpec::Provider(provider) = &mut spec {
        let (image, digest) = ("./ledger.py".to_owned(), Digest::of(b""));
        let program = ProgramSpec { image, digest, serves: Vec::new(), wit: None, env: BTreeMap::new() };
        provider.program = Some(program);
    }
    spec
}

pub fn app(name: &str, units: Vec<(&str, UnitSpec)>) -> AppRecord {
    let units = units.into_iter().map(|(unit, spec)| (unit.parse().unwrap(), spec)).collect();
    AppRecord::next(name.parse().unwrap(), None, String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap()
}

/// The app with one unit changed.
pub fn change(app: &AppRecord, unit: &UnitName, spec: UnitSpec) -> AppRecord {
    let mut units: BTreeMap<_, _> = app.units.iter().map(|(name, unit)| (name.clone(), unit.spec.clone())).collect();
    units.insert(unit.clone(), spec);
    let same = app.clone();
    AppRecord::next(app.name.clone(), Some(app), String::new(), BTreeMap::new(), units, BTreeMap::new()).unwrap_or(same)
}

pub fn world(apps: Vec<AppRecord>, hosts: BTreeMap<HostId, HostRecord>) -> World {
    World { apps: apps.into_iter().map(|app| (app.name.clone(), app)).collect(), hosts, ..World::default() }
}

/// What `plan` says is written down.
pub fn assign(world: &mut World, plan: &Plan) {
    world.assigned = plan.units.clone();
    world.reports = plan.reports.clone();
}

/// The hosts do as `plan` says: all that is assigned is ready, the rest is gone.
pub fn follow(world: &mut World, plan: &Plan) {
    assign(world, plan);
    for (id, host) in &mut world.hosts {
        let units = plan.units.get(id).into_iter().flatten();
        host.instances =
            units.map(|(unit, record)| InstanceReport::of(id, unit, record, InstanceState::Ready)).collect();
    }
}

/// Plans and follows until nothing changes.
pub fn settle(world: &mut World) -> Plan {
    for _ in 0..60 {
        let next = plan(world);
        let done = next.units == world.assigned;
        follow(world, &next);
        if done {
            return next;
        }
    }
    panic!("the plan does not come to an end");
}

/// Who runs what.
pub fn pairs(plan: &Plan) -> BTreeSet<(HostId, UnitId)> {
    let pairs = plan.units.iter().flat_map(|(host, units)| units.keys().map(move |unit| (host.clone(), unit.clone())));
    pairs.collect()
}

/// Where a unit is.
pub fn homes(plan: &Plan, unit: &str) -> BTreeSet<HostId> {
    pairs(plan).into_iter().filter(|(_, id)| id.to_string() == unit).map(|(host, _)| host).collect()
}
