//! Answering HTTP by `wasi:http/handler@0.3`.
//!
//! A request is worked on by the task that brings it for as long as the guest need not wait: most calls end so, without
//! a task, a channel between tasks or a timer. A guest that waits gets a task of its own; until its calls have ended,
//! others may join it, as many as its component's `reuse` and [`AT_ONCE`](instance::AT_ONCE) allow.
//!
//! ```text
//! idle --take--> polled by the request's task --waits--> in a task of its own, open to more calls
//!   ^------------------ends------------------/                            |
//!   \---------------------------------------------------------------------/
//! ```
//!
//! A call cannot be taken back from an instance that has begun it. So when somebody gives up on one, the instance takes
//! no more calls, and is dropped as soon as it has no other one left.

mod body;
mod instance;
mod kept;

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{Request, Response};
use http_body::Body as _;
use lattice::wire::CallError;
use lattice_provider::http::Body;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

pub(super) use self::kept::Instances;
use self::{
    body::ServiceBody,
    instance::{Call, Door, Frame, Live, Outcome},
    kept::Place,
};
use super::component::{LoadedComponent, Permit};

/// Response bytes that are gathered before they are sent on as a stream.
const GATHERED: usize = 64 * 1024;
/// Time for a guest that has answered to come to its own end.
const LEAST: Duration = Duration::from_millis(100);

/// A call under way. Dropped without [`Ticket::end`] it is one that somebody gave up on.
struct Ticket {
    component: Arc<LoadedComponent>,
    door: Arc<Door>,
    _permit: Permit,
    deadline: Instant,
    ended: bool,
}

impl Ticket {
    fn end(mut self) {
        self.ended = true;
    }

    /// Why there is no answer when the instance gave none.
    fn failure(&self) -> CallError {
        let gone = || CallError::Trap("the component ended without a response".into());
        self.door.failure().unwrap_or_else(gone)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.door.doomed.store(true, Ordering::Release);
        }
        self.door.live.fetch_sub(1, Ordering::AcqRel);
        self.door.task.wake();
    }
}

/// Answers one request.
pub(super) async fn handle(
    component: &Arc<LoadedComponent>,
    permit: Permit,
    request: Request<Body>,
) -> Result<Response<Body>, CallError> {
    let deadline = Instant::now() + component.timeout;
    let (answer, head) = oneshot::channel();
    let call = Call { request, deadline, answer };
    let place = if component.reuse > 1 { component.instances.take() } else { Place::None };
    let (live, door) = match place {
        Place::Idle(live) => (Some(live), None),
        Place::Busy(door) => (None, Some(door)),
        Place::None => {
            let live = Live::new(component).await?;
            live.door.admit();
            (Some(live), None)
        }
    };
    let door = door.or_else(|| live.as_ref().map(|live| live.door.clone()));
    let Some(door) = door else { return Err(CallError::NoInstance(component.unit().to_string())) };
    let ticket = Ticket { component: component.clone(), door, _permit: permit, deadline, ended: false };
    ticket.door.send(call);
    match live {
        Some(live) => at_once(ticket, live, head).await,
        None => ticket.door.clone().joined(ticket, head).await,
    }
}

impl Door {
    /// The answer of an instance that has a task.
    async fn joined(
        self: Arc<Self>,
        ticket: Ticket,
        head: oneshot::Receiver<Outcome>,
    ) -> Result<Response<Body>, CallError> {
        let (parts, body) = head_of(&ticket, head).await?.into_parts();
        Ok(Response::from_parts(parts, ServiceBody::stream(ticket, body, VecDeque::new())))
    }
}

/// Waits for a response's head until the deadline.
async fn head_of(ticket: &Ticket, head: oneshot::Receiver<Outcome>) -> Result<Response<WasiBody>, CallError> {
    match tokio::time::timeout_at(ticket.deadline.into(), head).await {
        Ok(Ok(outcome)) => read(outcome),
        Ok(Err(_)) => Err(ticket.failure()),
        Err(_) => Err(CallError::Deadline(ticket.component.timeout)),
    }
}

fn read(outcome: Outcome) -> Result<Response<WasiBody>, CallError> {
    outcome.map_err(|code| CallError::Trap(format!("the component answered with the error {code:?}")))
}

