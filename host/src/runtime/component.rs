//! One component, ready for calls.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use lattice::{
    model::{app::ComponentSpec, inventory::Faults},
    wire::{CallError, UnitId, value::ValueError},
};
use lattice_provider_http_client::{Client, TlsError};
use tokio::sync::OnceCell;
use wasmtime::{
    Engine, Store, Trap, WasmBacktrace,
    component::{Component, Instance, InstancePre, Linker},
};
use wasmtime_wasi_http::{p2::bindings::ProxyIndices, p3::bindings::ServiceIndices};

use super::{
    blobstore,
    concurrent::Instances,
    config,
    engine::{self, EngineError, EngineKind},
    faults::FaultLog,
    grants::Grants,
    guest::{About, Guest, GuestStore},
    imports, keyvalue,
    lens::UnknownResource,
    link_names, logging,
    plain::IdleInstances,
    secrets,
    spares::Spares,
};
use crate::{links::ComponentLinks, quotas::AppCalls};

/// The engines with everything that components may import.
#[derive(Clone)]
pub struct Runtime {
    plain: Arc<Linked>,
    /// Made at the first component that needs it.
    concurrent: Arc<OnceCell<Linked>>,
}

/// An engine with its linker.
struct Linked {
    engine: Engine,
    linker: Linker<Guest>,
    spares: Arc<Spares>,
}

impl Linked {
    fn new(kind: EngineKind) -> Result<Self, EngineError> {
        let (engine, slots) = engine::make(kind)?;
        let linker = linker(&engine, kind).map_err(|error| EngineError::Start(format!("{error:#}")))?;
        Ok(Self { engine, linker, spares: Arc::new(Spares::new(slots)) })
    }
}

/// Why a compiled component cannot be made ready.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error("the component's imports cannot be satisfied: {0}")]
    Imports(String),
    #[error("the component wants {wanted} bytes of memory as its limit; this host gives at most {max}", max = engine::MAX_MEMORY)]
    Memory { wanted: u64 },
    #[error("HTTP requests cannot be sent: {0}")]
    Client(#[from] TlsError),
}

impl Runtime {
    pub fn new() -> Result<Self, EngineError> {
        Ok(Self { plain: Arc::new(Linked::new(EngineKind::Plain)?), concurrent: Arc::default() })
    }

    /// The engine for components that do without WASI 0.3.
    pub fn engine(&self) -> &Engine {
        &self.plain.engine
    }

    /// The engine of a kind; that for WASI 0.3 is made when it is first asked for.
    pub async fn engine_of(&self, kind: EngineKind) -> Result<Engine, EngineError> {
        let linked = match kind {
            EngineKind::Plain => &*self.plain,
            EngineKind::Concurrent => {
                self.concurrent.get_or_try_init(|| async { Linked::new(EngineKind::Concurrent) }).await?
            }
        };
        Ok(linked.engine.clone())
    }

    /// The engine that compiled `component`.
    fn linked(&self, component: &Component) -> &Linked {
        let second = self.concurrent.get().filter(|linked| Engine::same(&linked.engine, component.engine()));
        second.unwrap_or(&self.plain)
    }

    /// Binds a compiled component to its links, its limits and what it is granted beyond them.
    pub fn prepare(
        &self,
        component: &Component,
        unit: UnitId,
        spec: &ComponentSpec,
        links: ComponentLinks,
        grants: Grants,
    ) -> Result<Arc<LoadedComponent>, PrepareError> {
        if spec.limits.memory_bytes > engine::MAX_MEMORY {
            return Err(PrepareError::Memory { wanted: spec.limits.memory_bytes });
        }
        let unsatisfied = |error: wasmtime::Error| PrepareError::Imports(format!("{error:#}"));
        let linked = self.linked(component);
        let pre = if links.functions.is_empty() {
            linked.linker.instantiate_pre(component).map_err(unsatisfied)?
        } else {
            // What it imports from other components is of its own types.
            let mut linker = Linker::clone(&linked.linker);
            imports::define(&mut linker, component, &links).map_err(unsatisfied)?;
            linker.instantiate_pre(component).map_err(unsatisfied)?
        };
        let http = ServiceIndices::new(&pre).ok().map(HttpExport::Service);
        let http = http.or_else(|| ProxyIndices::new(&pre).ok().map(HttpExport::Proxy));
        let counts = grants.counts.clone();
        let settings = spec.config.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let blueprint = Blueprint {
            about: Arc::new(About { unit: unit.clone(), settings, secrets: grants.secrets.clone() }),
            unit: Arc::new(unit),
            http,
            pre,
            client: grants.client()?,
            grants,
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
            idle: IdleInstances::default(),
            spares: linked.spares.clone(),
            has_spares: AtomicBool::new(false),
            instances: Arc::new(Instances::pool(spec.reuse.max(1))),
            faults: FaultLog::new(counts),
            concurrent: !Engine::same(component.engine(), &self.plain.engine),
        }))
    }
}

pub(crate) fn linker(engine: &Engine, kind: EngineKind) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    if kind == EngineKind::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    // Everything of WASI that wasmtime has; what a component may do with it is for its context to say.
    let mut options = wasmtime_wasi::p2::bindings::LinkOptions::default();
    options.network_error_code(true);
    wasmtime_wasi::p2::add_to_linker_with_options_async(&mut linker, &options)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    config::add_to_linker(&mut linker)?;
    logging::add_to_linker(&mut linker)?;
    secrets::add_to_linker(&mut linker)?;
    blobstore::add_to_linker(&mut linker)?;
    link_names::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// What every instance of a component is made from.
