//! What a component imports from other components: functions of any type, and resources that live elsewhere.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::{
    bus::{HandedOut, Taker},
    wire::{CallError, ContentType, Interface, SESSION_INTERFACE, SESSION_LEASE, UnitId, encode, value::FunctionShape},
};
use uuid::Uuid;
use wasmtime::{
    AsContextMut as _, StoreContextMut, bail,
    component::{Accessor, Component, Linker, LinkerInstance, ResourceType, types::ComponentItem},
};

use super::{
    guest::Guest,
    lens::{self, ErrorRoom, Intake, LatticeResource, Lifted, function_shape},
    streams::{self, Sources},
};
use crate::links::{ComponentLinks, FunctionLink, Named, Outgoing, Place};

/// Defines every interface of `component` that `links` lead to units called by WIT.
pub(super) fn define(
    linker: &mut Linker<Guest>,
    component: &Component,
    links: &ComponentLinks,
) -> wasmtime::Result<()> {
    let engine = component.engine();
    // A component may be linked for an interface that the host has a road of its own for.
    linker.allow_shadowing(true);
    for (name, item) in component.component_type().imports(engine) {
        let key = if matches!(item.ty, ComponentItem::ComponentInstance(_)) { name } else { Interface::ROOT };
        let Some(links) = links.functions.get(key) else { continue };
        let interface: Interface = key.parse()?;
        match item.ty {
            ComponentItem::ComponentInstance(instance) => {
                let mut into = linker.instance(name)?;
                for (name, item) in instance.exports(engine) {
                    define_item(&mut into, links, &interface, name, item.ty)?;
                }
            }
            item => define_item(&mut linker.root(), links, &interface, name, item)?,
        }
    }
    Ok(())
}

/// Defines one function or resource of an interface.
fn define_item(
    into: &mut LinkerInstance<'_, Guest>,
    links: &Named<FunctionLink>,
    interface: &Interface,
    name: &str,
    item: ComponentItem,
) -> wasmtime::Result<()> {
    let ty = match item {
        ComponentItem::ComponentFunc(ty) => ty,
        ComponentItem::Resource(_) => return define_resource(into, name, links.clone()),
        _ => return Ok(()),
    };
    let shape = match function_shape(&ty) {
        Ok(shape) => shape,
        Err(error) => bail!("{interface}#{name}: {error}"),
    };
    let import = Arc::new(ImportedFunction::new(links, interface, name, shape.clone()));
    if ty.async_() {
        lens::define_concurrent(into, name, &shape, move |guest, args| {
            let import = import.clone();
            Box::pin(async move { import.call_concurrent(guest, args).await })
        })
    } else {
        lens::define(into, name, &shape, move |store, args| {
            let import = import.clone();
            Box::new(async move { import.call(store, args).await })
        })
    }
}

fn define_resource(
    into: &mut LinkerInstance<'_, Guest>,
    name: &str,
    links: Named<FunctionLink>,
) -> wasmtime::Result<()> {
    into.resource_async(name, ResourceType::host::<LatticeResource>(), move |mut store, number| {
        let sessions = &mut store.data_mut().sessions;
        let drop = links.iter().find_map(|link| sessions.dropped(link.to(), number));
        Box::new(async move {
            if let Some(drop) = drop {
                drop.await;
            }
            Ok(())
        })
    })
}

/// A function of another unit.
struct ImportedFunction {
    links: Named<FunctionLink>,
    interface: Interface,
    function: String,
    shape: FunctionShape,
    takes_resources: bool,
    returns_resources: bool,
    has_streams: bool,
}

impl ImportedFunction {
    fn new(links: &Named<FunctionLink>, interface: &Interface, function: &str, shape: FunctionShape) -> Self {
        Self {
            links: links.clone(),
            interface: interface.clone(),
            function: function.to_owned(),
            takes_resources: shape.takes_handles(),
            returns_resources: shape.returns_handles(),
            has_streams: shape.has_streams(),
            shape,
        }
    }

    /// A call of a guest that waits for it.
    async fn call(&self, mut store: StoreContextMut<'_, Guest>, mut args: Lifted) -> wasmtime::Result<Intake> {
        let sources = streams::pipe(&mut store, std::mem::take(&mut args.flows), None)?;
        let prepared = self.prepare(store.data_mut(), args)?;
        let outcome = self.send(&prepared, sources).await;
        self.finish(store.data_mut(), prepared, outcome)
    }

