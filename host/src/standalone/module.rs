//! Core modules for WASI 0.1, as `lattice-host run` runs them.

use std::{sync::Arc, time::Instant};

use wasmtime::{Linker, Module, Store, StoreLimits, StoreLimitsBuilder, UpdateDeadline};
use wasmtime_wasi::p1::{self, WasiP1Ctx};

use super::{
    StandaloneError, UNLIMITED,
    command::{Ended, arguments},
    compile,
    options::RunOptions,
    unit,
};
use crate::runtime::engine::{self, EngineKind};

struct Program {
    wasi: WasiP1Ctx,
    limits: StoreLimits,
}

/// Makes everything ready; what comes out runs the program.
pub(super) async fn start(
    options: &RunOptions,
    bytes: Vec<u8>,
) -> Result<impl Future<Output = Ended>, StandaloneError> {
    let path = options.file.clone();
    let engine = engine::make_single(EngineKind::Plain)?;
    let module = compile(&path, {
        let engine = engine.clone();
        move || Module::new(&engine, bytes)
    });
    let module = module.await?;
    if module.get_export("_start").is_none() {
        return Err(StandaloneError::NoStart { path });
    }
    let imports =
        |error: wasmtime::Error| StandaloneError::Imports { path: path.clone(), reason: format!("{error:#}") };
    let mut linker = Linker::new(&engine);
    p1::add_to_linker_async(&mut linker, |program: &mut Program| &mut program.wasi).map_err(imports)?;
    let pre = linker.instantiate_pre(&module).map_err(imports)?;
    let grants = options.grants.grants(arguments(options), true);
    let mut wasi = grants.builder(&Arc::new(unit()), &options.grants.env())?;
    let memory = options.memory.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    let limits = StoreLimitsBuilder::new().memory_size(memory).build();
    let mut store = Store::new(&engine, Program { wasi: wasi.build_p1(), limits });
    store.limiter(|program| &mut program.limits);
    let deadline = Instant::now() + options.timeout.unwrap_or(UNLIMITED);
    store.epoch_deadline_callback(move |_| {
        if Instant::now() < deadline {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
        } else {
            Ok(UpdateDeadline::Interrupt)
        }
    });
    store.set_epoch_deadline(1);
    Ok(async move {
        let instance = pre.instantiate_async(&mut store).await?;
        let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        start.call_async(&mut store, ()).await.map(|()| true)
    })
}
