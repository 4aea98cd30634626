//! One link: from an import to a unit, resolved at each call.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lattice::{
    bus::Bus,
    model::app::{LinkSpec, RouteSpec, Transport},
    wire::{CallError, CallHead, CallSubject, ContentType, DEFAULT_DEADLINE, Interface, UnitId},
};
use lattice_provider::{
    Caller, Capability,
    http::{Body, HttpHandler, HttpRemote},
    keyvalue::{KeyValue, KeyValueRemote},
};

use super::router::Router;

/// How long a call waits for an instance to appear when none is there: long enough to bridge a change that this host
/// has not heard of yet, short enough to be an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Calls over NATS to whichever instance of a unit is there.
struct Road {
    bus: Bus,
    router: Arc<Router>,
    caller: UnitId,
    to: UnitId,
    deadline: Duration,
}

#[async_trait]
impl Caller for Road {
    async fn call(&self, interface: &Interface, function: &'static str, payload: Bytes) -> Result<Bytes, CallError> {
        let until = Instant::now() + self.deadline;
        let patience = Instant::now() + PATIENCE.min(self.deadline);
        let mut changes = self.router.changes();
        let mut tried = Vec::new();
        let mut last = CallError::NoInstance(self.to.to_string());
        loop {
            changes.mark_unchanged();
            let picked = self.router.pick(&self.to, &tried);
            let Some((instance, in_flight)) = picked else {
                let woken = tokio::time::timeout_at(patience.into(), changes.changed()).await;
                if woken.is_err() {
                    return Err(last);
                }
                continue;
            };
            let subject = CallSubject {
                lattice: self.bus.lattice().clone(),
                unit: self.to.clone(),
                instance,
                interface: interface.clone(),
            };
            let head = CallHead {
                interface: interface.clone(),
                function: function.to_owned(),
                deadline: until.saturating_duration_since(Instant::now()),
                caller: Some(self.caller.clone()),
                content_type: ContentType::Postcard,
                traceparent: None,
                session: None,
            };
            match self.bus.call(&subject, &head, payload.clone()).await {
                // Nothing has run: the next one may have it.
                Err(error) if error.certainly_not_started() => {
                    if matches!(error, CallError::NoInstance(_)) {
                        in_flight.was_silent();
                    }
                    tried.push(subject.instance);
                    last = error;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A link to a capability provider.
pub struct Link {
    road: Arc<Road>,
    transport: Transport,
    remote: Arc<dyn KeyValue>,
}

impl Link {
    pub fn new(bus: Bus, router: Arc<Router>, caller: UnitId, spec: &LinkSpec) -> Self {
        let deadline = spec.deadline_ms.map_or(DEFAULT_DEADLINE, Duration::from_millis);
        let road = Arc::new(Road { bus, router, caller, to: spec.to.clone(), deadline });
        Self { remote: Arc::new(KeyValueRemote(road.clone())), road, transport: spec.transport }
    }

    /// The key-value store that the link leads to now.
    pub fn key_value(&self) -> Arc<dyn KeyValue> {
        if self.transport == Transport::Lattice {
            return self.remote.clone();
        }
        match self.road.router.capability(&self.road.to) {
            Some(Capability::KeyValue(local)) => local,
            None if self.transport == Transport::Local => {
                Arc::new(KeyValueRemote(Arc::new(Nowhere(self.road.to.clone()))))
            }
            None => self.remote.clone(),
        }
    }
}

/// Where a local link leads when its target is not on this host.
struct Nowhere(UnitId);

#[async_trait]
impl Caller for Nowhere {
    async fn call(&self, _: &Interface, _: &'static str, _: Bytes) -> Result<Bytes, CallError> {
        Err(CallError::NoInstance(format!("{} on this host (the link's transport is local)", self.0)))
    }
}

/// A route's way to a component.
pub struct HttpLink {
    road: Arc<Road>,
    remote: HttpRemote,
}

/// Added to a component's own time limit, so that its own answer to an overdue call has a chance to arrive.
const HTTP_GRACE: Duration = Duration::from_millis(500);

impl HttpLink {
    pub fn new(bus: Bus, router: Arc<Router>, caller: UnitId, route: &RouteSpec) -> Self {
        let deadline = Duration::from_millis(route.timeout_ms) + HTTP_GRACE;
        let road = Arc::new(Road { bus: bus.clone(), router, caller, to: route.to.clone(), deadline });
        Self { remote: HttpRemote { caller: road.clone(), bus }, road }
    }
}

#[async_trait]
impl HttpHandler for HttpLink {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        match self.road.router.http(&self.road.to) {
            Some(local) => local.handle(request).await,
            None => self.remote.handle(request).await,
        }
    }
}
