//! One link: from an import to a unit, resolved at each call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler},
    model::{
        app::{LinkSpec, Transport},
        outbound::AllowedOrigin,
        share::own_name,
    },
    trace,
    wire::{CallError, DEFAULT_DEADLINE, Interface, MAX_DEADLINE, UnitId, value::FunctionShape},
};
use lattice_provider::{
    Caller, Capability,
    blobstore::{Blobstore, BlobstoreRemote},
    http::{HttpClient, HttpClientRemote, HttpHandler},
    keyvalue::{KeyValue, KeyValueRemote},
};

use super::{
    road::{Outgoing, Road},
    route::HttpLink,
    router::Router,
};

/// A road whose calls end at a time.
pub(super) struct Timed {
    pub(super) road: Arc<Road>,
    /// For each call.
    pub(super) deadline: Duration,
    /// For all calls: what is left to the caller itself.
    pub(super) until: Option<Instant>,
    /// Functions that may run twice.
    pub(super) idempotent: Arc<[String]>,
}

#[async_trait]
impl Caller for Timed {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let call = self.outgoing(interface, function, shape, payload);
        self.road.call(&call).await.map(|(reply, _)| reply)
    }
}

impl Timed {
    fn outgoing<'c>(
        &self,
        interface: &'c Interface,
        function: &'c str,
        shape: Option<&'c FunctionShape>,
        payload: Bytes,
    ) -> Outgoing<'c> {
        let own = Instant::now() + self.deadline;
        Outgoing {
            interface,
            function,
            payload,
            shape,
            until: self.until.map_or(own, |until| until.min(own)),
            session: None,
            idempotent: is_idempotent(&self.idempotent, function),
        }
    }
}

pub(super) fn is_idempotent(functions: &[String], function: &str) -> bool {
    functions.iter().any(|name| name == function || name == "*")
}

/// A link to a capability provider.
pub struct Link {
    road: Arc<Road>,
    transport: Transport,
    deadline: Duration,
    /// What the manifest says, if it does.
    own_deadline: Option<Duration>,
    idempotent: Arc<[String]>,
    /// Where HTTP requests may go by it.
    allow: Arc<[AllowedOrigin]>,
    /// Whether the store at its end is another app's, where the caller's has names of its own.
    own_names: bool,
}

/// Where a link leads at one moment.
enum Way {
    /// In this process.
    Here(Capability),
    There(Arc<dyn Caller>),
}

impl Link {
    pub fn new(bus: Bus, router: Arc<Router>, caller: UnitId, spec: &LinkSpec) -> Self {
        let road = Arc::new(Road::new(bus, router, caller, spec.to.clone()));
        Self {
            road,
            transport: spec.transport,
            deadline: deadline(spec),
            own_deadline: spec.deadline_ms.map(Duration::from_millis),
            idempotent: spec.idempotent.clone().into(),
            allow: spec.allow.clone().into(),
            own_names: spec.own_names,
        }
    }

    /// Where it leads now, for a caller that has until `until`, and at most `deadline` for each call.
    fn way(&self, until: Instant, deadline: Duration) -> Way {
        if self.transport != Transport::Lattice
            && let Some(local) = self.road.router.capability(&self.road.to)
        {
            if trace::is_recorded() || self.road.router.spy().sees(&self.road.caller, &self.road.to) {
                let (timed, handler) = (Arc::new(self.timed(until, deadline)), local.handler(&self.road.bus));
                return Way::There(Arc::new(Shown { timed, handler }));
            }
            return Way::Here(local);
        }
        if self.transport == Transport::Local {
            return Way::There(Arc::new(Nowhere(nowhere(&self.road.to))));
        }
        Way::There(Arc::new(self.timed(until, deadline)))
    }

    fn timed(&self, until: Instant, deadline: Duration) -> Timed {
        let (road, idempotent) = (self.road.clone(), self.idempotent.clone());
        Timed { road, deadline, until: Some(until), idempotent }
    }

