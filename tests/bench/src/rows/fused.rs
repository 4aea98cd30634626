//! A call between two components that are composed into one.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::app::{FusedSpec, Transport},
    wire::{Digest, UnitId},
};
use lattice_host::{
    links::{ComponentLinks, Router},
    runtime::{ArtifactCache, LoadedFunctions, Runtime, grants::Grants},
};
use tokio::runtime::Runtime as Tasks;
use wac_graph::{CompositionGraph, EncodeOptions, types::Package};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, ComponentExportIndex, InstancePre, Linker},
};

use super::components::{CALLER, Caller, imports, spec};
use crate::{
    bench::{Bench, Times},
    report::{Row, Target},
    servers::wasi::Guest,
    stats::{like_a_host, one_by_one},
};

/// Calls in one call of the caller: they take some milliseconds.
const TIMES: u32 = 200_000;

/// The caller with the library fused into it, as a host makes it.
fn ours(bench: &Bench, tasks: &Tasks, data: &std::path::Path) -> Result<Caller> {
    let (bus, router) = (Bus::memory("bench".parse()?), Arc::new(Router::default()));
    let runtime = Runtime::new()?;
    let cache = ArtifactCache::open(data, &runtime)?;
    let read = |name| -> Result<Bytes> { Ok(std::fs::read(bench.guest(name)?)?.into()) };
    let (caller, library) = (read("caller")?, read("library")?);
    let mut spec = spec(&caller, imports()?, Transport::Fused)?;
    for link in &mut spec.links {
        let part = FusedSpec { digest: Digest::of(&library), imports: Vec::new(), links: Vec::new() };
        link.fused = Some(Box::new(part));
    }
    let component = tasks.block_on(async {
        bus.artifacts().put(&caller).await?;
        bus.artifacts().put(&library).await?;
        anyhow::Ok(cache.load_spec(&spec, bus.artifacts()).await?)
    })?;
    let unit: UnitId = CALLER.parse()?;
    let spec = spec.composed();
    let links = ComponentLinks::new(&bus, &router, &unit, &spec);
    let loaded = runtime.prepare(&component, unit, &spec, links, Grants::default())?;
    Ok(Caller { functions: LoadedFunctions::new(loaded, &component, bus.exchange()) })
}

/// The same components, composed and run by nobody but wasmtime.
struct Direct {
    engine: Engine,
    pre: InstancePre<Guest>,
    small: ComponentExportIndex,
}

impl Direct {
    /// `epochs`: with the checks by which a guest that does not end can be stopped, which ours has.
    fn load(bench: &Bench, epochs: bool) -> Result<Self> {
        let mut config = Config::new();
        // Without concurrency a call is cheaper, and these components do without it.
        config.concurrency_support(false).epoch_interruption(epochs);
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, composed(bench)?)?;
        let (_, work) = component.get_export(None, "test:library/work@1.2.0").context("no interface work")?;
        let small = component.get_export_index(Some(&work), "small").context("no such function")?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
        Ok(Self { pre: linker.instantiate_pre(&component)?, engine, small })
    }

    async fn times(&self, times: u32) -> Result<()> {
        let mut store = Store::new(&self.engine, Guest::new());
        store.set_epoch_deadline(1_000_000);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let small = instance.get_typed_func::<(u32,), ()>(&mut store, self.small)?;
        Ok(small.call_async(&mut store, (times,)).await?)
    }
}

fn composed(bench: &Bench) -> Result<Vec<u8>> {
    let mut graph = CompositionGraph::new();
    let mut register = |name: &str| -> Result<_> {
        let package = Package::from_file(name, None, bench.guest(name)?, graph.types_mut())?;
        Ok(graph.register_package(package)?)
    };
    let (caller, library) = (register("caller")?, register("library")?);
    wac_graph::plug(&mut graph, vec![library], caller)?;
    Ok(graph.encode(EncodeOptions::default())?)
}

/// What one call takes, in nanoseconds: all else is in a run without calls as well.
fn one_call<F>(tasks: &Tasks, times: Times, run: impl Fn(u32) -> F + Clone + Send + 'static) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send,
{
    let p50 = |calls: u32| -> Result<f64> {
        let run = run.clone();
        Ok(one_by_one(tasks, times, move || run(calls))?.percentile(0.5))
    };
    Ok((p50(TIMES)? - p50(0)?) * 1000.0 / f64::from(TIMES))
}

pub(super) fn local(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let tasks = like_a_host()?;
    let caller = Arc::new(ours(bench, &tasks, dir.path())?);
    let (direct, stoppable) = (Arc::new(Direct::load(bench, false)?), Arc::new(Direct::load(bench, true)?));
    let plain = |direct: &Arc<Direct>| {
        let direct = direct.clone();
        one_call(&tasks, bench.times, move |calls| {
            let direct = direct.clone();
            async move { direct.times(calls).await }
        })
    };
    let rounds = bench.rounds(|| {
        let caller = caller.clone();
        let ours = one_call(&tasks, bench.times, move |calls| {
            let caller = caller.clone();
            async move { caller.times(calls).await }
        })?;
        Ok((ours, plain(&direct)?, plain(&stoppable)?))
    })?;
    let row = |name: &str, baseline: &str, its: fn(&(f64, f64, f64)) -> f64| {
        Row::compared(name, "ns", baseline, rounds.iter().map(|round| (round.0, its(round))))
    };
    let note = format!(
        "(p50 of {TIMES} calls in a row - p50 of none) / {TIMES}; ours is inlined, which wasmtime does when it is told to"
    );
    Ok(vec![
        row("call_component_fused", "the same components composed, in wasmtime", |round| round.1)
            .target(Target::RatioAtMost(1.2))
            .note(note),
        row("call_component_fused.epochs", "the same, with epoch interruption", |round| round.2)
            .note("epoch interruption is what ends a guest that loops; wasmtime has it only with a time limit"),
    ])
}
