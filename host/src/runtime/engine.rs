//! The wasmtime engines, sized to the machine. There are two, because what WASI 0.3 needs would double the cost of a
//! fresh instance for components that do without it; which of them a component gets is decided by its binary.

use std::{thread, time::Duration};

use wasmtime::{Config, Enabled, Engine, Inlining, InstanceAllocationStrategy, PoolingAllocationConfig};

/// A running guest yields to other tasks, and its deadline is looked at, this often.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// The most linear memory that one instance may be given, in bytes.
pub const MAX_MEMORY: u64 = 1 << 30;

/// The two ways in which components are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// Without the component model's async part: WASI 0.2.
    Plain,
    /// With it: WASI 0.3, and several calls at a time in one instance.
    Concurrent,
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot start wasmtime, not even in its smallest configuration: {0}")]
    Start(String),
    #[error("cannot start the thread that ends overdue calls: {0}")]
    Ticker(std::io::Error),
}

/// Sizes of the pool, from the largest to the smallest that is worth running.
const POOLS: [u32; 4] = [1000, 250, 60, 16];

/// What a slot keeps of its linear memory when its instance is gone, in bytes: resetting it is cheaper than taking it
/// from the kernel anew. Only with PAGEMAP_SCAN; without it the whole range would be written each time.
const KEEP_RESIDENT: usize = 2 << 20;

/// Makes an engine, with the largest pool that this machine carries, and says how many instances that holds.
pub fn make(kind: EngineKind) -> Result<(Engine, u32), EngineError> {
    let scan = PoolingAllocationConfig::is_pagemap_scan_available();
    let budget = memory_available().map(|bytes| bytes / 4);
    let mut reason = String::new();
    for slots in POOLS {
        let kept = u64::from(slots) * if scan { KEEP_RESIDENT as u64 } else { 0 };
        let smallest = slots == POOLS[POOLS.len() - 1];
        if budget.is_some_and(|budget| kept > budget) && !smallest {
            reason = format!("{kept} bytes of idle memory would be more than a quarter of what is free");
            continue;
        }
        match Engine::new(&config(kind, pool(slots, kind, scan))) {
            Ok(engine) => {
                if slots < POOLS[0] {
                    tracing::warn!(slots, ?kind, reason, "memory is short: a smaller instance pool is used");
                } else {
                    tracing::info!(slots, ?kind, pagemap_scan = scan, "instance pool ready");
                }
                start_ticker(&engine)?;
                return Ok((engine, slots));
            }
            Err(error) => reason = format!("{error:#}"),
        }
    }
    Err(EngineError::Start(reason))
}

/// Makes an engine for a single instance, which needs no pool.
pub fn make_single(kind: EngineKind) -> Result<Engine, EngineError> {
    let engine = Engine::new(&config(kind, InstanceAllocationStrategy::OnDemand));
    let engine = engine.map_err(|error| EngineError::Start(format!("{error:#}")))?;
    start_ticker(&engine)?;
    Ok(engine)
}

fn pool(slots: u32, kind: EngineKind, scan: bool) -> InstanceAllocationStrategy {
    // Each call that an instance has at a time may need a stack of its own.
    let stacks = match kind {
        EngineKind::Plain => slots,
        EngineKind::Concurrent => slots * 4,
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots * 4)
        .total_memories(slots + slots / 4)
        .total_tables(slots * 4)
        .total_stacks(stacks)
        .total_gc_heaps(16)
        .max_memory_size(MAX_MEMORY as usize)
        // Components from Python and JavaScript are made of dozens of core modules with large tables.
        .max_core_instances_per_component(128)
        .max_memories_per_component(16)
        .max_tables_per_component(64)
        .table_elements(100_000)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_unused_warm_slots(slots);
    if scan {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(KEEP_RESIDENT)
            .table_keep_resident(64 << 10)
            .async_stack_keep_resident(64 << 10);
    }
    InstanceAllocationStrategy::Pooling(pool)
}

fn config(kind: EngineKind, allocation: InstanceAllocationStrategy) -> Config {
    let concurrent = kind == EngineKind::Concurrent;
    let mut config = Config::new();
    config
        .allocation_strategy(allocation)
        .epoch_interruption(true)
        // What fused components call of each other is small code between modules, which no other compiler has seen
        // together before.
        .compiler_inlining(Inlining::InterModule)
        // WASI 0.2 components do without it, and a fresh instance then costs half (a call goes through fewer tables).
        .concurrency_support(concurrent)
        .wasm_component_model_async(concurrent)
        // Types that values on the wire may have, and that wasmtime does not have by itself yet.
        .wasm_component_model_fixed_length_lists(true)
        .wasm_component_model_map(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .async_stack_size(2 << 20)
        .max_wasm_stack(1 << 20)
        .native_unwind_info(false);
    config
}

/// Memory that the kernel would give out without swapping, in bytes; less when a cgroup allows less.
fn memory_available() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("MemAvailable:"))?;
    let free = line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024;
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    Some(free.min(group.unwrap_or(u64::MAX)))
}

/// Advances the epoch for as long as the engine lives. A thread, because a guest that computes may hold up tasks.
fn start_ticker(engine: &Engine) -> Result<(), EngineError> {
    let engine = engine.weak();
    let tick = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    thread::Builder::new().name("epoch".into()).spawn(tick).map(drop).map_err(EngineError::Ticker)
}
