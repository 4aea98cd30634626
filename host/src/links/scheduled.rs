//! The way of a call by the clock to a component.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::schedule::ScheduleSpec,
    wire::{CallError, UnitId},
};
use lattice_provider::schedule::{Scheduled, ScheduledError};

use super::{
    function::FunctionLink,
    road::{GRACE, Outgoing, Road},
    router::Router,
};

/// From a schedule of `caller` to the component that it calls.
pub(crate) fn scheduled(bus: &Bus, router: &Arc<Router>, caller: &UnitId, spec: &ScheduleSpec) -> Arc<dyn Scheduled> {
    let road = Road { bus: bus.clone(), router: router.clone(), caller: caller.clone(), to: spec.to.clone() };
    let link = FunctionLink::to_unit(road, Duration::from_millis(spec.timeout_ms) + GRACE);
    Arc::new(ScheduledCall { link, spec: spec.clone() })
}

struct ScheduledCall {
    link: FunctionLink,
    spec: ScheduleSpec,
}

#[async_trait]
impl Scheduled for ScheduledCall {
    async fn run(&self) -> Result<(), ScheduledError> {
        let call = Outgoing {
            interface: &self.spec.interface,
            function: &self.spec.function,
            // No arguments.
            payload: Bytes::new(),
            shape: None,
            until: Instant::now() + self.link.deadline(),
            session: None,
            idempotent: false,
        };
        let failed = |error: CallError| match error.certainly_not_started() {
            true => ScheduledError::NotBegun(error.to_string()),
            false => ScheduledError::Failed(error.to_string()),
        };
        let (reply, _) = self.link.call(call, None).await.map_err(failed)?;
        // A `result` begins with which of the two it is.
        if self.spec.fallible && reply.first() != Some(&0) {
            return Err(ScheduledError::Failed("it returned an error".to_owned()));
        }
        Ok(())
    }
}
