//! A component that answers calls of its own interfaces, from this host or another one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{CallHandler, Exchange, HandedOut, Taker, within},
    wire::{
        CallError, CallHead, ContentType, Interface, SESSION_INTERFACE,
        value::{ValueError, json},
    },
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use wasmtime::component::{Component, ResourceAny};

use super::{
    component::{LoadedComponent, Permit},
    exports::{ExportedFunction, Exports},
    guest::Guest,
    lens::{Held, HeldResource, Intake, Lifted, UnknownResource},
    session::{Live, MAX_RESOURCES, Session, Sessions},
    streams::{self, Sources},
};

/// The functions of a component, ready for calls.
pub struct LoadedFunctions(Arc<Functions>);

impl LoadedFunctions {
    /// `exchange`: where the streams of its calls are offered and taken.
    pub fn new(loaded: Arc<LoadedComponent>, component: &Component, exchange: Exchange) -> Self {
        let exports = Exports::of(component, loaded.concurrent);
        Self(Arc::new(Functions {
            component: loaded,
            exports,
            sessions: Arc::default(),
            exchange,
            draining: AtomicBool::new(false),
        }))
    }

    /// What can be called.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.0.exports.interfaces()
    }

    /// Begins nothing new, and waits for those who hold resources here to be done with them. At `until` they have had
    /// their time: what they hold is freed.
    pub async fn drain(&self, until: Instant) {
        self.0.draining.store(true, Ordering::Release);
        while self.0.sessions.count() > 0 && Instant::now() < until {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
        self.0.sessions.end_all();
    }
}

/// How often it is looked whether the last session has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

#[async_trait]
impl CallHandler for LoadedFunctions {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        let functions = self.0.clone();
        if !functions.component.concurrent {
            return functions.call(head, payload).await;
        }
        // The event loop of the engine for WASI 0.3 does not nest: a caller of the same engine would be inside its own.
        let task = tokio::spawn(async move { functions.call(head, payload).await });
        let ended = AbortOnDropHandle::new(task).await;
        ended.unwrap_or_else(|error| Err(CallError::Trap(error.to_string())))
    }
}

struct Functions {
    component: Arc<LoadedComponent>,
    exports: Exports,
    sessions: Arc<Sessions>,
    exchange: Exchange,
    /// Only sessions that there are may go on.
    draining: AtomicBool,
}

/// What a call has returned, and its streams.
struct Answer {
    bytes: Vec<u8>,
    sources: Sources,
}

/// What a function is called with.
struct Arguments<'a> {
    bytes: &'a [u8],
    /// Where its streams are taken from, when it may have some.
    streams: Option<Taker>,
    deadline: Duration,
    permit: Permit,
}

