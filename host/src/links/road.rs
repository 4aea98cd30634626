//! Calls over NATS to whichever instance of a unit is there.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::{
    bus::{Bus, within},
    model::spy::Way,
    trace::{self, Kind, spanned, under},
    wire::{
        CallError, CallHead, CallSubject, ContentType, InstanceId, Interface, UnitId,
        value::{FunctionShape, json},
    },
};
use uuid::Uuid;

use super::router::{InFlight, Router};
use crate::metrics::{Counts, Fault};

/// How long a call waits for an instance to appear when none is there: long enough to bridge a change that this host
/// has not heard of yet, short enough to be an answer. For a unit that sleeps while nobody calls it, it waits as long as it may
/// take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Added to a component's own time limit by those who call it for the lattice, so that its own answer to an overdue call
/// has a chance to arrive.
pub(super) const GRACE: Duration = Duration::from_millis(500);

/// One call, wherever it goes.
pub(crate) struct Outgoing<'c> {
    pub(crate) interface: &'c Interface,
    pub(crate) function: &'c str,
    /// In postcard.
    pub(crate) payload: Bytes,
    /// What the function takes and returns, where it is known: then it may be called in JSON, too.
    pub(crate) shape: Option<&'c FunctionShape>,
    pub(crate) until: Instant,
    pub(crate) session: Option<Uuid>,
    /// Whether it may run twice.
    pub(crate) idempotent: bool,
}

impl Outgoing<'_> {
    /// The time that is left, in whole milliseconds, as it is told.
    pub(super) fn left(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        Duration::from_millis(left.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX))
    }

    pub(super) fn head(&self, caller: &UnitId) -> CallHead {
        CallHead {
            interface: self.interface.clone(),
            function: self.function.to_owned(),
            deadline: self.left(),
            caller: Some(caller.clone()),
            content_type: ContentType::Postcard,
            traceparent: None,
            session: self.session,
        }
    }
}

/// The way from one unit to another.
pub(super) struct Road {
    pub(super) bus: Bus,
    pub(super) router: Arc<Router>,
    pub(super) caller: UnitId,
    pub(super) to: UnitId,
    counts: Arc<Counts>,
}

/// Counts one call until it is dropped.
struct Counted<'r>(&'r Counts, Instant);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.end(self.1);
    }
}

impl Road {
    pub(super) fn new(bus: Bus, router: Arc<Router>, caller: UnitId, to: UnitId) -> Self {
        let counts = router.counts(&caller, &to);
        Self { bus, router, caller, to, counts }
    }

    /// Calls the best instance; when it certainly did not begin, or may be repeated, the next one. Returns who answered.
    pub(super) async fn call(&self, call: &Outgoing<'_>) -> Result<(Bytes, InstanceId), CallError> {
        let work = pin!(self.call_best(call));
        self.sent(call, |(reply, _)| reply, work).await
    }

    /// A call that leaves the process. What makes it is pinned already: each function that is given a future as a whole has
    /// room for it twice.
    async fn sent<T>(
        &self,
        call: &Outgoing<'_>,
        reply: impl Fn(&T) -> &Bytes,
        work: Pin<&mut impl Future<Output = Result<T, CallError>>>,
    ) -> Result<T, CallError> {
        let _counted = Counted(&self.counts, self.counts.begin());
        let open = trace::call(Kind::Client, &self.caller, call.interface, call.function);
        let open = open.map(|open| open.with("lattice.to", self.to.to_string()));
        let outcome = self.shown(call, Way::Lattice, reply, spanned(open, work)).await;
        if let Err(error) = &outcome {
            self.counts.fault(Fault::of(error));
        }
        outcome
    }

    /// A call inside the process.
    pub(super) async fn made_here(
        &self,
        call: &Outgoing<'_>,
        work: impl Future<Output = Result<Bytes, CallError>>,
    ) -> Result<Bytes, CallError> {
        let open = trace::call(Kind::Server, &self.to, call.interface, call.function);
        self.shown(call, Way::Local, |reply| reply, spanned(open, work)).await
    }

    /// Shows a call to whoever looks at such.
    async fn shown<T>(
        &self,
        call: &Outgoing<'_>,
        way: Way,
        reply: impl Fn(&T) -> &Bytes,
        work: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let spy = self.router.spy();
        let watched = spy.watch(&self.caller, &self.to);
        let outcome = under(watched.as_ref().and_then(|watched| watched.place.clone()), work).await;
        if let Some(watched) = watched {
            let returned = outcome.as_ref().map(reply);
            spy.saw(watched, (&self.caller, &self.to, way), call, returned);
        }
        outcome
    }