    /// A call of a guest that may do something else meanwhile.
    async fn call_concurrent(&self, guest: &Accessor<Guest>, mut args: Lifted) -> wasmtime::Result<Intake> {
        let (sources, prepared) = guest.with(|mut access| {
            let sources = streams::pipe(access.as_context_mut(), std::mem::take(&mut args.flows), None)?;
            Ok::<_, wasmtime::Error>((sources, self.prepare(access.data_mut(), args)?))
        })?;
        let outcome = self.send(&prepared, sources).await;
        guest.with(|mut access| self.finish(access.data_mut(), prepared, outcome))
    }

    fn prepare(&self, guest: &mut Guest, args: Lifted) -> wasmtime::Result<Prepared> {
        if !args.given.is_empty() {
            bail!("{}#{} was given a resource of the caller's own", self.interface, self.function);
        }
        let link = match self.link(guest, &args.bytes) {
            Ok(link) => link.clone(),
            Err(reason) => bail!("{}#{}: {reason}", self.interface, self.function),
        };
        let until = guest.until().min(Instant::now() + link.deadline());
        for number in &args.returned {
            guest.sessions.forget(link.to(), *number);
        }
        let bound = guest.sessions.find(link.to());
        let session = match bound {
            Some(bound) => Some(bound.id),
            None if self.takes_resources || self.returns_resources => Some(Uuid::now_v7()),
            None => None,
        };
        let pinned = bound.map(|bound| bound.place.clone());
        Ok(Prepared { link, payload: args.bytes.into(), until, session, pinned })
    }

    async fn send(&self, prepared: &Prepared, sources: Sources) -> Result<Reply, CallError> {
        let Prepared { link, payload, until, session, pinned } = prepared;
        let exchange = self.has_streams.then(|| link.exchange());
        // Dropped when the call has failed: then nobody will take what was offered.
        let mut offers = Vec::new();
        let payload = match &exchange {
            Some(exchange) if !sources.is_empty() => {
                let mut bytes = payload.to_vec();
                offers = streams::hand_out(exchange, &mut bytes, sources).await?;
                bytes.into()
            }
            _ => payload.clone(),
        };
        let call = Outgoing {
            interface: &self.interface,
            function: &self.function,
            payload,
            shape: Some(&self.shape),
            until: *until,
            session: *session,
            // A stream is taken once, so that a call with streams cannot be made again.
            idempotent: link.is_idempotent(&self.function) && offers.is_empty(),
        };
        let (bytes, place) = link.call(call, pinned.as_ref()).await?;
        offers.into_iter().for_each(HandedOut::leave);
        let streams = match exchange {
            Some(exchange) => Some(exchange.taker().await?),
            None => None,
        };
        Ok(Reply { bytes, place, streams })
    }

    /// The result for the guest: that of the callee, or the error where the function has room for it.
    fn finish(
        &self,
        guest: &mut Guest,
        prepared: Prepared,
        outcome: Result<Reply, CallError>,
    ) -> wasmtime::Result<Intake> {
        let Prepared { link, session, .. } = prepared;
        let received = outcome.and_then(|Reply { bytes, place, streams }| {
            if let Some(session) = session.filter(|_| self.returns_resources) {
                let numbers = self.shape.scan_result(&bytes)?.handles;
                guest.sessions.received(&link, session, place, numbers);
            }
            Ok(Intake { bytes, streams, ..Intake::default() })
        });
        guest.sessions.settle(link.to());
        received.or_else(|error| match self.shape.result.as_ref().and_then(ErrorRoom::of) {
            Some(room) => Ok(Intake { bytes: room.fill(&error).into(), ..Intake::default() }),
            None => bail!("{}#{} of {}: {error}", self.interface, self.function, link.to()),
        })
    }

    /// Where the call goes: to whoever holds the resources that it is about, else by the link that the guest chose. Of several that share
    /// its calls, to the one that the guest has resources of: it goes on where it has begun.
    fn link(&self, guest: &Guest, args: &[u8]) -> Result<&Arc<FunctionLink>, String> {
        if self.takes_resources {
            let numbers = self.shape.scan_arguments(args).map_err(|error| error.to_string())?.handles;
            let holds = |link: &&Arc<FunctionLink>| guest.sessions.holds(link.to(), &numbers);
            if let Some(link) = self.links.iter().find(holds) {
                return Ok(link);
            }
        }
        let name = guest.link_names.chosen(self.interface.unversioned());
        let shares = self.links.shares(name);
        let begun = shares.and_then(|shares| shares.iter().find(|link| guest.sessions.find(link.to()).is_some()));
        begun.or_else(|| shares?.choose()).ok_or_else(|| match name {
            Some(name) => format!("no link in the manifest is named `{name}`"),
            None => "no link in the manifest is the default".to_owned(),
        })
    }
}

