//! One component calls another one over an interface of its own.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler, NatsOptions, Pace, Serving},
    model::{
        app::{ComponentSpec, Limits, LinkSpec, LinkTarget, Transport, UnitRecord, UnitSpec},
        inventory::{HostRecord, InstanceReport, InstanceState},
    },
    wire::{CallHead, ContentType, Digest, HostId, InstanceId, Interface, Served, UnitId, encode},
};
use lattice_host::{
    links::{ComponentLinks, LocalInstance, Router},
    runtime::{LoadedFunctions, Runtime, grants::Grants},
};
use tempfile::TempDir;
use tokio::runtime::Runtime as Tasks;
use wasmtime::{
    Engine, Store,
    component::{Component, ComponentExportIndex, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::inside;
use crate::{
    bench::{Bench, Times},
    child::Child,
    lattice::Nats,
    report::{Row, Target},
    servers::spawn,
    stats::{Latencies, at_a_time, like_a_host, one_by_one},
};

pub(super) const LIBRARY: &str = "bench/library";
pub(super) const CALLER: &str = "bench/caller";
/// Calls of the library in one call of the caller: many, so that the caller itself does not count.
const TIMES: u32 = 100;
const MIB: u32 = 1 << 20;
const SUBJECT: &str = "baseline.echo";

/// The caller, ready to be told how often to call.
pub(super) struct Caller {
    pub(super) functions: LoadedFunctions,
}

impl Caller {
    /// Runs `function` of the guest's `work`.
    async fn run(&self, function: &str, arguments: Bytes) -> Result<Bytes> {
        let head = CallHead {
            interface: "test:library/work@1.2.0".parse()?,
            function: function.into(),
            deadline: Duration::from_secs(60),
            caller: None,
            content_type: ContentType::Postcard,
            traceparent: None,
            session: None,
        };
        Ok(self.functions.call(head, arguments).await?)
    }

    async fn small(&self) -> Result<()> {
        self.times(TIMES).await
    }

    /// So many small calls of the library.
    pub(super) async fn times(&self, times: u32) -> Result<()> {
        self.run("small", encode(ContentType::Postcard, &(times,))?).await.map(drop)
    }

    async fn bytes(&self, times: u32) -> Result<()> {
        let back = self.run("bytes", encode(ContentType::Postcard, &(times, MIB))?).await?;
        let expected = encode(ContentType::Postcard, &(u64::from(times) * u64::from(MIB)))?;
        ensure!(back == expected, "not all bytes came back");
        Ok(())
    }
}

pub(super) fn spec(bytes: &[u8], imports: Vec<Interface>, transport: Transport) -> Result<ComponentSpec> {
    let link = LinkSpec { transport, ..LinkSpec::new("test:library", LIBRARY.parse()?, LinkTarget::Wit) };
    let links = if imports.is_empty() { Vec::new() } else { vec![link] };
    let limits = Limits { timeout_ms: 60_000, ..Limits::default() };
    Ok(ComponentSpec { limits, ..inside::spec(bytes, imports, links) })
}

/// The library in this process.
fn library(bench: &Bench, runtime: &Runtime, bus: &Bus, reuse: u32) -> Result<LoadedFunctions> {
    let bytes = std::fs::read(bench.guest("library")?)?;
    let component = Component::new(runtime.engine(), &bytes)?;
    let spec = ComponentSpec { reuse, ..spec(&bytes, Vec::new(), Transport::Auto)? };
    let loaded = runtime.prepare(&component, LIBRARY.parse()?, &spec, ComponentLinks::default(), Grants::default())?;
    Ok(LoadedFunctions::new(loaded, &component, bus.exchange()))
}

/// What the caller imports of the library.
pub(super) fn imports() -> Result<Vec<Interface>> {
    let imports = ["echo", "things", "faults"].map(|name| format!("test:library/{name}@1.2.0").parse());
    Ok(imports.into_iter().collect::<Result<_, _>>()?)
}

fn caller(bench: &Bench, runtime: &Runtime, bus: &Bus, router: &Arc<Router>, transport: Transport) -> Result<Caller> {
    let bytes = std::fs::read(bench.guest("caller")?)?;
    let component = Component::new(runtime.engine(), &bytes)?;
    let spec = spec(&bytes, imports()?, transport)?;
    let unit: UnitId = CALLER.parse()?;
    let links = ComponentLinks::new(bus, router, &unit, &spec);
    let loaded = runtime.prepare(&component, unit, &spec, links, Grants::default())?;
    Ok(Caller { functions: LoadedFunctions::new(loaded, &component, bus.exchange()) })
}

struct Plain {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Plain {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The library without a host: a fresh instance a call, and types that are known when this is compiled.
struct Direct {
    engine: Engine,
    pre: InstancePre<Plain>,
    truth: ComponentExportIndex,
    bytes: ComponentExportIndex,
}

impl Direct {
    fn load(bench: &Bench, runtime: &Runtime) -> Result<Self> {
        let engine = runtime.engine().clone();
        let component = Component::from_file(&engine, bench.guest("library")?)?;
        let (_, echo) = component.get_export(None, "test:library/echo@1.2.0").context("no interface echo")?;
        let function = |name| component.get_export_index(Some(&echo), name).context("no such function");
        let (truth, bytes) = (function("truth")?, function("bytes")?);
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        Ok(Self { pre: linker.instantiate_pre(&component)?, engine, truth, bytes })
    }

    fn store(&self) -> Store<Plain> {
        let mut store =
            Store::new(&self.engine, Plain { wasi: WasiCtx::builder().build(), table: ResourceTable::new() });
        store.set_epoch_deadline(1_000_000);
        store
    }

    async fn small(&self) -> Result<()> {
        for _ in 0..TIMES {
            let mut store = self.store();
            let instance = self.pre.instantiate_async(&mut store).await?;
            let truth = instance.get_typed_func::<(bool,), (bool,)>(&mut store, self.truth)?;
            ensure!(truth.call_async(&mut store, (true,)).await?.0);
        }
        Ok(())
    }

    async fn bytes(&self, sent: &[u8]) -> Result<()> {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await?;
        let bytes = instance.get_typed_func::<(&[u8],), (Vec<u8>,)>(&mut store, self.bytes)?;
        ensure!(bytes.call_async(&mut store, (sent,)).await?.0.len() == sent.len());
        Ok(())
    }
}

/// The p50 of many runs, divided by what one run does.
fn each(latencies: &mut Latencies, parts: u32) -> f64 {
    latencies.percentile(0.5) / f64::from(parts)
}

/// The p50 of a small call from the caller, and of one without a host.
fn small(tasks: &Tasks, times: Times, caller: &Arc<Caller>, direct: &Arc<Direct>) -> Result<(f64, f64)> {
    let (caller, direct) = (caller.clone(), direct.clone());
    let mut ours = one_by_one(tasks, times, move || {
        let caller = caller.clone();
        async move { caller.small().await }
    })?;
    let mut plain = one_by_one(tasks, times, move || {
        let direct = direct.clone();
        async move { direct.small().await }
    })?;
    Ok((each(&mut ours, TIMES), each(&mut plain, TIMES)))
}

pub(super) fn local(bench: &Bench) -> Result<Vec<Row>> {
    let (tasks, times) = (like_a_host()?, bench.times);
    let runtime = Runtime::new()?;
    let direct = Arc::new(Direct::load(bench, &runtime)?);
    let router = Arc::new(Router::default());
    let bus = Bus::memory("bench".parse()?);
    let library: Arc<dyn CallHandler> = Arc::new(library(bench, &runtime, &bus, 1)?);
    let here = LocalInstance { unit: LIBRARY.parse()?, http: None, capability: None, calls: Some(library) };
    router.update([], &BTreeSet::new(), &[here], None);
    let caller = Arc::new(caller(bench, &runtime, &bus, &router, Transport::Local)?);
    let sent: Arc<[u8]> = vec![7; MIB as usize].into();
    let rounds = bench.rounds(|| {
        let (ours, plain) = small(&tasks, times, &caller, &direct)?;
        let (c, d, s) = (caller.clone(), direct.clone(), sent.clone());
        let mut ours_bytes = one_by_one(&tasks, times, move || {
            let caller = c.clone();
            async move { caller.bytes(20).await }
        })?;
        let mut plain_bytes = one_by_one(&tasks, times, move || {
            let (direct, sent) = (d.clone(), s.clone());
            async move { direct.bytes(&sent).await }
        })?;
        // A MiB there, and a MiB back.
        let rate = |us: f64| 2.0 * 1e6 / us;
        Ok(((ours, plain), (rate(each(&mut ours_bytes, 20)), rate(each(&mut plain_bytes, 1)))))
    })?;
    Ok(vec![
        Row::compared(
            "call_component_local",
            "us",
            "the same component called with wasmtime",
            rounds.iter().map(|(calls, _)| *calls),
        )
        .target(Target::RatioAtMost(1.5))
        .note("p50 of a call in a fresh instance, from a component that makes 100 in a row"),
        Row::compared(
            "custom_bytes_1mib",
            "MiB/s",
            "the same call with types known at compile time",
            rounds.iter().map(|(_, bytes)| *bytes),
        )
        .target(Target::RatioAtLeast(0.5))
        .note("list<u8> of 1 MiB there and back, in a fresh instance"),
    ])
}

/// The library and the caller with NATS between them, and a plain responder beside it.
struct Remote {
    caller: Arc<Caller>,
    client: async_nats::Client,
    tasks: Tasks,
    _serving: (Bus, Serving),
    _echo: Child,
    _nats: Nats,
    _dir: TempDir,
}

/// As long as a small call of ours, with its headers.
const MESSAGE: &[u8] = &[b'x'; 300];

fn apart(bench: &Bench, runtime: &Runtime, reuse: u32) -> Result<Remote> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let nats = Nats::start(bench, dir.path())?;
    let options = NatsOptions { urls: vec![nats.url.clone()], ..NatsOptions::default() };
    let tasks = like_a_host()?;
    let (unit, instance) = (LIBRARY.parse::<UnitId>()?, "0123456789abcdef".parse::<InstanceId>()?);
    let (serving, bus, client) = tasks.block_on(async {
        let there = Bus::connect_for_calls(&options, "bench".parse()?, "lattice-bench callee").await?;
        let handler: Arc<dyn CallHandler> = Arc::new(library(bench, runtime, &there, reuse)?);
        let served = Served { lattice: "bench".parse()?, unit: unit.clone(), instance: instance.clone() };
        let serving = there.serve(&served, handler, Pace::Heavy).await?;
        let bus = Bus::connect_for_calls(&options, "bench".parse()?, "lattice-bench caller").await?;
        anyhow::Ok(((there, serving), bus, async_nats::connect(&nats.url).await?))
    })?;
    let router = Arc::new(Router::default());
    router.update([(&inventory(unit, instance)?, 1)], &BTreeSet::new(), &[], None);
    let caller = {
        let _entered = tasks.enter();
        Arc::new(caller(bench, runtime, &bus, &router, Transport::Lattice)?)
    };
    let (echo, _) = spawn(dir.path(), &["nats-echo", &nats.url, SUBJECT, "--answer", "60"])?;
    Ok(Remote { caller, client, tasks, _serving: serving, _echo: echo, _nats: nats, _dir: dir })
}

pub(super) fn remote(bench: &Bench) -> Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let direct = Arc::new(Direct::load(bench, &runtime)?);
    let apart = apart(bench, &runtime, 1)?;
    let rounds = bench.rounds(|| {
        let (ours, plain) = small(&apart.tasks, bench.times, &apart.caller, &direct)?;
        let client = apart.client.clone();
        let mut raw = one_by_one(&apart.tasks, bench.times, move || {
            let client = client.clone();
            async move { Ok(client.request(SUBJECT, Bytes::from_static(MESSAGE)).await.map(drop)?) }
        })?;
        Ok((ours, plain + each(&mut raw, 1)))
    })?;
    let row = Row::compared("call_component_remote", "us", "raw NATS request/reply + direct call", rounds);
    Ok(vec![row.target(Target::RatioAtMost(1.3)).note("p50 of a call over NATS in a fresh instance, 100 in a row")])
}

/// Calls at a time where it is measured how many there are in a second.
const AT_A_TIME: usize = 64;
/// Calls of the library in one call of the caller there: as few as leave the caller out of account.
const FEW: u32 = 20;

/// Calls that an instance of the library serves where it is reused.
const REUSE: u32 = 1000;

pub(super) fn remote_rate(bench: &Bench) -> Result<Vec<Row>> {
    let runtime = Runtime::new()?;
    let (fresh, reused) = (apart(bench, &runtime, 1)?, apart(bench, &runtime, REUSE)?);
    let rounds = bench.rounds(|| {
        let rate = |apart: &Remote| {
            let caller = apart.caller.clone();
            let rate = at_a_time(&apart.tasks, bench.times, AT_A_TIME, move || {
                let caller = caller.clone();
                async move { caller.times(FEW).await }
            });
            anyhow::Ok(rate? * f64::from(FEW))
        };
        let client = fresh.client.clone();
        let plain = at_a_time(&fresh.tasks, bench.times, AT_A_TIME, move || {
            let client = client.clone();
            async move { Ok(client.request(SUBJECT, Bytes::from_static(MESSAGE)).await.map(drop)?) }
        })?;
        Ok(((rate(&fresh)?, plain), (rate(&reused)?, plain)))
    })?;
    let row = |name, column: Vec<_>| Row::compared(name, "calls/s", "raw NATS request/reply", column);
    let note = |instances: &str| format!("{AT_A_TIME} in flight, {instances}; caller and callee in one process");
    let fresh = rounds.iter().map(|(fresh, _)| *fresh).collect();
    let reused = rounds.iter().map(|(_, reused)| *reused).collect();
    Ok(vec![
        row("call_component_remote_rps", fresh)
            .target(Target::RatioAtLeast(0.7))
            .note(note("each in a fresh instance")),
        row("call_component_remote_rps.reuse", reused)
            .target(Target::RatioAtLeast(0.7))
            .note(note(&format!("{REUSE} calls an instance"))),
    ])
}

/// What a host that runs the library tells.
fn inventory(unit: UnitId, instance: InstanceId) -> Result<HostRecord> {
    let host: HostId = format!("N{}", "A".repeat(55)).parse()?;
    let record = UnitRecord { revision: 1, spec: UnitSpec::Component(ComponentSpec::of(Digest::of(b""))) };
    let like_us =
        InstanceReport { instance, bundles: true, ..InstanceReport::of(&host, &unit, &record, InstanceState::Ready) };
    Ok(HostRecord { instances: vec![like_us], ..HostRecord::of(host) })
}
