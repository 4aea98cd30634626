//! The way of a call by the clock to a component.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::schedule::ScheduleSpec,
    trace::{self, Kind, spanned},
    wire::UnitId,
};
use lattice_provider::{NotDone, schedule::Scheduled};

use super::{function::FunctionLink, router::Router};

/// From a schedule of `caller` to the component that it calls.
pub(crate) fn scheduled(bus: &Bus, router: &Arc<Router>, caller: &UnitId, spec: &ScheduleSpec) -> Arc<dyn Scheduled> {
    let link = FunctionLink::to_component(bus, router, caller, &spec.to, spec.timeout_ms);
    Arc::new(ScheduledCall { link, spec: spec.clone() })
}

struct ScheduledCall {
    link: FunctionLink,
    spec: ScheduleSpec,
}

#[async_trait]
impl Scheduled for ScheduledCall {
    async fn run(&self) -> Result<(), NotDone> {
        let ScheduleSpec { interface, function, .. } = &self.spec;
        // No arguments.
        let open = trace::root(Kind::Internal, self.link.caller(), || format!("schedule {}", self.spec.name));
        let reply = spanned(open, self.link.call_once(interface, function, None, Bytes::new())).await?;
        // A `result` begins with which of the two it is.
        if self.spec.fallible && reply.first() != Some(&0) {
            return Err(NotDone::Failed("it returned an error".to_owned()));
        }
        Ok(())
    }
}
