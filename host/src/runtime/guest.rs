//! What stands behind one instance of a component: its contexts, its limits and its links.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::{Duration, Instant},
};

use lattice::wire::{CallError, UnitId};
use lattice_provider_http_client::Client;
use wasmtime::{
    AsContext, AsContextMut, Engine, ResourceLimiter, Store, StoreContext, StoreContextMut, UpdateDeadline,
    component::ResourceTable,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::{imports::HeldSessions, lens::Flows, link_names::LinkNames, outgoing::Outgoing};
use crate::{links::ComponentLinks, secrets::Granted};

/// The store of one instance. What its streams did not carry when it is dropped, they break off.
pub(crate) struct GuestStore(Store<Guest>);

impl Drop for GuestStore {
    fn drop(&mut self) {
        self.0.data().flows.end(|| CallError::Transport("the instance that wrote the stream has ended".into()));
    }
}

impl Deref for GuestStore {
    type Target = Store<Guest>;

    fn deref(&self) -> &Store<Guest> {
        &self.0
    }
}

impl DerefMut for GuestStore {
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        &mut self.0
    }
}

impl AsContext for GuestStore {
    type Data = Guest;

    fn as_context(&self) -> StoreContext<'_, Guest> {
        self.0.as_context()
    }
}

impl AsContextMut for GuestStore {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Guest> {
        self.0.as_context_mut()
    }
}

/// Whose instance it is.
pub(crate) struct About {
    pub(crate) unit: UnitId,
    /// What the manifest sets for it, in the order of the keys.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) secrets: Granted,
}

/// The data of a store.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) table: ResourceTable,
    pub(super) outgoing: Outgoing,
    pub(super) memory: MemoryLimit,
    pub(super) links: Arc<ComponentLinks>,
    pub(super) about: Arc<About>,
    /// Links that it has chosen by name.
    pub(super) link_names: LinkNames,
    /// Resources that it holds of other units.
    pub(super) sessions: HeldSessions,
    /// Streams that it writes for others.
    pub(super) flows: Flows,
    /// How long the call that is under way may take, and until when.
    pub(super) allowed: Duration,
    deadline: Instant,
}

impl Guest {
    /// A store for one instance, with at most `memory` bytes of linear memory. With a `client` it sends HTTP requests
    /// wherever it wants, and without one where its links lead.
    pub(crate) fn store(
        engine: &Engine,
        wasi: WasiCtx,
        client: Option<Arc<Client>>,
        memory: usize,
        links: Arc<ComponentLinks>,
        about: Arc<About>,
    ) -> GuestStore {
        let guest = Guest {
            wasi,
            http: WasiHttpCtx::new(),
            table: ResourceTable::new(),
            outgoing: Outgoing::new(client, links.clone()),
            memory: MemoryLimit { limit: memory, used: 0, refused: false },
            links,
            about,
            link_names: LinkNames::default(),
            sessions: HeldSessions::default(),
            flows: Flows::default(),
            allowed: Duration::ZERO,
            deadline: Instant::now(),
        };
        let mut store = Store::new(engine, guest);
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(|store| {
            // On each tick a guest that computes lets other tasks run; at its deadline it is ended. With a plain `Yield`
            // the task is ready again at once, and a worker that always finds one ready looks at its sockets and
            // timers only every 61 tasks: with a guest on each core, half a second. tokio's own yield lets it look.
            if Instant::now() < store.data().deadline {
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
            } else {
                Ok(UpdateDeadline::Interrupt)
            }
        });
        GuestStore(store)
    }

    /// When the call that is under way must have ended: what it calls itself has no longer.
    pub(super) fn until(&self) -> Instant {
        self.deadline
    }

    /// Prepares the store for a call that may take `allowed`.
    pub(crate) fn begin(store: &mut Store<Guest>, allowed: Duration) {
        store.data_mut().deadline = Instant::now();
        Self::join(store.as_context_mut(), Instant::now() + allowed, allowed);
    }

    /// The same beside other calls, which keep the time that they have.
    pub(super) fn join(mut store: StoreContextMut<'_, Guest>, deadline: Instant, allowed: Duration) {
        let guest = store.data_mut();
        if deadline > guest.deadline {
            (guest.deadline, guest.allowed) = (deadline, allowed);
        }
        guest.memory.refused = false;
        store.set_epoch_deadline(1);
    }

    /// No call is under way: the next one has its own time.
    pub(super) fn rest(&mut self) {
        self.deadline = Instant::now();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.outgoing.until = self.deadline;
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

/// Counts the linear memory of all of an instance's modules together.
pub(crate) struct MemoryLimit {
    /// In bytes.
    limit: usize,
    used: usize,
    /// Whether the guest was refused memory in this call: what it does then is to trap, and this says why.
    pub(super) refused: bool,
}

/// Table elements of one table; what the pool has room for.
const MAX_TABLE: usize = 100_000;

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            self.refused = true;
            return Ok(false);
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= MAX_TABLE)
    }

    fn instances(&self) -> usize {
        usize::MAX
    }

    fn tables(&self) -> usize {
        usize::MAX
    }

    fn memories(&self) -> usize {
        usize::MAX
    }
}