/// A call that is ready to be sent.
struct Prepared {
    link: Arc<FunctionLink>,
    payload: Bytes,
    until: Instant,
    session: Option<Uuid>,
    /// Where a session binds it.
    pinned: Option<Place>,
}

/// What the callee answered.
struct Reply {
    bytes: Bytes,
    place: Place,
    /// Where its streams are taken from, when it may have some.
    streams: Option<Taker>,
}

/// The resources that a guest holds of other units: one session a unit.
#[derive(Default)]
pub(super) struct HeldSessions(BTreeMap<UnitId, HeldSession>);

/// A session with one unit. Dropping it ends the session there.
struct HeldSession {
    id: Uuid,
    place: Place,
    link: Arc<FunctionLink>,
    numbers: HashSet<u32>,
    /// Tells the holder of the instance that we are still there.
    renewing: tokio::task::AbortHandle,
}

/// How long telling an instance about resources may take.
const CONTROL: Duration = Duration::from_secs(5);

impl HeldSessions {
    /// Whether one of these is a resource of `unit`.
    fn holds(&self, unit: &UnitId, numbers: &[u32]) -> bool {
        self.0.get(unit).is_some_and(|session| numbers.iter().any(|number| session.numbers.contains(number)))
    }

    fn find(&self, unit: &UnitId) -> Option<&HeldSession> {
        self.0.get(unit)
    }

    /// The guest gave a resource back: it is the instance's own again.
    fn forget(&mut self, unit: &UnitId, number: u32) {
        if let Some(session) = self.0.get_mut(unit) {
            session.numbers.remove(&number);
        }
    }

    /// Forgets a session of which nothing is held any more; the instance has done the same.
    fn settle(&mut self, unit: &UnitId) {
        if self.find(unit).is_some_and(|session| session.numbers.is_empty()) {
            self.0.remove(unit);
        }
    }

    fn received(&mut self, link: &Arc<FunctionLink>, id: Uuid, place: Place, numbers: Vec<u32>) {
        if let Some(session) = self.0.get_mut(link.to()) {
            session.numbers.extend(numbers);
        } else if !numbers.is_empty() {
            let renewing = tokio::spawn(renew(link.clone(), id, place.clone())).abort_handle();
            let session =
                HeldSession { id, place, link: link.clone(), numbers: numbers.into_iter().collect(), renewing };
            self.0.insert(link.to().clone(), session);
        }
    }

    /// The guest dropped a resource: tells its instance, and ends when that has run the destructor.
    fn dropped(&mut self, unit: &UnitId, number: u32) -> Option<impl Future<Output = ()> + Send + use<>> {
        let session = self.0.get_mut(unit)?;
        if !session.numbers.remove(&number) {
            return None;
        }
        let payload = encode(ContentType::Postcard, &([number].as_slice(),)).ok()?;
        let (link, id, place) = (session.link.clone(), session.id, session.place.clone());
        // The last one: what it would be told when it ends, it is told now.
        let ended = if session.numbers.is_empty() { self.0.remove(unit) } else { None };
        Some(async move {
            control(&link, "drop", id, &place, payload).await;
            drop(ended);
        })
    }
}

impl Drop for HeldSession {
    fn drop(&mut self) {
        self.renewing.abort();
        if self.numbers.is_empty() {
            return;
        }
        // Whoever drops a store does not wait for the other side.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (link, id, place) = (self.link.clone(), self.id, self.place.clone());
            runtime.spawn(async move { control(&link, "end", id, &place, Bytes::new()).await });
        }
    }
}

async fn renew(link: Arc<FunctionLink>, id: Uuid, place: Place) {
    loop {
        tokio::time::sleep(SESSION_LEASE / 3).await;
        control(&link, "renew", id, &place, Bytes::new()).await;
    }
}

async fn control(link: &FunctionLink, function: &str, session: Uuid, place: &Place, payload: Bytes) {
    let Ok(interface) = SESSION_INTERFACE.parse() else { return };
    let until = Instant::now() + CONTROL;
    let call = Outgoing {
        interface: &interface,
        function,
        payload,
        shape: None,
        until,
        session: Some(session),
        idempotent: false,
    };
    if let Err(error) = link.call(call, Some(place)).await {
        tracing::debug!(unit = %link.to(), function, %error, "an instance with resources of ours does not answer");
    }
}