/// Works on a call in the task that brought it. When the guest must wait, the instance gets a task.
async fn at_once(
    ticket: Ticket,
    mut live: Live,
    mut head: oneshot::Receiver<Outcome>,
) -> Result<Response<Body>, CallError> {
    let component = ticket.component.clone();
    let ended = live.drive().is_ready();
    let response = match head.try_recv() {
        Ok(outcome) => read(outcome),
        Err(_) if ended => return Err(ticket.failure()),
        Err(_) => {
            spawn(component, live);
            return ticket.door.clone().joined(ticket, head).await;
        }
    };
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            ticket.end();
            settle(component, live, ended);
            return Err(error);
        }
    };
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, gather(ticket, live, ended, body)))
}

/// The body of a response. When all of it is there at once it is handed on as a whole, which goes out with its length in
/// one write.
fn gather(ticket: Ticket, mut live: Live, mut ended: bool, mut body: WasiBody) -> Body {
    let component = ticket.component.clone();
    let mut cx = Context::from_waker(Waker::noop());
    let (mut ready, mut bytes) = (VecDeque::<Frame>::new(), 0);
    let mut waited = false;
    while bytes < GATHERED {
        match Pin::new(&mut body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
                ready.push_back(frame);
                waited = false;
            }
            Poll::Ready(None) if ticket.door.failure().is_none() => {
                ticket.end();
                ended = ended || live.drive().is_ready();
                settle(component, live, ended);
                return whole(ready);
            }
            Poll::Pending if !waited && !ended => {
                ended = live.drive().is_ready();
                waited = true;
            }
            // The stream finds the error again, or the end that is none.
            Poll::Pending | Poll::Ready(None) => break,
            Poll::Ready(Some(Err(error))) => {
                settle(component, live, ended);
                return ServiceBody::broken(ticket, body, ready, error.into());
            }
        }
    }
    settle(component, live, ended);
    ServiceBody::stream(ticket, body, ready)
}

/// Frames that are all there is.
fn whole(mut ready: VecDeque<Frame>) -> Body {
    match (ready.len(), ready.front().is_some_and(Frame::is_data)) {
        (0, _) => Body::Empty,
        (1, true) => Body::Full(ready.pop_front().and_then(|frame| frame.into_data().ok()).unwrap_or_default()),
        _ => {
            let frames = futures_util::stream::iter(ready.into_iter().map(Ok));
            Body::Stream(Box::pin(http_body_util::StreamBody::new(frames)))
        }
    }
}

/// Puts away an instance that nobody polls any more.
fn settle(component: Arc<LoadedComponent>, live: Live, ended: bool) {
    if ended {
        return;
    }
    let busy = if live.door.is_idle() { component.instances.park(live) } else { Some(live) };
    if let Some(live) = busy {
        spawn(component, live);
    }
}

/// Gives an instance a task, in which it works until it has nothing to do.
fn spawn(component: Arc<LoadedComponent>, mut live: Live) {
    component.instances.share(&live.door);
    tokio::spawn(async move {
        let mut grace = None;
        loop {
            let ended = poll_fn(|cx| work(&mut live, &mut grace, cx)).await;
            if ended == Work::Over {
                component.instances.forget(&live.door);
                return;
            }
            match component.instances.park(live) {
                Some(again) => live = again,
                None => return,
            }
        }
    });
}

#[derive(PartialEq)]
enum Work {
    Idle,
    Over,
}

/// One turn of an instance in its task. `grace` runs while it has no call any more, but the guest goes on.
fn work(live: &mut Live, grace: &mut Option<Pin<Box<tokio::time::Sleep>>>, cx: &mut Context<'_>) -> Poll<Work> {
    live.door.task.register(cx.waker());
    let calls = || live.door.live.load(Ordering::Acquire);
    if live.door.doomed.load(Ordering::Acquire) && calls() == 0 {
        return Poll::Ready(Work::Over);
    }
    if live.poll(cx).is_ready() {
        return Poll::Ready(Work::Over);
    }
    if live.door.is_idle() {
        return Poll::Ready(Work::Idle);
    }
    if live.door.live.load(Ordering::Acquire) > 0 {
        *grace = None;
        return Poll::Pending;
    }
    let timer = grace.get_or_insert_with(|| Box::pin(tokio::time::sleep(LEAST)));
    timer.as_mut().poll(cx).map(|()| Work::Over)
}
