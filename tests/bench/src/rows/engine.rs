//! wasmtime in this process, with the host's configuration and with its defaults.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail};
use lattice_host::runtime::engine::{self, EngineKind};
use tokio::runtime::Runtime;
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    bench::{Bench, Times},
    report::{Row, Target},
    stats::{Latencies, like_a_host, one_by_one},
};

struct Guest {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A component with a function that adds.
struct Tiny {
    engine: Engine,
    pre: InstancePre<Guest>,
    add: wasmtime::component::ComponentExportIndex,
}

impl Tiny {
    fn load(engine: Engine, file: &Path) -> Result<Self> {
        let component = Component::from_file(&engine, file)?;
        let (_, calc) = component.get_export(None, "test:tiny/calc@0.1.0").context("no interface calc")?;
        let (_, add) = component.get_export(Some(&calc), "add").context("no function add")?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre, add })
    }

    /// A store, an instance and a call, and all of it dropped.
    async fn call(&self) -> Result<()> {
        let guest = Guest { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, guest);
        // Far beyond the end of the call; without epochs it means nothing.
        store.set_epoch_deadline(1000);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let add = instance.get_typed_func::<(u32, u32), (u32,)>(&mut store, self.add)?;
        match add.call_async(&mut store, (20, 22)).await? {
            (42,) => Ok(()),
            (sum,) => bail!("20 + 22 made {sum}"),
        }
    }
}

fn measure(runtime: &Runtime, tiny: &Arc<Tiny>, times: Times) -> Result<Latencies> {
    let tiny = tiny.clone();
    one_by_one(runtime, times, move || {
        let tiny = tiny.clone();
        async move { tiny.call().await }
    })
}

pub(super) fn instantiate(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.guest("tiny")?;
    let (engine, _) = engine::make(EngineKind::Plain)?;
    let ours = Arc::new(Tiny::load(engine, &file)?);
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default()));
    let plain = Arc::new(Tiny::load(Engine::new(&config)?, &file)?);
    let (runtime, times) = (like_a_host()?, bench.times);
    let mut rounds = bench.rounds(|| Ok((measure(&runtime, &ours, times)?, measure(&runtime, &plain, times)?)))?;
    let mut row = |name: &str, share: f64| {
        let pairs = rounds.iter_mut().map(|(ours, plain)| (ours.percentile(share), plain.percentile(share)));
        Row::compared(name, "us", "default pooling", pairs)
    };
    Ok(vec![
        row("instantiate", 0.5)
            .target(Target::ValueBelow(50.0))
            .note("p50 of store, instance, call and drop, one after the other"),
        row("instantiate.p99", 0.99).target(Target::ValueBelow(1000.0)),
    ])
}