    /// In place of a target that is something else: a host of another release may have checked the manifest.
    fn other(&self, wanted: &str) -> Arc<dyn Caller> {
        Arc::new(Nowhere(CallError::NotServed(format!("{} is no {wanted}", self.road.to))))
    }

    /// What the store calls the bucket or container that the caller calls `name`.
    pub fn stored_name(&self, name: String) -> String {
        match self.own_names {
            true => own_name(&self.road.caller.app, &name),
            false => name,
        }
    }

    /// The key-value store that the link leads to now, for a caller that has until `until`.
    pub fn key_value(&self, until: Instant) -> Arc<dyn KeyValue> {
        match self.way(until, self.deadline) {
            Way::Here(Capability::KeyValue(local)) => local,
            Way::Here(_) => Arc::new(KeyValueRemote(self.other("key-value store"))),
            Way::There(caller) => Arc::new(KeyValueRemote(caller)),
        }
    }

    /// The store of objects that the link leads to now, for a caller that has until `until`. A call lasts as long as what it
    /// carries, so that without a deadline of the link's own it has all of the caller's time.
    pub fn blobstore(&self, until: Instant) -> Arc<dyn Blobstore> {
        let remote = |caller| Arc::new(BlobstoreRemote(caller, self.road.bus.exchange()));
        match self.way(until, self.own_deadline.unwrap_or(MAX_DEADLINE)) {
            Way::Here(Capability::Blobstore(local)) => local,
            Way::Here(_) => remote(self.other("store of objects")),
            Way::There(caller) => remote(caller),
        }
    }

    /// The HTTP client that the link leads to now, for a caller that has until `until`.
    pub fn http_client(&self, until: Instant) -> Arc<dyn HttpClient> {
        let remote = |caller| Arc::new(HttpClientRemote { caller, bus: self.road.bus.clone() });
        match self.way(until, self.deadline) {
            Way::Here(Capability::HttpClient(local)) => local,
            Way::Here(_) => remote(self.other("HTTP client")),
            Way::There(caller) => remote(caller),
        }
    }

    /// Where HTTP requests may go by it.
    pub fn allow(&self) -> &Arc<[AllowedOrigin]> {
        &self.allow
    }

    /// How long one call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Who calls.
    pub fn caller(&self) -> &UnitId {
        &self.road.caller
    }

    /// The way to a component that answers HTTP, for a caller that has until `until`.
    pub fn component(&self, unit: UnitId, until: Instant) -> impl HttpHandler + use<> {
        let Road { bus, router, caller, .. } = &*self.road;
        let road = Road::new(bus.clone(), router.clone(), caller.clone(), unit);
        HttpLink::new(road, self.deadline, Some(until))
    }
}

/// How long one call over a link may take.
pub(super) fn deadline(spec: &LinkSpec) -> Duration {
    spec.deadline_ms.map_or(DEFAULT_DEADLINE, Duration::from_millis)
}

/// A provider in this process for a call that is traced or looked at: it is called as if it were elsewhere, so that what it is asked is
/// known, whichever function it is.
pub(super) struct Shown {
    pub(super) timed: Arc<Timed>,
    pub(super) handler: Arc<dyn CallHandler>,
}

#[async_trait]
impl Caller for Shown {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let (call, road) = (self.timed.outgoing(interface, function, shape, payload), &self.timed.road);
        road.made_here(&call, self.handler.call(call.head(&road.caller), call.payload.clone())).await
    }
}

/// Where a link leads that leads to nobody: its calls fail.
struct Nowhere(CallError);

#[async_trait]
impl Caller for Nowhere {
    async fn call(
        &self,
        _: &Interface,
        _: &'static str,
        _: Option<&FunctionShape>,
        _: Bytes,
    ) -> Result<Bytes, CallError> {
        Err(self.0.clone())
    }
}

pub(super) fn nowhere(to: &UnitId) -> CallError {
    CallError::NoInstance(format!("{to} on this host (the link's transport is local)"))
}
