//! Calling functions in an instance beside others.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use lattice::{bus::within, wire::CallError};
use tokio::sync::oneshot::{self, error::TryRecvError};
use wasmtime::{
    AsContextMut,
    component::{Accessor, Instance, ResourceAny},
};

use super::{
    super::{
        component::{LoadedComponent, Permit},
        exports::ExportedFunction,
        functions::{Answer, FunctionCall},
        guest::Guest,
        lens::{Intake, Place},
        streams,
    },
    Call, Door, Instances, Live, Ticket, enter, settle,
};

/// A call of a function, for an instance.
pub(super) struct FunctionWork {
    function: Arc<ExportedFunction>,
    intake: Intake,
    deadline: Instant,
    allowed: Duration,
    /// Kept for as long as the guest is at it, whether or not somebody waits.
    permit: Arc<Permit>,
    answer: oneshot::Sender<Answer>,
}

/// The place of a call, kept for as long as any of its streams is open.
struct StreamPlace {
    _permit: Arc<Permit>,
    door: Arc<Door>,
}

impl StreamPlace {
    fn new(permit: Arc<Permit>, door: Arc<Door>) -> Arc<Self> {
        door.streams.fetch_add(1, Ordering::AcqRel);
        Arc::new(Self { _permit: permit, door })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.door.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Resources of an instance whose holder has done with them.
pub(super) struct DropCall {
    pub(super) resources: Vec<ResourceAny>,
    pub(super) allowed: Duration,
    pub(super) done: oneshot::Sender<()>,
}

/// Calls a function in an instance of `home`.
pub(in super::super) async fn call(
    component: &Arc<LoadedComponent>,
    home: &Arc<Instances>,
    call: FunctionCall,
) -> Result<Answer, CallError> {
    let FunctionCall { function, mut intake, allowed, permit } = call;
    let permit = Arc::new(permit);
    let (ticket, live) = enter(component, home, Some(permit.clone()), allowed).await?;
    let (door, deadline) = (ticket.door.clone(), ticket.deadline);
    intake.place = function.has_streams.then(|| StreamPlace::new(permit.clone(), door.clone()) as Place);
    let (answer, outcome) = oneshot::channel();
    let work = FunctionWork { function: function.clone(), intake, deadline, allowed, permit, answer };
    door.send(Call::Function(work));
    let outcome = outcome_of(ticket, home, live, outcome).await;
    outcome.or_else(|error| {
        let exited = door.exit().and_then(|code| function.exited(code));
        exited.map(|lifted| Answer { bytes: lifted.bytes, sources: Vec::new() }).ok_or(error)
    })
}

/// Runs the destructors of resources, in the instance of a session.
pub(in super::super) async fn drop_resources(
    component: &Arc<LoadedComponent>,
    home: &Arc<Instances>,
    resources: Vec<ResourceAny>,
    allowed: Duration,
) -> Result<(), CallError> {
    let (ticket, live) = enter(component, home, None, allowed).await?;
    let (done, outcome) = oneshot::channel();
    ticket.door.send(Call::Drop(DropCall { resources, allowed, done }));
    outcome_of(ticket, home, live, outcome).await
}

/// What an instance says to a call. Whoever was given it lets it work.
async fn outcome_of<O>(
    ticket: Ticket,
    home: &Arc<Instances>,
    live: Option<Live>,
    mut outcome: oneshot::Receiver<O>,
) -> Result<O, CallError> {
    let component = ticket.component.clone();
    if let Some(mut live) = live {
        let ended = live.drive().is_ready();
        match outcome.try_recv() {
            Ok(outcome) => {
                ticket.end();
                settle(component, home, live, ended);
                return Ok(outcome);
            }
            Err(TryRecvError::Closed) => {
                settle(component, home, live, ended);
                return Err(ticket.door.ended().await);
            }
            Err(TryRecvError::Empty) => settle(component, home, live, ended),
        }
    }
    let left = ticket.deadline.saturating_duration_since(Instant::now());
    match within(left, outcome).await {
        Some(Ok(outcome)) => {
            ticket.end();
            Ok(outcome)
        }
        Some(Err(_)) => Err(ticket.door.ended().await),
        None => Err(CallError::Deadline(ticket.allowed)),
    }
}

impl FunctionWork {
    /// Calls it. An error is a trap, and ends the instance.
    pub(super) async fn run(self, accessor: &Accessor<Guest>, instance: &Instance) -> wasmtime::Result<()> {
        let Self { function, intake, deadline, allowed, permit: _permit, answer } = self;
        accessor.with(|mut access| Guest::join(access.as_context_mut(), deadline, allowed));
        let (held, place) = (intake.held.clone(), intake.place.clone());
        let lifted = function.call_concurrent(accessor, instance, intake).await?;
        let sources = accessor.with(|access| streams::pipe(access, lifted.flows, place.as_ref()))?;
        if let Some(held) = held {
            held.keep(lifted.given);
        }
        // Nobody waits for it when the caller has given up.
        drop(answer.send(Answer { bytes: lifted.bytes, sources }));
        Ok(())
    }
}
