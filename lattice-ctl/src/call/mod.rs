//! `call`: one call of anything that the lattice runs, with JSON for arguments and result.

mod arguments;
mod failure;
mod function;
mod instances;
mod known;
mod result;
mod typed;

use std::time::Duration;

use bytes::Bytes;
use lattice::{
    bus::Bus,
    wire::{CallError, CallHead, CallSubject, ContentType, InstanceId, Interface},
};
use lattice_view::world::World;
use tokio::time::Instant;

pub(crate) use self::{failure::CallFailure, function::FunctionName};
use self::{
    failure::FailedCall,
    instances::{Candidate, candidates},
    known::Known,
    typed::Typed,
};
use crate::{
    cli::{CallArgs, Global},
    failure::Result,
    output::Output,
};

pub(crate) async fn run(global: &Global, args: &CallArgs, output: &mut Output) -> Result<()> {
    // Before anything is connected to: what is wrong with them can be told without a lattice.
    let payload = arguments::read(&args.arguments)?;
    let bus = global.connect().await?;
    let reply = call(&bus, args, payload).await?;
    result::print(&reply, args, output)
}

/// The reply's payload.
async fn call(bus: &Bus, args: &CallArgs, payload: Bytes) -> Result<Bytes> {
    let world = World::read(bus).await?;
    let record = &world.app(args.unit.app.as_str(), bus.lattice())?.value;
    let unit = record.units.get(&args.unit.unit).ok_or_else(|| CallFailure::NoUnit {
        unit: args.unit.clone(),
        known: record.units.keys().map(ToString::to_string).collect(),
    })?;
    let candidates = candidates(&world, record, args)?;
    let typed = Typed::find(bus, &unit.spec, &candidates, &args.function.function).await;
    let interface = candidates.first().map_or(&args.function.interface, |candidate| &candidate.interface);
    // What types are known of is told before anything runs: a program may not look at them.
    let outcome = match typed.check_arguments(&payload) {
        Ok(()) => send(bus, args, &candidates, payload).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(reply) => typed.result(&args.unit, reply),
        Err(error) => {
            let known = Known::find(bus, &unit.spec, interface, &error).await;
            let (unit, function) = (args.unit.clone(), args.function.function.clone());
            let failed = FailedCall { unit, interface: interface.clone(), function, error, known };
            Err(CallFailure::Failed(Box::new(failed)).into())
        }
    }
}

/// Asks one candidate after the other, as long as none has begun.
async fn send(
    bus: &Bus,
    args: &CallArgs,
    candidates: &[Candidate],
    payload: Bytes,
) -> std::result::Result<Bytes, CallError> {
    let start = Instant::now();
    let mut outcome = Err(CallError::NoInstance(args.unit.to_string()));
    for candidate in candidates {
        let left = args.deadline.saturating_sub(start.elapsed());
        if left.is_zero() {
            outcome = Err(CallError::Deadline(args.deadline));
            break;
        }
        let Candidate { instance, interface } = candidate;
        outcome = ask(bus, args, instance, interface, payload.clone(), left).await.map_err(|error| match error {
            // The time that was asked for, not what finding the instance has left of it.
            CallError::Deadline(after) if after.as_millis() == left.as_millis() => CallError::Deadline(args.deadline),
            error => error,
        });
        // Another one is asked only when this one certainly did not begin.
        if !outcome.as_ref().is_err_and(CallError::certainly_not_started) {
            break;
        }
    }
    outcome
}

async fn ask(
    bus: &Bus,
    args: &CallArgs,
    instance: &InstanceId,
    interface: &Interface,
    payload: Bytes,
    deadline: Duration,
) -> std::result::Result<Bytes, CallError> {
    let subject = CallSubject {
        lattice: bus.lattice().clone(),
        unit: args.unit.clone(),
        instance: instance.clone(),
        interface: interface.clone(),
    };
    let head = CallHead {
        interface: interface.clone(),
        function: args.function.function.clone(),
        deadline,
        caller: None,
        content_type: ContentType::Json,
        traceparent: None,
        session: None,
    };
    bus.call(&subject, &head, payload).await
}

#[cfg(test)]
mod tests;