impl Functions {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.interface.unversioned() == SESSION_INTERFACE {
            return self.control(&head, &payload).await;
        }
        let function = self.exports.find(&head.interface, &head.function)?;
        let bytes = match head.content_type {
            ContentType::Postcard => payload,
            ContentType::Json => json::arguments_from_json(&function.shape, &payload)?.into(),
        };
        let deadline = head.deadline.min(self.component.timeout());
        let streams = match function.shape.has_streams() {
            true => Some(self.exchange.taker().await?),
            false => None,
        };
        let arguments =
            Arguments { bytes: &bytes, streams: streams.clone(), deadline, permit: self.component.permit()? };
        let session = head.session.and_then(|id| Some((id, self.sessions.find(&id)?)));
        if session.is_none() && self.draining.load(Ordering::Acquire) {
            return Err(CallError::NoInstance(self.component.unit().to_string()));
        }
        let outcome = match session {
            Some((id, session)) => self.call_session(id, &session, function, arguments).await,
            None if function.shape.takes_handles() && !function.shape.scan_arguments(&bytes)?.handles.is_empty() => {
                Err(self.gone())
            }
            None => self.call_fresh(function, arguments, head.session).await,
        };
        let Answer { mut bytes, sources } = outcome.inspect_err(|error| {
            if matches!(error, CallError::Trap(_) | CallError::Deadline(_)) {
                self.component.record(error);
            }
        })?;
        let offers = streams::hand_out(&self.exchange, &mut bytes, sources).await?;
        offers.into_iter().for_each(HandedOut::leave);
        match (head.content_type, streams) {
            (ContentType::Postcard, _) => Ok(bytes.into()),
            // In JSON a stream is all that it carries.
            (ContentType::Json, Some(streams)) => {
                let tickets = function.shape.scan_result(&bytes)?.tickets;
                let gathered = within(deadline, streams.gather(&bytes, &tickets)).await;
                let gathered = gathered.unwrap_or(Err(CallError::Deadline(deadline)))?;
                Ok(json::result_to_json(function.shape.result.as_ref(), &gathered)?.into())
            }
            (ContentType::Json, None) => Ok(json::result_to_json(function.shape.result.as_ref(), &bytes)?.into()),
        }
    }

    /// A call in an instance of its own, which is kept when the caller now holds resources of it.
    async fn call_fresh(
        &self,
        function: &ExportedFunction,
        arguments: Arguments<'_>,
        session: Option<Uuid>,
    ) -> Result<Answer, CallError> {
        let Arguments { bytes, streams, deadline, permit } = arguments;
        let mut live = self.component.live(deadline).await?;
        let (answer, given) = self.run(&mut live, function, bytes, streams.as_ref()).await?;
        let goes_on = streams.is_some() || live.goes_on();
        let component = self.component.clone();
        if !given {
            if goes_on {
                tokio::spawn(async move {
                    live.go_on(&component, std::future::pending()).await;
                    drop(permit);
                });
            }
            return Ok(answer);
        }
        let Some(session) = session else {
            return Err(CallError::BadMessage("the answer has resources, and the caller has no session".into()));
        };
        let session = self.sessions.begin(session, live)?;
        if goes_on {
            tokio::spawn(async move { session.attend(&component).await });
        }
        Ok(answer)
    }

    /// A call in the instance that holds the caller's resources.
    async fn call_session(
        &self,
        id: Uuid,
        session: &Arc<Session>,
        function: &ExportedFunction,
        arguments: Arguments<'_>,
    ) -> Result<Answer, CallError> {
        let Arguments { bytes, streams, deadline, permit: _permit } = arguments;
        // Before the instance is touched: a message that is wrong must not cost the caller what it holds.
        let numbers = function.shape.scan_arguments(bytes)?.handles;
        let mut place = session.lock().await;
        let Some(mut live) = place.take() else { return Err(self.gone()) };
        if let Some(unknown) = numbers.iter().find(|number| !live.held.0.contains_key(number)) {
            let error = CallError::Gone(format!("{} has no resource {unknown}", self.component.unit()));
            *place = Some(live);
            return Err(error);
        }
        Guest::begin(&mut live.store, deadline);
        // While it runs it is not in its place: a call that is given up leaves an instance in the middle of something.
        let (answer, _) = self.run(&mut live, function, bytes, streams.as_ref()).await?;
        let (done, goes_on) = (live.held.0.is_empty(), streams.is_some() || live.goes_on());
        *place = Some(live);
        drop(place);
        if done {
            self.sessions.end(&id);
        }
        if goes_on {
            let (session, component) = (session.clone(), self.component.clone());
            tokio::spawn(async move { session.attend(&component).await });
        }
        Ok(answer)
    }

    /// Calls `function` in an instance, which keeps what it gives away; whether it gave any resource.
    async fn run(
        &self,
        live: &mut Live,
        function: &ExportedFunction,
        bytes: &[u8],
        streams: Option<&Taker>,
    ) -> Result<(Answer, bool), CallError> {
        let Live { store, instance, held } = live;
        let lifted = function.call(store, instance, bytes, Intake { held, streams }).await;
        let Lifted { bytes, given, flows, .. } = lifted.map_err(|error| self.explain(live, &error))?;
        let sources = streams::pipe(&mut live.store, flows).map_err(|error| self.explain(live, &error))?;
        live.held.0.retain(|_, held| !held.spent.load(Ordering::Relaxed));
        let gave = !given.is_empty();
        keep(&mut live.held, given)?;
        Ok((Answer { bytes, sources }, gave))
    }

    /// What holders of resources say: that they are there, or that they are done.
    async fn control(&self, head: &CallHead, payload: &[u8]) -> Result<Bytes, CallError> {
        let Some(id) = head.session else {
            return Err(CallError::BadMessage("a call about a session, without one".into()));
        };
        let session = self.sessions.find(&id).ok_or_else(|| self.gone())?;
        match head.function.as_str() {
            "renew" => {}
            "end" => self.sessions.end(&id),
            "drop" => {
                let numbers: Vec<u32> = lattice::wire::decode::<(Vec<u32>,)>(head.content_type, payload)?.0;
                if self.drop_resources(&session, &numbers, head.deadline).await {
                    self.sessions.end(&id);
                }
            }
            other => return Err(CallError::NotServed(format!("{}#{other}", head.interface))),
        }
        Ok(Bytes::new())
    }

    /// Runs the destructors; whether nothing is left to keep the instance for.
    async fn drop_resources(&self, session: &Session, numbers: &[u32], deadline: Duration) -> bool {
        let mut place = session.lock().await;
        let Some(mut live) = place.take() else { return true };
        Guest::begin(&mut live.store, deadline.min(self.component.timeout()));
        for number in numbers {
            let Some(held) = live.held.0.remove(number) else { continue };
            if let Err(error) = held.resource.resource_drop_async(&mut live.store).await {
                self.component.record(&self.explain(&live, &error));
                return true;
            }
        }
        let done = live.held.0.is_empty();
        *place = Some(live);
        done
    }

    fn gone(&self) -> CallError {
        CallError::Gone(format!("{}: its session has ended", self.component.unit()))
    }

    fn explain(&self, live: &Live, error: &wasmtime::Error) -> CallError {
        if let Some(error) = error.downcast_ref::<ValueError>() {
            return CallError::BadMessage(error.to_string());
        }
        match error.downcast_ref::<UnknownResource>() {
            Some(error) => CallError::Gone(format!("{}: {error}", self.component.unit())),
            None => self.component.explain(&live.store, error),
        }
    }
}

/// Takes what the instance gave away into its keeping.
fn keep(held: &mut Held, given: Vec<(u32, ResourceAny)>) -> Result<(), CallError> {
    for (number, resource) in given {
        held.0.insert(number, HeldResource { resource, spent: false.into() });
    }
    if held.0.len() > MAX_RESOURCES {
        return Err(CallError::Overloaded(format!("a session with {MAX_RESOURCES} resources")));
    }
    Ok(())
}
