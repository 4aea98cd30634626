//! The way of a call by the clock to a component.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{bus::Bus, model::schedule::ScheduleSpec, wire::UnitId};
use lattice_provider::schedule::Scheduled;

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
    async fn run(&self) -> Result<(), String> {
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
        let (reply, _) = self.link.call(call, None).await.map_err(|error| error.to_string())?;
        // A `result` begins with which of the two it is.
        if self.spec.fallible && reply.first() != Some(&0) { Err("it returned an error".to_owned()) } else { Ok(()) }
    }
}
