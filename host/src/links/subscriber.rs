//! The way of a provider's messages to a component.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::messages::SubscriptionSpec,
    wire::{CallError, Interface, UnitId, value::FunctionShape},
};
use lattice_provider::Caller;

use super::{function::FunctionLink, router::Router};

/// From a subscription of `caller` to the component that takes its messages.
pub(crate) fn subscriber(bus: &Bus, router: &Arc<Router>, caller: &UnitId, spec: &SubscriptionSpec) -> Arc<dyn Caller> {
    Arc::new(Subscriber(FunctionLink::to_component(bus, router, caller, &spec.to, spec.timeout_ms)))
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
        self.0.call_once(interface, function, shape, payload).await
    }
}
