//! One instance, and the calls that it works on.
//!
//! The instance is a future: the event loop of its store, which takes calls from an inbox. Whoever holds it polls it.
//! What others must know of it is in its [`Door`].

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered, task::AtomicWaker};
use http::{Request, Response};
use lattice::{
    trace::{Place, inside},
    wire::CallError,
};
use lattice_provider::http::Body;
use tokio::sync::{mpsc, oneshot, watch};
use wasmtime::{
    AsContextMut,
    component::{Accessor, Instance},
};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{
    FieldMap, WasiBody, WasiHttpView as _,
    p3::{self, bindings::Service, bindings::http::types::ErrorCode},
};

use super::{
    super::{
        component::{HttpExport, LoadedComponent},
        guest::{Guest, GuestStore},
        http::GuestInput,
        lens::Flows,
    },
    INSIDE,
    function::{DropCall, FunctionWork},
    kept::AT_ONCE,
};

/// How often an instance that has more to do at once is polled before it gets a task of its own.
const TURNS: usize = 64;

pub(super) type Outcome = Result<Response<WasiBody>, ErrorCode>;

/// What an instance is asked for.
pub(super) enum Call {
    Http(HttpCall),
    Function(FunctionWork),
    Drop(DropCall),
}

/// One request.
pub(super) struct HttpCall {
    pub(super) request: Request<Body>,
    pub(super) deadline: Instant,
    pub(super) allowed: Duration,
    pub(super) answer: oneshot::Sender<Outcome>,
}

/// How an instance has ended.
#[derive(Clone)]
struct Failure {
    error: CallError,
    /// The code, when it was the guest that ended it.
    exit: Option<i32>,
}

/// What is known of an instance outside of it.
pub(super) struct Door {
    /// Without a bound of its own: each call in it has a permit of its component.
    inbox: mpsc::UnboundedSender<Call>,
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
    failure: watch::Receiver<Option<Failure>>,
    /// Wakes the task that the instance has, if it has one.
    pub(super) task: AtomicWaker,
    /// Streams that it writes.
    pub(super) flows: Flows,
    /// Calls whose streams are open, in either direction.
    pub(super) streams: AtomicU32,
    made: Instant,
    /// Until when its calls may take, in milliseconds since it was made, and how long the one was allowed to take that may
    /// take longest.
    until: AtomicU64,
    allowed: AtomicU64,
    /// Where the work on its calls belongs.
    place: ArcSwapOption<Place>,
}

impl Door {
    pub(super) fn failure(&self) -> Option<CallError> {
        self.failure.borrow().as_ref().map(|failure| failure.error.clone())
    }

    /// The code with which its guest has ended it.
    pub(super) fn exit(&self) -> Option<i32> {
        self.failure.borrow().as_ref()?.exit
    }

    /// Why there is no answer when the instance gave none. Its calls are dropped a moment before that is known.
    pub(super) async fn ended(&self) -> CallError {
        let mut failure = self.failure.clone();
        let known = failure.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        let known = known.map(|failure| failure.error);
        known.unwrap_or_else(|| CallError::Trap("the component ended without a response".into()))
    }

    pub(super) fn is_idle(&self) -> bool {
        self.idle.load(Ordering::Acquire) && self.live.load(Ordering::Acquire) == 0
    }

    /// Whether it will take another call at some time.
    pub(super) fn is_open(&self) -> bool {
        !self.doomed.load(Ordering::Acquire) && self.left.load(Ordering::Acquire) > 0
    }

    /// Lets one more call in. Only under the lock of the instances, which knows that there is a call left.
    pub(super) fn admit(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
        self.live.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether another call would be worked on at once: it has not enough of them, and is not busy computing.
    pub(super) fn has_room(&self) -> bool {
        self.live.load(Ordering::Acquire) < AT_ONCE && !self.polled.load(Ordering::Acquire)
    }

    /// A call of it may take `allowed`, until `deadline`.
    pub(super) fn extend(&self, deadline: Instant, allowed: Duration) {
        let millis = |time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX);
        let until = millis(deadline.saturating_duration_since(self.made));
        if self.until.fetch_max(until, Ordering::AcqRel) < until {
            self.allowed.store(millis(allowed), Ordering::Release);
        }
    }

    /// A call belongs to `place`. Of several at a time nobody knows which one the guest is at: then it is none of theirs.
    pub(super) fn belongs_to(&self, place: Option<Place>) {
        let place = place.filter(|_| self.live.load(Ordering::Acquire) == 1);
        if place.is_some() || self.place.load().is_some() {
            self.place.store(place.map(Arc::new));
        }
    }

    pub(super) fn allowed(&self) -> Duration {
        Duration::from_millis(self.allowed.load(Ordering::Acquire))
    }

    pub(super) fn until(&self) -> Instant {
        self.made + Duration::from_millis(self.until.load(Ordering::Acquire))
    }

