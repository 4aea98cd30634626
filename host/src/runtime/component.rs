//! One component, ready for calls.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use lattice::{
    model::{app::ComponentSpec, inventory::Faults},
    wire::{CallError, UnitId},
};
use wasmtime::{
    Engine, Store, Trap,
    component::{Component, InstancePre, Linker},
};
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};

use super::{
    engine::{self, EngineError},
    faults::FaultLog,
    guest::Guest,
    imports, keyvalue,
    lens::Held,
    session::Live,
};
use crate::links::ComponentLinks;

/// The engine with everything that components may import.
#[derive(Clone)]
pub struct Runtime {
    engine: Engine,
    linker: Arc<Linker<Guest>>,
}

/// Why a compiled component cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("the component's imports cannot be satisfied: {0}")]
    Imports(String),
    #[error("the component wants {wanted} bytes of memory as its limit; this host gives at most {max}", max = engine::MAX_MEMORY)]
    Memory { wanted: u64 },
}

impl Runtime {
    pub fn new() -> Result<Self, EngineError> {
        let engine = engine::make()?;
        let linker = linker(&engine).map_err(|error| EngineError::Start(format!("{error:#}")))?;
        Ok(Self { engine, linker: Arc::new(linker) })
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Binds a compiled component to its links and limits.
    pub fn prepare(
        &self,
        component: &Component,
        unit: UnitId,
        spec: &ComponentSpec,
        links: ComponentLinks,
    ) -> Result<Arc<LoadedComponent>, PrepareError> {
        if spec.limits.memory_bytes > engine::MAX_MEMORY {
            return Err(PrepareError::Memory { wanted: spec.limits.memory_bytes });
        }
        let unsatisfied = |error: wasmtime::Error| PrepareError::Imports(format!("{error:#}"));
        let pre = if links.functions.is_empty() {
            self.linker.instantiate_pre(component).map_err(unsatisfied)?
        } else {
            // What it imports from other components is of its own types.
            let mut linker = Linker::clone(&self.linker);
            imports::define(&mut linker, &self.engine, component, &links).map_err(unsatisfied)?;
            linker.instantiate_pre(component).map_err(unsatisfied)?
        };
        let blueprint = Blueprint {
            unit: Arc::new(unit),
            http: ProxyPre::new(pre.clone()).ok(),
            pre,
            env: spec.env.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            memory: usize::try_from(spec.limits.memory_bytes).unwrap_or(usize::MAX),
            links: Arc::new(links),
        };
        Ok(Arc::new(LoadedComponent {
            blueprint,
            timeout: Duration::from_millis(spec.limits.timeout_ms),
            concurrency: spec.limits.concurrency,
            in_flight: AtomicU32::new(0),
            reuse: spec.reuse.max(1),
            idle: Mutex::new(Vec::new()),
            faults: FaultLog::default(),
        }))
    }
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// What every instance of a component is made from.
pub(super) struct Blueprint {
    pub(super) unit: Arc<UnitId>,
    pre: InstancePre<Guest>,
    http: Option<ProxyPre<Guest>>,
    pub(super) env: Vec<(String, String)>,
    /// In bytes.
    pub(super) memory: usize,
    pub(super) links: Arc<ComponentLinks>,
}

impl Blueprint {
    pub(super) fn engine(&self) -> &Engine {
        self.pre.engine()
    }
}

/// A component that takes calls.
pub struct LoadedComponent {
    blueprint: Blueprint,
    pub(super) timeout: Duration,
    concurrency: u32,
    in_flight: AtomicU32,
    reuse: u32,
    /// Instances that have calls left. A lock around a push or a pop; only components with `reuse` ever take it.
    idle: Mutex<Vec<HttpInstance>>,
    faults: FaultLog,
}

/// A place among the calls that a component may have at a time.
pub(super) struct Permit(Arc<LoadedComponent>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A live instance that exports `wasi:http/incoming-handler`.
pub(super) struct HttpInstance {
    pub(super) store: Store<Guest>,
    pub(super) proxy: Proxy,
    calls_left: u32,
}

impl LoadedComponent {
    pub fn unit(&self) -> &UnitId {
        &self.blueprint.unit
    }

    /// Whether it answers HTTP requests.
    pub fn serves_http(&self) -> bool {
        self.blueprint.http.is_some()
    }

    pub fn faults(&self) -> Faults {
        self.faults.snapshot()
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Calls that are under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn record(&self, error: &CallError) {
        self.faults.record(error);
        tracing::warn!(unit = %self.unit(), %error, "a call failed");
    }

    /// A place for one more call, or the refusal at once: a call never waits for another to end.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit, CallError> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.concurrency {
            self.in_flight.fetch_sub(1, Ordering::AcqRel);
            let error = CallError::Overloaded(self.unit().to_string());
            self.faults.record(&error);
            return Err(error);
        }
        Ok(Permit(self.clone()))
    }

    /// An instance for one call: an idle one when the component allows reuse, else a fresh one.
    pub(super) async fn http_instance(&self) -> Result<HttpInstance, CallError> {
        if self.reuse > 1
            && let Some(mut instance) = self.idle_instances().pop()
        {
            Guest::begin(&mut instance.store, self.timeout);
            return Ok(instance);
        }
        let pre = self
            .blueprint
            .http
            .as_ref()
            .ok_or_else(|| CallError::NotServed(format!("{} answers no HTTP requests", self.unit())))?;
        let mut store = Guest::store(&self.blueprint);
        Guest::begin(&mut store, self.timeout);
        let proxy = pre.instantiate_async(&mut store).await.map_err(|error| self.explain(&store, &error))?;
        Ok(HttpInstance { store, proxy, calls_left: self.reuse })
    }

    /// A fresh instance for calls that may take `deadline` together.
    pub(super) async fn live(&self, deadline: Duration) -> Result<Live, CallError> {
        let mut store = Guest::store(&self.blueprint);
        Guest::begin(&mut store, deadline);
        let instance = self.blueprint.pre.instantiate_async(&mut store).await;
        let instance = instance.map_err(|error| self.explain(&store, &error))?;
        Ok(Live { store, instance, held: Held::default() })
    }

    /// Takes back an instance whose call ended well.
    pub(super) fn give_back(&self, mut instance: HttpInstance) {
        instance.calls_left -= 1;
        if instance.calls_left > 0 {
            self.idle_instances().push(instance);
        }
    }

    fn idle_instances(&self) -> std::sync::MutexGuard<'_, Vec<HttpInstance>> {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// What a failed call means to its caller.
    pub(super) fn explain(&self, store: &Store<Guest>, error: &wasmtime::Error) -> CallError {
        if store.data().memory.refused {
            return CallError::Trap(format!("out of memory: the limit is {} bytes", self.blueprint.memory));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => CallError::Deadline(self.timeout),
            Some(trap) => CallError::Trap(format!("trap: {trap}")),
            None if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                CallError::Overloaded(format!("this host ({error})"))
            }
            None => CallError::Trap(format!("{error:#}")),
        }
    }
}
