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
    bus::{CallHandler, Exchange, HandedOut, within},
    trace::{self, under},
    wire::{
        CallError, CallHead, ContentType, Interface, SESSION_INTERFACE,
        value::{FunctionShape, json},
    },
};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;
use wasmtime::component::Component;

use super::{
    component::{LoadedComponent, Permit},
    concurrent,
    exports::{ExportedFunction, Exports},
    lens::Intake,
    session::{Session, Sessions},
    streams::{self, Sources},
    watcher::{self, WatcherExport},
};

/// The functions of a component, ready for calls.
pub struct LoadedFunctions(Arc<Functions>);

impl LoadedFunctions {
    /// `exchange`: where the streams of its calls are offered and taken.
    pub fn new(loaded: Arc<LoadedComponent>, component: &Component, exchange: Exchange) -> Self {
        let exports = Exports::of(component, loaded.concurrent);
        Self(Arc::new(Functions {
            watcher: WatcherExport::of(&loaded.blueprint.pre),
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

    /// What a function takes and returns, where it is there.
    pub fn shape(&self, interface: &Interface, function: &str) -> Option<FunctionShape> {
        Some(self.0.exports.find(interface, function).ok()?.shape.clone())
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
        if !(functions.component.concurrent && concurrent::is_inside()) {
            return functions.call(head, payload).await;
        }
        // The caller is of the same engine, and so inside its own event loop: these do not nest.
        let task = tokio::spawn(under(trace::place(), async move { functions.call(head, payload).await }));
        let ended = AbortOnDropHandle::new(task).await;
        ended.unwrap_or_else(|error| Err(CallError::Trap(error.to_string())))
    }
}

struct Functions {
    component: Arc<LoadedComponent>,
    exports: Exports,
    watcher: Option<WatcherExport>,
    sessions: Arc<Sessions>,
    exchange: Exchange,
    /// Only sessions that there are may go on.
    draining: AtomicBool,
}

/// Resources that one session may give away at the most.
const MAX_RESOURCES: usize = 10_000;

/// Whether nothing of a session is held any more.
fn is_done(session: &Session) -> Result<bool, CallError> {
    match session.held.len() {
        0 => Ok(true),
        1..=MAX_RESOURCES => Ok(false),
        _ => Err(CallError::Overloaded(format!("a session with {MAX_RESOURCES} resources"))),
    }
}

/// One call of a function.
pub(super) struct FunctionCall {
    pub(super) function: Arc<ExportedFunction>,
    pub(super) intake: Intake,
    /// How long it may take.
    pub(super) allowed: Duration,
    pub(super) permit: Permit,
}

/// What a call has returned, and its streams.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) sources: Sources,
}

impl Functions {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.interface.unversioned() == SESSION_INTERFACE {
            return Box::pin(self.control(&head, &payload)).await;
        }
        if let Some(watcher) = self.watcher.as_ref().filter(|_| watcher::is_told(&head)) {
            let told = Box::pin(watcher.tell(&self.component, &head, &payload)).await;
            return told.inspect_err(|error| self.record(error));
        }
        let function = self.exports.find(&head.interface, &head.function)?;
        let bytes = match head.content_type {
            ContentType::Postcard => payload,
            ContentType::Json => json::arguments_from_json(&function.shape, &payload)?.into(),
        };
        let allowed = head.deadline.min(self.component.timeout());
        let streams = match function.has_streams {
            true => Some(self.exchange.taker().await?),
            false => None,
        };
        let intake = Intake { bytes, streams: streams.clone(), ..Intake::default() };
        let call = FunctionCall { function: function.clone(), intake, allowed, permit: self.component.permit()? };
        let Answer { mut bytes, sources } =
            self.answer(head.session, call).await.inspect_err(|error| self.record(error))?;
        let offers = streams::hand_out(&self.exchange, &mut bytes, sources).await?;
        offers.into_iter().for_each(HandedOut::leave);
        match (head.content_type, streams) {
            (ContentType::Postcard, _) => Ok(bytes.into()),
            // In JSON a stream is all that it carries.
            (ContentType::Json, Some(streams)) => {
                let tickets = function.shape.scan_result(&bytes)?.tickets;
                let gathered = within(allowed, streams.gather(&bytes, &tickets)).await;
                let gathered = gathered.unwrap_or(Err(CallError::Deadline(allowed)))?;
                Ok(json::result_to_json(function.shape.result.as_ref(), &gathered)?.into())
            }
            (ContentType::Json, None) => Ok(json::result_to_json(function.shape.result.as_ref(), &bytes)?.into()),
        }
    }

    /// Counts what is the component's own fault.
    fn record(&self, error: &CallError) {
        if matches!(error, CallError::Trap(_) | CallError::Deadline(_)) {
            self.component.record(error);
        }
    }

    /// Makes a call in the instance that it is for.
    async fn answer(&self, session: Option<Uuid>, call: FunctionCall) -> Result<Answer, CallError> {
        let component = &self.component;
        let known = session.and_then(|id| Some((id, self.sessions.find(&id)?)));
        if known.is_none() && self.draining.load(Ordering::Acquire) {
            return Err(CallError::NoInstance(component.unit().to_string()));
        }
        // Before any instance is touched: a message that is wrong must not cost others what is in there.
        let shared = known.is_some() || (component.concurrent && component.reuse > 1);
        let numbers = match call.function.takes_resources || shared {
            true => call.function.shape.scan_arguments(&call.intake.bytes)?.handles,
            false => Vec::new(),
        };
        let Some((id, session)) = known else {
            return match (numbers.is_empty(), call.function.gives_resources) {
                (false, _) => Err(component.session_ended()),
                // Ways that need much room have a place of their own: most calls go the last one.
                (true, true) => Box::pin(self.answer_first(session, call)).await,
                (true, false) if component.concurrent => {
                    Box::pin(concurrent::call(component, &component.instances, call)).await
                }
                (true, false) => component.call_plain(call).await,
            };
        };
        if let Some(unknown) = numbers.iter().find(|number| !session.held.has(**number)) {
            return Err(CallError::Gone(format!("{} has no resource {unknown}", component.unit())));
        }
        let answer = Box::pin(session.call(component, call)).await?;
        self.settle(&id, &session)?;
        Ok(answer)
    }

    /// A call that may give resources away: its instance is then kept for the caller.
    async fn answer_first(&self, id: Option<Uuid>, call: FunctionCall) -> Result<Answer, CallError> {
        let session = Session::begin(&self.component, call.allowed).await?;
        let answer = session.call(&self.component, call).await?;
        if !is_done(&session)? {
            let Some(id) = id else {
                return Err(CallError::BadMessage("the answer has resources, and the caller has no session".into()));
            };
            self.sessions.keep(id, session)?;
        }
        Ok(answer)
    }

    /// Ends a session that is not needed any more, or that has got out of hand.
    fn settle(&self, id: &Uuid, session: &Session) -> Result<(), CallError> {
        let done = is_done(session);
        if !matches!(done, Ok(false)) {
            self.sessions.end(id);
        }
        done.map(|_| ())
    }

    /// What holders of resources say: that they are there, or that they are done.
    async fn control(&self, head: &CallHead, payload: &[u8]) -> Result<Bytes, CallError> {
        let Some(id) = head.session else {
            return Err(CallError::BadMessage("a call about a session, without one".into()));
        };
        let session = self.sessions.find(&id).ok_or_else(|| self.component.session_ended())?;
        match head.function.as_str() {
            "renew" => {}
            "end" => self.sessions.end(&id),
            "drop" => {
                let numbers: Vec<u32> = lattice::wire::decode::<(Vec<u32>,)>(head.content_type, payload)?.0;
                let allowed = head.deadline.min(self.component.timeout());
                if let Err(error) = session.drop_resources(&self.component, &numbers, allowed).await {
                    self.component.record(&error);
                    self.sessions.end(&id);
                }
                self.settle(&id, &session)?;
            }
            other => return Err(CallError::NotServed(format!("{}#{other}", head.interface))),
        }
        Ok(Bytes::new())
    }
}
