//! What a lattice costs that has nothing to do, and how quickly one that has much to do comes to rest.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use lattice::{
    bus::{Bus, NatsOptions},
    model::{
        app::{AppRecord, ComponentSpec, Scale, UnitSpec},
        assignment::Assignment,
        inventory::{Beat, HostRecord, InstanceReport, InstanceState},
        scale::Load,
        status::app_status,
    },
    wire::{Digest, HostId},
};
use lattice_control::Timing;
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bench::Bench,
    lattice::{Lattice, Nats},
    machine::cpu_seconds,
    report::{Row, Target},
};

/// After this time a lattice has nothing more to do.
const SETTLE: Duration = Duration::from_secs(8);

/// Messages and processor time of hosts that run nothing and of which nobody wants anything.
pub(super) fn idle(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for hosts in [1usize, 4, 8] {
        let zones: Vec<_> = (0..hosts).map(|at| format!("z{at}")).collect();
        let zones: Vec<_> = zones.iter().map(String::as_str).collect();
        let lattice = Lattice::start(bench, &zones)?;
        std::thread::sleep(SETTLE);
        let rounds = bench.rounds(|| {
            let (before, cpu, begun) = (lattice.nats.traffic()?, cpu_seconds(&lattice.processes())?, Instant::now());
            std::thread::sleep(bench.times.measured.max(Duration::from_secs(4)));
            let (after, used) = (lattice.nats.traffic()?, cpu_seconds(&lattice.processes())? - cpu);
            let seconds = begun.elapsed().as_secs_f64();
            let messages = (after.messages - before.messages) as f64 / seconds;
            Ok((messages / hosts as f64, used / seconds / hosts as f64 * 100.0))
        })?;
        let (messages, cpu): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
        let row = Row::alone(&format!("idle_cost.{hosts}"), "msg/s per host", messages);
        rows.push(row.note("messages that nats-server has taken and given, in a lattice of so many hosts"));
        rows.push(Row::alone(&format!("idle_cost.{hosts}.cpu"), "% of a core per host", cpu));
    }
    Ok(rows)
}

const HOSTS: usize = 20;
const APPS: usize = 10;
const UNITS: usize = 100;
const LIMIT: Duration = Duration::from_secs(120);

/// From apps that are written down to all of their units being ready on hosts that start everything at once.
pub(super) fn converge(bench: &Bench) -> Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let rounds = bench.rounds(|| runtime.block_on(converge_once(bench)))?;
    let (mut seconds, mut messages, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for (took, traffic) in rounds {
        seconds.push(took);
        messages.push(traffic.messages as f64);
        bytes.push(traffic.bytes as f64 / f64::from(1 << 20));
    }
    let what = format!("{} units in {APPS} apps on {HOSTS} simulated hosts", APPS * UNITS);
    Ok(vec![
        Row::alone("converge", "s", seconds).target(Target::ValueBelow(5.0)).note(what),
        Row::alone("converge.messages", "msg", messages),
        Row::alone("converge.bytes", "MiB", bytes),
    ])
}

/// What went through nats-server.
pub(crate) struct Traffic {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
}

async fn converge_once(bench: &Bench) -> Result<(f64, Traffic)> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let nats = Nats::start(bench, dir.path())?;
    let options = NatsOptions { urls: vec![nats.url.clone()], ..NatsOptions::default() };
    let connect = async |name: &str| Bus::connect(&options, "bench".parse()?, name).await.context("cannot connect");
    let (bus, stop, mut hosts) = (connect("bench").await?, CancellationToken::new(), JoinSet::new());
    for at in 0..HOSTS {
        let id = id(at)?;
        let own = connect("host").await?;
        hosts.spawn(lattice_control::run(own.clone(), id.clone(), Timing::default(), Arc::default(), stop.clone()));
        hosts.spawn(live(own, id));
    }
    sleep(SETTLE).await;
    let apps: Vec<_> = (0..APPS).map(app).collect::<Result<_>>()?;
    let (view, plans) = (bus.store().hosts().follow(), bus.store().plans().follow());
    let (before, begun) = (nats.traffic()?, Instant::now());
    for app in &apps {
        bus.store().apps().put(app.name.as_str(), app).await?;
    }
    let alive = (0..HOSTS).map(id).collect::<Result<_>>()?;
    loop {
        let ready = {
            let (hosts, plans) = (view.borrow(), plans.borrow());
            let records: Vec<_> = hosts.iter().flatten().map(|(_, entry)| &entry.value).collect();
            let plan = |app: &AppRecord| Some(&plans.as_ref()?.get(app.name.as_str())?.value);
            apps.iter().all(|app| app_status(app, plan(app), records.iter().copied(), &alive).ready)
        };
        if ready {
            break;
        }
        if begun.elapsed() > LIMIT {
            bail!("not ready within {LIMIT:?}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    let (took, after) = (begun.elapsed().as_secs_f64(), nats.traffic()?);
    stop.cancel();
    hosts.abort_all();
    let traffic = Traffic { messages: after.messages - before.messages, bytes: after.bytes - before.bytes };
    Ok((took, traffic))
}

fn id(at: usize) -> Result<HostId> {
    let letter = char::from(b'A' + u8::try_from(at)?);
    Ok(format!("N{}", letter.to_string().repeat(55)).parse()?)
}

fn app(at: usize) -> Result<AppRecord> {
    let mut units = BTreeMap::new();
    for unit in 0..UNITS {
        let spec = ComponentSpec { scale: Scale::Replicas(1), ..ComponentSpec::of(Digest::of(&unit.to_le_bytes())) };
        units.insert(format!("u{unit}").parse()?, UnitSpec::Component(spec));
    }
    let name = format!("app{at}").parse()?;
    AppRecord::next(name, None, String::new(), BTreeMap::new(), units, BTreeMap::new()).context("it is new")
}

/// A host that starts whatever it is given at once.
async fn live(bus: Bus, id: HostId) {
    let store = bus.store();
    let mut record = HostRecord::of(id.clone());
    let mut assignments = store.assignments().follow_one(id.as_str());
    let mut beats = interval(Duration::from_secs(1));
    let mut count = 0;
    let mut told = false;
    loop {
        tokio::select! {
            _ = beats.tick() => {
                count += 1;
                let _ = store.beats().put(id.as_str(), &Beat { count, load: Load::new() }).await;
            }
            Ok(()) = assignments.changed() => {
                let newest: Option<Assignment> = {
                    let all = assignments.borrow_and_update();
                    all.as_ref().and_then(|all| all.get(id.as_str())).map(|entry| entry.value.clone())
                };
                if let Some(newest) = newest {
                    (record.term, record.generation) = (newest.term, newest.generation);
                    let report = |(unit, record)| InstanceReport::of(&id, unit, record, InstanceState::Ready);
                    record.instances = newest.units.iter().map(report).collect();
                    told = false;
                }
            }
        }
        if !told {
            told = store.hosts().put(id.as_str(), &record).await.is_ok();
        }
    }
}
