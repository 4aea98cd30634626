//! How long a plan takes, for lattices of several sizes. It is pure, so that no lattice is needed.

use std::{collections::BTreeMap, time::Instant};

use anyhow::{Context, Result};
use lattice::{
    model::{
        app::{AppRecord, ComponentSpec, Placement, UnitSpec},
        inventory::{HostRecord, InstanceReport, InstanceState},
        placement::{Capacity, Spread},
    },
    wire::{AppName, Digest, HostId, UnitName},
};
use lattice_control::{Plan, World, plan};

use crate::{
    bench::Bench,
    machine::memory,
    report::{Row, Target},
};

/// Hosts; ten times as many units.
const SIZES: [usize; 3] = [100, 1_000, 10_000];
const UNITS_PER_HOST: usize = 10;
const UNITS_PER_APP: usize = 50;
const ZONES: usize = 10;
const MIB: f64 = 1024.0 * 1024.0;

/// A plan of everything from nothing, and one in which a single unit of a settled lattice has changed.
pub(super) fn scale(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut fresh_before: Option<Vec<f64>> = None;
    for hosts in SIZES {
        let units = hosts * UNITS_PER_HOST;
        let mut world = world(hosts, units)?;
        let before = memory(std::process::id())?.anonymous;
        let first = plan(&world);
        let took = memory(std::process::id())?.anonymous - before;
        let placed: usize = first.units.values().map(BTreeMap::len).sum();
        anyhow::ensure!(placed == units, "{placed} of {units} units are placed");
        let fresh: Vec<f64> = bench.rounds(|| Ok(seconds(&world)))?;
        follow(&mut world, &first)?;
        // Those that run are seen to run: before that the whole lattice is a rollout.
        world.reports = plan(&world).reports;
        change(&mut world)?;
        let changed: Vec<f64> = bench.rounds(|| Ok(seconds(&world)))?;
        let row = match fresh_before.take() {
            None => Row::alone(&format!("plan_scale.{hosts}"), "s", fresh.clone()),
            Some(before) => {
                let tenfold = before.iter().map(|seconds| seconds * 10.0);
                let pairs = fresh.iter().copied().zip(tenfold);
                Row::compared(&format!("plan_scale.{hosts}"), "s", "10 times that of a tenth", pairs)
            }
        };
        let note =
            format!("{units} units on {hosts} hosts; the plan and what it is made with take {:.0} MiB", took / MIB);
        let change =
            Row::alone(&format!("plan_scale.{hosts}.change"), "s", changed).note("one unit of them has changed");
        let limit = |row: Row| if hosts == SIZES[2] { row.target(Target::ValueBelow(1.0)) } else { row };
        rows.extend([limit(row.note(note)), limit(change)]);
        fresh_before = Some(fresh);
    }
    Ok(rows)
}

fn seconds(world: &World) -> f64 {
    let start = Instant::now();
    let plan = plan(world);
    let took = start.elapsed().as_secs_f64();
    std::hint::black_box(&plan);
    took
}

fn world(hosts: usize, units: usize) -> Result<World> {
    let mut world = World::default();
    for number in 0..hosts {
        let host = host(number)?;
        let labels = BTreeMap::from([("zone".to_owned(), format!("z{}", number % ZONES))]);
        let capacity = Capacity { units: Some(3 * UNITS_PER_HOST as u64), ..Capacity::default() };
        world.hosts.insert(host.clone(), record(host, labels, capacity));
    }
    for first in (0..units).step_by(UNITS_PER_APP) {
        let name: AppName = format!("app-{first}").parse()?;
        let specs: Result<BTreeMap<UnitName, UnitSpec>> =
            (first..first + UNITS_PER_APP).map(|number| Ok((format!("u{number}").parse()?, spec(number)))).collect();
        let record = AppRecord::next(name.clone(), None, String::new(), BTreeMap::new(), specs?, BTreeMap::new());
        world.apps.insert(name, record.context("an app without a change")?);
    }
    Ok(world)
}

/// An id of the right form for each number.
fn host(number: usize) -> Result<HostId> {
    let digits = (0..10).rev().map(|place| char::from(b'A' + (number / 26usize.pow(place) % 26) as u8));
    let name: String = std::iter::once('N').chain(std::iter::repeat_n('A', 45)).chain(digits).collect();
    Ok(name.parse()?)
}

fn record(host: HostId, labels: BTreeMap<String, String>, capacity: Capacity) -> HostRecord {
    HostRecord { labels, capacity, ..HostRecord::of(host) }
}

/// Some ask for a zone, and some are spread over all of them.
fn spec(number: usize) -> UnitSpec {
    let mut placement = Placement::default();
    if number.is_multiple_of(4) {
        placement.require = BTreeMap::from([("zone".to_owned(), vec![format!("z{}", number / 4 % ZONES)])]);
    }
    if number.is_multiple_of(5) {
        placement.spread = Some(Spread { label: "zone".to_owned(), max_skew: Some(1) });
    }
    UnitSpec::Component(ComponentSpec { placement, ..ComponentSpec::of(Digest::of(&number.to_le_bytes())) })
}

/// All hosts run what they were given.
fn follow(world: &mut World, plan: &Plan) -> Result<()> {
    world.assigned = plan.units.clone();
    world.reports = plan.reports.clone();
    for (id, host) in &mut world.hosts {
        let units = plan.units.get(id).context("a host without a plan")?;
        let report = |(unit, record): (&_, &_)| InstanceReport::of(id, unit, record, InstanceState::Ready);
        host.instances = units.iter().map(report).collect();
    }
    Ok(())
}

/// Another component for one unit.
fn change(world: &mut World) -> Result<()> {
    let app = world.apps.values_mut().next().context("no app")?;
    let mut units: BTreeMap<_, _> = app.units.iter().map(|(name, unit)| (name.clone(), unit.spec.clone())).collect();
    let Some(UnitSpec::Component(component)) = units.values_mut().next() else { anyhow::bail!("no component") };
    component.digest = Digest::of(b"another");
    let next = AppRecord::next(app.name.clone(), Some(app), String::new(), BTreeMap::new(), units, BTreeMap::new());
    *app = next.context("nothing has changed")?;
    Ok(())
}
