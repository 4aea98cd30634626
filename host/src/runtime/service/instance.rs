//! One instance of a component that answers by `wasi:http/handler@0.3`, and the calls that it works on.
//!
//! The instance is a future: the event loop of its store, which takes calls from an inbox. Whoever holds it polls it.
//! What others must know of it is in its [`Door`].

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered, task::AtomicWaker};
use http::{Request, Response};
use lattice::wire::CallError;
use lattice_provider::http::Body;
use tokio::sync::{mpsc, oneshot};
use wasmtime::{AsContextMut, component::Accessor};
use wasmtime_wasi_http::{
    FieldMap, WasiBody, WasiHttpView as _,
    p3::{self, bindings::Service, bindings::http::types::ErrorCode},
};

use super::super::{
    component::LoadedComponent,
    guest::{Guest, GuestStore},
    http::GuestInput,
};

/// The most calls that one instance has at a time.
pub(super) const AT_ONCE: u32 = 16;

/// How often an instance that has more to do at once is polled before it gets a task of its own.
const TURNS: usize = 64;

pub(super) type Outcome = Result<Response<WasiBody>, ErrorCode>;

/// One request for an instance.
pub(super) struct Call {
    pub(super) request: Request<Body>,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// What is known of an instance outside of it.
pub(super) struct Door {
    inbox: mpsc::Sender<Call>,
    /// Calls that were let in and have not ended.
    pub(super) live: AtomicU32,
    /// Calls that it may still take in its life.
    left: AtomicU32,
    /// It must take no more calls: it failed, or somebody gave up on a call of it, which cannot be ended otherwise.
    pub(super) doomed: AtomicBool,
    /// The guest has nothing to do; as of its last turn.
    idle: AtomicBool,
    /// Somebody polls it now: if it computes, a call would wait for it.
    polled: AtomicBool,
    /// Why it ended. Set before its store goes, so that a body that breaks off with it is not taken for whole.
    failure: OnceLock<CallError>,
    /// Wakes the task that the instance has, if it has one.
    pub(super) task: AtomicWaker,
}

impl Door {
    pub(super) fn failure(&self) -> Option<CallError> {
        self.failure.get().cloned()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire) && self.live.load(Ordering::Acquire) == 0
    }

    /// Whether it will take another call at some time.
    pub(super) fn is_open(&self) -> bool {
        !self.doomed.load(Ordering::Acquire) && self.left.load(Ordering::Acquire) > 0
    }

    /// Lets one more call in, unless it has enough or is busy computing. Only under the lock of the instances.
    pub(super) fn admit(&self) -> bool {
        let free =
            self.is_open() && self.live.load(Ordering::Acquire) < AT_ONCE && !self.polled.load(Ordering::Acquire);
        if free {
            self.left.fetch_sub(1, Ordering::AcqRel);
            self.live.fetch_add(1, Ordering::AcqRel);
        }
        free
    }

    /// Hands over a call that was let in. It fails only when the instance has ended meanwhile.
    pub(super) fn send(&self, call: Call) {
        // Those that were let in are never more than the inbox holds; one that is refused is dropped, and the caller
        // sees that by its answer's channel.
        drop(self.inbox.try_send(call));
    }
}

/// An instance that waits to be polled.
pub(super) struct Live {
    pub(super) door: Arc<Door>,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
    turn: Arc<Turn>,
}

/// Remembers that the instance can go on at once.
struct Turn(AtomicBool);

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Live {
    /// A fresh instance.
    pub(super) async fn new(component: &Arc<LoadedComponent>) -> Result<Self, CallError> {
        let pre = component
            .service()
            .ok_or_else(|| CallError::NotServed(format!("{} answers no HTTP requests", component.unit())))?;
        let mut store = component.blueprint.store()?;
        Guest::begin(&mut store, component.timeout);
        let service = pre.instantiate_async(&mut store).await.map_err(|error| component.explain(&store, &error))?;
        let (inbox, calls) = mpsc::channel(AT_ONCE as usize);
        let door = Arc::new(Door {
            inbox,
            live: AtomicU32::new(0),
            left: AtomicU32::new(component.reuse),
            doomed: AtomicBool::new(false),
            idle: AtomicBool::new(true),
            polled: AtomicBool::new(false),
            failure: OnceLock::new(),
            task: AtomicWaker::new(),
        });
        let work = Box::pin(work(Arc::downgrade(component), store, service, calls, door.clone()));
        Ok(Self { door, work, turn: Arc::new(Turn(AtomicBool::new(false))) })
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.door.polled.store(true, Ordering::Release);
        let ended = self.work.as_mut().poll(cx);
        self.door.polled.store(false, Ordering::Release);
        ended
    }

    /// Lets it work for as long as it need not wait. Ready when it has ended.
    pub(super) fn drive(&mut self) -> Poll<()> {
        let waker = Waker::from(self.turn.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..TURNS {
            self.turn.0.store(false, Ordering::Release);
            if self.poll(&mut cx).is_ready() {
                return Poll::Ready(());
            }
            if !self.turn.0.load(Ordering::Acquire) {
                break;
            }
        }
        Poll::Pending
    }
}

/// The life of an instance: it ends only by a failure. When it is dropped, so are its calls.
async fn work(
    // Not kept alive: its idle instances belong to it.
    component: Weak<LoadedComponent>,
    mut store: GuestStore,
    service: Service,
    mut inbox: mpsc::Receiver<Call>,
    door: Arc<Door>,
) {
    let shared = door.clone();
    let ended = store
        .run_concurrent(async move |accessor| {
            let mut calls = FuturesUnordered::new();
            let service = &service;
            poll_fn(|cx| {
                loop {
                    if let Poll::Ready(Some(call)) = inbox.poll_recv(cx) {
                        calls.push(answer(accessor, service, call));
                        continue;
                    }
                    match calls.poll_next_unpin(cx) {
                        Poll::Ready(Some(Ok(()))) => {}
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(error),
                        Poll::Ready(None) | Poll::Pending => break,
                    }
                }
                let idle = calls.is_empty() && accessor.poll_no_interesting_tasks(cx).is_ready();
                shared.idle.store(idle, Ordering::Release);
                Poll::Pending
            })
            .await
        })
        .await;
    let error = match ended {
        Ok(error) | Err(error) => error,
    };
    door.doomed.store(true, Ordering::Release);
    // Whoever waits for an answer has the component.
    if let Some(component) = component.upgrade() {
        drop(door.failure.set(component.explain(&store, &error)));
    }
}

/// One call, until its response's head is there. The body follows by itself. An error is a trap, and ends the instance.
async fn answer(accessor: &Accessor<Guest>, service: &Service, call: Call) -> wasmtime::Result<()> {
    let (parts, body) = call.request.into_parts();
    let headers = accessor.with(|mut access| {
        Guest::begin_until(access.as_context_mut(), call.deadline);
        FieldMap::new_immutable(access.get().http().hooks, parts.headers)
    });
    let uri = parts.uri.into_parts();
    let (request, sent) =
        p3::Request::new(parts.method, uri.scheme, uri.authority, uri.path_and_query, headers, None, GuestInput(body));
    let outcome = match service.handle(accessor, request).await? {
        Ok(response) => Ok(accessor.with(|access| response.into_http(access, sent))?),
        Err(code) => Err(code),
    };
    // Nobody waits for it when the caller has given up.
    drop(call.answer.send(outcome));
    Ok(())
}

/// Bytes as the guest's response carries them.
pub(super) type Frame = http_body::Frame<Bytes>;
