//! A link whose calls are those of the WIT interface itself: to another component, or to a provider of an interface
//! that this host has no road of its own for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler, Exchange, within},
    model::app::{LinkSpec, Transport},
    wire::{CallError, InstanceId, Interface, UnitId, value::FunctionShape},
};

use super::{
    link::{deadline, is_idempotent, nowhere},
    road::{GRACE, Outgoing, Road},
    router::Router,
};

/// From an imported interface to a unit.
pub struct FunctionLink {
    road: Road,
    transport: Transport,
    deadline: Duration,
    idempotent: Vec<String>,
}

/// The instance that a call went to.
#[derive(Clone)]
pub enum Place {
    /// In this process.
    Here(Arc<dyn CallHandler>),
    There(InstanceId),
}

impl FunctionLink {
    pub fn new(bus: Bus, router: Arc<Router>, caller: UnitId, spec: &LinkSpec) -> Self {
        let road = Road::new(bus, router, caller, spec.to.clone());
        Self { road, transport: spec.transport, deadline: deadline(spec), idempotent: spec.idempotent.clone() }
    }

    /// From a provider to the component `to`, which may take `timeout_ms`: by whichever road is shorter, for calls that run
    /// once.
    pub(super) fn to_component(bus: &Bus, router: &Arc<Router>, caller: &UnitId, to: &UnitId, timeout_ms: u64) -> Self {
        let road = Road::new(bus.clone(), router.clone(), caller.clone(), to.clone());
        let deadline = Duration::from_millis(timeout_ms) + GRACE;
        Self { road, transport: Transport::Auto, deadline, idempotent: Vec::new() }
    }

    /// Makes a call that belongs to nothing else, within the link's own time.
    pub(super) async fn call_once(
        &self,
        interface: &Interface,
        function: &str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let until = Instant::now() + self.deadline;
        let call = Outgoing { interface, function, payload, shape, until, session: None, idempotent: false };
        self.call(call, None).await.map(|(reply, _)| reply)
    }

    /// The unit whose link it is.
    pub(super) fn caller(&self) -> &UnitId {
        &self.road.caller
    }

    /// The unit that it leads to.
    pub fn to(&self) -> &UnitId {
        &self.road.to
    }

    /// Where the streams of its calls are offered and taken.
    pub(crate) fn exchange(&self) -> Exchange {
        self.road.bus.exchange()
    }

    /// How long one call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Whether `function` may run twice.
    pub fn is_idempotent(&self, function: &str) -> bool {
        is_idempotent(&self.idempotent, function)
    }

    /// Makes the call; where a session binds it, in `pinned` and nowhere else. Returns who answered.
    pub(crate) async fn call(&self, call: Outgoing<'_>, pinned: Option<&Place>) -> Result<(Bytes, Place), CallError> {
        match pinned {
            Some(Place::Here(handler)) => {
                self.call_here(handler, &call).await.map(|r| (r, Place::Here(handler.clone())))
            }
            Some(place @ Place::There(instance)) => {
                Ok((self.road.call_instance(instance, &call).await?, place.clone()))
            }
            None => {
                let here = match self.transport {
                    Transport::Lattice => None,
                    _ => self.road.router.calls(&self.road.to),
                };
                match here {
                    Some(handler) => Ok((self.call_here(&handler, &call).await?, Place::Here(handler))),
                    None if self.transport == Transport::Local => Err(nowhere(&self.road.to)),
                    None => self.road.call(&call).await.map(|(reply, instance)| (reply, Place::There(instance))),
                }
            }
        }
    }

    async fn call_here(&self, handler: &Arc<dyn CallHandler>, call: &Outgoing<'_>) -> Result<Bytes, CallError> {
        let left = call.left();
        let work = handler.call(call.head(&self.road.caller), call.payload.clone());
        within(left, self.road.made_here(call, work)).await.unwrap_or(Err(CallError::Deadline(left)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    /// What waits for a call is moved to where it waits. It was 20 KiB once, each time for nothing: a future that is given
    /// from function to function as a whole doubles with each of them.
    #[tokio::test]
    async fn what_waits_for_a_call_is_small() {
        let bus = Bus::memory("test".parse().unwrap());
        let spec = json!({ "interface": "test:library/work", "to": "app/library", "transport": "auto" });
        let link = FunctionLink::new(bus, Arc::default(), "app/caller".parse().unwrap(), &from_value(spec).unwrap());
        let interface = "test:library/work@1.2.0".parse().unwrap();
        let call = link.call_once(&interface, "small", None, Bytes::new());
        assert!(size_of_val(&call) <= 4096, "{} bytes", size_of_val(&call));
    }
}