    /// Hands over a call that was let in. When the instance has ended meanwhile it is dropped, and the caller sees that by
    /// its answer's channel.
    pub(super) fn send(&self, call: Call) {
        drop(self.inbox.send(call));
        self.task.wake();
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
    /// A fresh instance for at most `calls`.
    pub(super) async fn new(component: &Arc<LoadedComponent>, calls: u32) -> Result<Self, CallError> {
        let (mut store, instance) = component.instantiate(component.timeout).await?;
        let service = match &component.blueprint.http {
            Some(HttpExport::Service(indices)) => {
                let service = indices.load(&mut store, &instance);
                Some(service.map_err(|error| component.explain(&store, &error))?)
            }
            _ => None,
        };
        let (inbox, calls_in) = mpsc::unbounded_channel();
        let (failed, failure) = watch::channel(None);
        let door = Arc::new(Door {
            inbox,
            live: AtomicU32::new(0),
            left: AtomicU32::new(calls),
            doomed: AtomicBool::new(false),
            idle: AtomicBool::new(true),
            polled: AtomicBool::new(false),
            failure,
            task: AtomicWaker::new(),
            flows: store.data().flows.clone(),
            streams: AtomicU32::new(0),
            made: Instant::now(),
            until: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            place: ArcSwapOption::empty(),
        });
        let exports = Exports { instance, service };
        let work = Box::pin(work(Arc::downgrade(component), store, exports, calls_in, door.clone(), failed));
        Ok(Self { door, work, turn: Arc::new(Turn(AtomicBool::new(false))) })
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.door.polled.store(true, Ordering::Release);
        let outer = INSIDE.replace(true);
        let place = self.door.place.load();
        let ended = inside(place.as_deref(), || self.work.as_mut().poll(cx));
        INSIDE.set(outer);
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

/// What of an instance is called.
struct Exports {
    instance: Instance,
    service: Option<Service>,
}

/// The life of an instance: it ends only by a failure. When it is dropped, so are its calls.
async fn work(
    // Not kept alive: its idle instances belong to it.
    component: Weak<LoadedComponent>,
    mut store: GuestStore,
    exports: Exports,
    mut inbox: mpsc::UnboundedReceiver<Call>,
    door: Arc<Door>,
    failed: watch::Sender<Option<Failure>>,
) {
    let error = loop {
        let turn = store.run_concurrent(async |accessor| attend(accessor, &exports, &mut inbox, &door).await).await;
        let dropped = match turn {
            Ok(Ok(call)) => drop_alone(&mut store, call).await,
            Ok(Err(error)) | Err(error) => Err(error),
        };
        if let Err(error) = dropped {
            break error;
        }
    };
    door.doomed.store(true, Ordering::Release);
    // Whoever waits for an answer has the component.
    if let Some(component) = component.upgrade() {
        let failure = component.explain(&store, &error);
        if door.live.load(Ordering::Acquire) == 0 {
            component.record(&failure);
        }
        let exit = error.downcast_ref::<I32Exit>().map(|exit| exit.0);
        failed.send_replace(Some(Failure { error: failure.clone(), exit }));
        door.flows.end(|| failure);
    }
}

/// Works on calls until resources are to be dropped while there are none: a destructor may then take its time.
async fn attend(
    accessor: &Accessor<Guest>,
    exports: &Exports,
    inbox: &mut mpsc::UnboundedReceiver<Call>,
    door: &Door,
) -> wasmtime::Result<DropCall> {
    let mut calls = FuturesUnordered::new();
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(Some(call)) = inbox.poll_recv(cx) {
                match call {
                    Call::Drop(call) if calls.is_empty() => return Poll::Ready(Ok(call)),
                    Call::Drop(call) => accessor.with(|access| drop_beside(access, call))?,
                    call => {
                        if calls.is_empty() {
                            accessor.with(|mut access| access.data_mut().rest());
                        }
                        calls.push(answer(accessor, exports, call));
                    }
                }
                continue;
            }
            match calls.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(()))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        let idle = calls.is_empty()
            && door.flows.poll_closed(cx).is_ready()
            && accessor.poll_no_interesting_tasks(cx).is_ready();
        door.idle.store(idle, Ordering::Release);
        Poll::Pending
    })
    .await
}

/// Runs destructors when no call is under way.
async fn drop_alone(store: &mut GuestStore, call: DropCall) -> wasmtime::Result<()> {
    Guest::begin(store, call.allowed);
    for resource in call.resources {
        resource.resource_drop_async(&mut *store).await?;
    }
    // Whoever asked may have given up.
    _ = call.done.send(());
    Ok(())
}

/// How often a destructor beside calls may let others run, as it must once a tick.
const TICKS: usize = 100;

/// Runs destructors beside calls, which may wait for just that. The event loop has no way to do it for us, so that they
/// must come to their end at once.
fn drop_beside(mut store: impl AsContextMut<Data = Guest>, call: DropCall) -> wasmtime::Result<()> {
    let mut cx = Context::from_waker(Waker::noop());
    for resource in call.resources {
        let mut dropping = pin!(resource.resource_drop_async(&mut store));
        let dropped = (0..TICKS).find_map(|_| match dropping.as_mut().poll(&mut cx) {
            Poll::Ready(dropped) => Some(dropped),
            Poll::Pending => None,
        });
        dropped.unwrap_or_else(|| wasmtime::bail!("a destructor waits while calls are under way"))?;
    }
    _ = call.done.send(());
    Ok(())
}

/// One call, until what it answers at once is there; streams follow by themselves. An error is a trap, and ends the
/// instance.
async fn answer(accessor: &Accessor<Guest>, exports: &Exports, call: Call) -> wasmtime::Result<()> {
    match (call, &exports.service) {
        (Call::Function(call), _) => call.run(accessor, &exports.instance).await,
        (Call::Http(call), Some(service)) => answer_http(accessor, service, call).await,
        // Dropped, it is a call without an answer.
        (Call::Http(_) | Call::Drop(_), _) => Ok(()),
    }
}

/// A request, until its response's head is there.
async fn answer_http(accessor: &Accessor<Guest>, service: &Service, call: HttpCall) -> wasmtime::Result<()> {
    let (parts, body) = call.request.into_parts();
    let headers = accessor.with(|mut access| {
        Guest::join(access.as_context_mut(), call.deadline, call.allowed);
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
