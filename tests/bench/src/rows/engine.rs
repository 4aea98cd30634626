//! wasmtime in this process, with the host's configuration and with its defaults.

use std::path::Path;

use anyhow::{Context, Result, bail};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store,
    component::{Component, InstancePre, Linker, ResourceTable},
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::{
    bench::{Bench, Times},
    report::{Row, Target},
    stats::{Latencies, one_by_one},
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

    fn measure(&self, times: Times) -> Result<Latencies> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(one_by_one(times, async || self.call().await))
    }
}

pub(super) fn instantiate(bench: &Bench) -> Result<Vec<Row>> {
    let file = bench.guest("tiny")?;
    let ours = Tiny::load(lattice_host::runtime::engine::make()?, &file)?;
    let mut config = Config::new();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::default()));
    let plain = Tiny::load(Engine::new(&config)?, &file)?;
    let mut rounds = bench.rounds(|| Ok((ours.measure(bench.times)?, plain.measure(bench.times)?)))?;
    let mut row = |name: &str, share: f64| {
        let pairs = rounds.iter_mut().map(|(ours, plain)| (ours.percentile(share), plain.percentile(share)));
        Row::compared(name, "us", "default pooling", pairs)
    };
    Ok(vec![
        row("instantiate", 0.5)
            .target(Target::ValueBelow(50.0))
            .note("p50 of store, instance, call and drop, in one thread"),
        row("instantiate.p99", 0.99).target(Target::ValueBelow(1000.0)),
    ])
}
