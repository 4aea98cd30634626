//! The way of a provider's messages to a component.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::messages::SubscriptionSpec,
    wire::{CallError, Interface, UnitId, value::FunctionShape},
};
use lattice_provider::Caller;

use super::{
    function::FunctionLink,
    road::{GRACE, Outgoing, Road},
    router::Router,
};

/// From a subscription of `caller` to the component that takes its messages.
pub(crate) fn subscriber(bus: &Bus, router: &Arc<Router>, caller: &UnitId, spec: &SubscriptionSpec) -> Arc<dyn Caller> {
    let road = Road { bus: bus.clone(), router: router.clone(), caller: caller.clone(), to: spec.to.clone() };
    Arc::new(Subscriber(FunctionLink::to_unit(road, Duration::from_millis(spec.timeout_ms) + GRACE)))
}

struct Subscriber(FunctionLink);

#[async_trait]
impl Caller for Subscriber {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let call = Outgoing {
            interface,
            function,
            payload,
            shape,
            until: Instant::now() + self.0.deadline(),
            session: None,
            idempotent: false,
        };
        self.0.call(call, None).await.map(|(reply, _)| reply)
    }
}