    async fn call_best(&self, call: &Outgoing<'_>) -> Result<(Bytes, InstanceId), CallError> {
        let mut patience = call.until.min(Instant::now() + PATIENCE);
        // Whether it is a unit that sleeps, once that has been asked; it is being called until this is dropped.
        let mut waits = None;
        let mut changes = self.router.changes();
        let mut tried = Vec::new();
        // When nobody else has come, one whose host is said to be lost: who says so may be wrong, or gone.
        let mut lost = false;
        let mut last = CallError::NoInstance(self.to.to_string());
        loop {
            changes.mark_unchanged();
            let Some((instance, in_flight)) = self.router.pick(&self.to, &tried, lost) else {
                if waits.is_none() {
                    let wake = Box::pin(self.router.asleep().wake(&self.bus, &self.to));
                    let asleep = tokio::time::timeout_at(patience.into(), wake).await.ok().flatten();
                    if waits.insert(asleep).is_some() {
                        patience = call.until;
                    }
                }
                let woken = tokio::time::timeout_at(patience.into(), changes.changed()).await;
                if woken.is_err() && std::mem::replace(&mut lost, true) {
                    return Err(last);
                }
                continue;
            };
            match self.send(&instance, call, &in_flight).await {
                Ok(reply) => return Ok((reply, instance)),
                // Nothing has run: the next one may have it.
                Err(error) if error.certainly_not_started() => {
                    if matches!(error, CallError::NoInstance(_)) {
                        in_flight.was_silent();
                    }
                    tried.push(instance);
                    last = error;
                }
                Err(error @ CallError::Transport(_)) if call.idempotent && Instant::now() < call.until => {
                    tried.push(instance);
                    last = error;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Calls `instance`, and nobody else.
    pub(super) async fn call_instance(&self, instance: &InstanceId, call: &Outgoing<'_>) -> Result<Bytes, CallError> {
        let in_flight = self.router.follow(instance);
        let gone = || CallError::Gone(format!("{} on {instance}", self.to));
        if in_flight.is_lost() {
            return Err(gone());
        }
        let work = pin!(self.send(instance, call, &in_flight));
        match self.sent(call, |reply| reply, work).await {
            Err(CallError::NoInstance(_)) => Err(gone()),
            outcome => outcome,
        }
    }

    async fn send(&self, instance: &InstanceId, call: &Outgoing<'_>, in_flight: &InFlight) -> Result<Bytes, CallError> {
        let subject = CallSubject {
            lattice: self.bus.lattice().clone(),
            unit: self.to.clone(),
            instance: instance.clone(),
            interface: call.interface.clone(),
        };
        let (payload, json) = if in_flight.json_only() {
            let unknown = || CallError::NotServed(format!("{}: {} speaks JSON alone", call.interface, self.to));
            let shape = call.shape.ok_or_else(unknown)?;
            let left = call.left();
            // Few calls go this way, and it takes much room.
            let exchange = self.bus.exchange();
            let arguments = Box::pin(exchange.arguments_in_json(shape, &call.payload));
            let payload = within(left, arguments).await;
            (payload.unwrap_or(Err(CallError::Deadline(left)))?, Some(shape))
        } else {
            (call.payload.clone(), None)
        };
        let mut head = call.head(&self.caller);
        if json.is_some() {
            head.content_type = ContentType::Json;
        }
        let called = pin!(async {
            match in_flight.in_company() {
                true => self.bus.call_together(&subject, &head, payload).await,
                false => self.bus.call(&subject, &head, payload).await,
            }
        });
        let reply = tokio::select! {
            biased;
            reply = called => reply?,
            // Dropped, the call is withdrawn, should there be anybody to hear it.
            () = in_flight.lost() => return Err(CallError::Transport(format!("the host of {} is lost", self.to))),
        };
        match json {
            Some(shape) => {
                // It has run: this is no message that was refused.
                let wrong =
                    |error| CallError::Transport(format!("{} has answered with a wrong value: {error}", self.to));
                Ok(json::result_from_json(shape.result.as_ref(), &reply).map_err(wrong)?.into())
            }
            None => Ok(reply),
        }
    }
}