pub(super) struct Blueprint {
    pub(super) unit: Arc<UnitId>,
    about: Arc<About>,
    pub(super) pre: InstancePre<Guest>,
    pub(super) http: Option<HttpExport>,
    pub(super) grants: Grants,
    /// Of a component that was granted HTTP.
    client: Option<Arc<Client>>,
    pub(super) env: Vec<(String, String)>,
    /// In bytes.
    pub(super) memory: usize,
    pub(super) links: Arc<ComponentLinks>,
}

/// How a component answers HTTP.
pub(super) enum HttpExport {
    /// `wasi:http/incoming-handler@0.2`
    Proxy(ProxyIndices),
    /// `wasi:http/handler@0.3`
    Service(ServiceIndices),
}

impl Blueprint {
    /// A store for one instance. It fails only when a folder that was granted cannot be opened.
    pub(super) fn store(&self) -> Result<GuestStore, CallError> {
        let wasi = self.grants.builder(&self.unit, &self.env);
        let mut wasi = wasi.map_err(|error| CallError::Denied(error.to_string()))?;
        Ok(Guest::store(
            self.pre.engine(),
            wasi.build(),
            self.client.clone(),
            self.memory,
            self.links.clone(),
            self.about.clone(),
        ))
    }
}

/// A component that takes calls.
pub struct LoadedComponent {
    pub(super) blueprint: Blueprint,
    pub(super) timeout: Duration,
    concurrency: u32,
    in_flight: AtomicU32,
    pub(super) reuse: u32,
    /// Its idle instances on the plain engine.
    pub(super) idle: IdleInstances,
    pub(super) spares: Arc<Spares>,
    /// Whether the maker of spares looks after it.
    pub(super) has_spares: AtomicBool,
    /// Its instances on the engine for WASI 0.3.
    pub(super) instances: Arc<Instances>,
    faults: FaultLog,
    /// Whether it runs on the engine for WASI 0.3.
    pub(super) concurrent: bool,
}

/// A place among the calls that a component may have at a time.
pub(super) struct Permit {
    component: Arc<LoadedComponent>,
    /// Where it is counted as well: only while the app's calls have a bound.
    quota: Option<Arc<AppCalls>>,
    begun: Instant,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.component.faults.counts().end(self.begun);
        if let Some(quota) = &self.quota {
            quota.end();
        }
        self.component.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
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

    pub(super) fn answered(&self, status: http::StatusCode) {
        if status.is_server_error() {
            self.faults.answered(status);
        }
    }

    /// A place for one more call, or the refusal at once: a call never waits for another to end.
    pub(super) fn permit(self: &Arc<Self>) -> Result<Permit, CallError> {
        if self.in_flight.fetch_add(1, Ordering::AcqRel) >= self.concurrency {
            return Err(self.refuse(self.unit().to_string()));
        }
        let quota = self.blueprint.grants.quota.as_ref().filter(|quota| quota.is_bounded());
        if quota.is_some_and(|quota| !quota.begin()) {
            return Err(self.refuse(format!("the quota of calls of app {} on this host", self.unit().app)));
        }
        self.faults.call();
        let begun = self.faults.counts().begin();
        Ok(Permit { component: self.clone(), quota: quota.cloned(), begun })
    }

    fn refuse(&self, full: String) -> CallError {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        let error = CallError::Overloaded(full);
        self.faults.record(&error);
        error
    }

    /// A fresh instance whose first call may take `allowed`.
    pub(super) async fn instantiate(&self, allowed: Duration) -> Result<(GuestStore, Instance), CallError> {
        let mut store = self.blueprint.store()?;
        Guest::begin(&mut store, allowed);
        let instance = self.blueprint.pre.instantiate_async(&mut store).await;
        let instance = instance.map_err(|error| self.explain(&store, &error))?;
        Ok((store, instance))
    }

    /// What holders of resources are told whose instance is gone.
    pub(super) fn session_ended(&self) -> CallError {
        CallError::Gone(format!("{}: its session has ended", self.unit()))
    }

    /// What a failed call means to its caller.
    pub(super) fn explain(&self, store: &Store<Guest>, error: &wasmtime::Error) -> CallError {
        if store.data().memory.refused {
            return CallError::Trap(format!("out of memory: the limit is {} bytes", self.blueprint.memory));
        }
        if let Some(error) = error.downcast_ref::<ValueError>() {
            return CallError::BadMessage(error.to_string());
        }
        if let Some(error) = error.downcast_ref::<UnknownResource>() {
            return CallError::Gone(format!("{}: {error}", self.unit()));
        }
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => CallError::Deadline(store.data().allowed),
            Some(trap) => CallError::Trap(format!("trap: {trap}")),
            None if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                CallError::Overloaded(format!("this host ({error})"))
            }
            // Where in the guest it was is many lines, and would stand before what it was.
            None if error.is::<WasmBacktrace>() => CallError::Trap(error.root_cause().to_string()),
            None => CallError::Trap(format!("{error:#}")),
        }
    }
}
