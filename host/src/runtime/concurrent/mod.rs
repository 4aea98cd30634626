//! Instances on the engine for WASI 0.3, which may have several calls at a time: HTTP requests by `wasi:http/handler@0.3`
//! ([`http`]), and calls of the component's own interfaces ([`function`]).
//!
//! A call is worked on by the task that brings it for as long as the guest need not wait: most calls end so, without a
//! task, a channel between tasks or a timer. A guest that waits gets a task of its own; until its calls have ended, others
//! may join it, as many as its component's `reuse` and [`AT_ONCE`](kept::AT_ONCE) allow.
//!
//! ```text
//! idle --take--> polled by the call's task --waits--> in a task of its own, open to more calls
//!   ^------------------ends---------------/                            |
//!   \------------------------------------------------------------------/
//! ```
//!
//! An instance whose resources somebody holds is not in the pool of its component: it is alone in [`Instances`] of its
//! session, and takes the calls of that session alone.
//!
//! A call cannot be taken back from an instance that has begun it. So when somebody gives up on one, the instance takes
//! no more calls, and is dropped as soon as it has no other one left.

mod body;
mod function;
mod http;
mod instance;
mod kept;

use std::{
    cell::Cell,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use lattice::{trace, wire::CallError};

pub(super) use self::{
    function::{call, drop_resources},
    http::handle,
    kept::Instances,
};
use self::{
    instance::{Call, Door, Live},
    kept::Found,
};
use super::component::{LoadedComponent, Permit};

/// Time for a guest that has answered to come to its own end.
const LEAST: Duration = Duration::from_millis(100);

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the caller is itself polled by an instance of this engine: event loops do not nest.
pub(super) fn is_inside() -> bool {
    INSIDE.get()
}

/// A call under way. Dropped without [`Ticket::end`] it is one that somebody gave up on.
struct Ticket {
    component: Arc<LoadedComponent>,
    door: Arc<Door>,
    _permit: Option<Arc<Permit>>,
    deadline: Instant,
    allowed: Duration,
    ended: bool,
}

impl Ticket {
    fn end(mut self) {
        self.ended = true;
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

/// Lets a call into an instance of `home`: one that is there, which has a task of its own or is to be polled by the caller,
/// or a fresh one.
async fn enter(
    component: &Arc<LoadedComponent>,
    home: &Instances,
    permit: Option<Arc<Permit>>,
    allowed: Duration,
) -> Result<(Ticket, Option<Live>), CallError> {
    let deadline = Instant::now() + allowed;
    let (door, live) = match home.find() {
        Found::Idle(live) => (live.door.clone(), Some(live)),
        Found::Busy(door) => (door, None),
        Found::Gone => return Err(component.session_ended()),
        Found::None => {
            let live = Live::new(component, home.calls()).await?;
            live.door.admit();
            (live.door.clone(), Some(live))
        }
    };
    door.extend(deadline, allowed);
    door.belongs_to(trace::place());
    let ticket = Ticket { component: component.clone(), door, _permit: permit, deadline, allowed, ended: false };
    Ok((ticket, live))
}

/// Puts away an instance that nobody polls any more.
fn settle(component: Arc<LoadedComponent>, home: &Arc<Instances>, live: Live, ended: bool) {
    if ended {
        return;
    }
    let busy = if live.door.is_idle() { home.park(live) } else { Some(live) };
    if let Some(live) = busy {
        spawn(component, home.clone(), live);
    }
}

/// Gives an instance a task, in which it works until it has nothing to do.
fn spawn(component: Arc<LoadedComponent>, home: Arc<Instances>, mut live: Live) {
    home.share(&live.door);
    tokio::spawn(async move {
        let mut grace = None;
        loop {
            match poll_fn(|cx| work(&mut live, &mut grace, cx)).await {
                Work::Idle => {}
                Work::Over => return home.forget(&live.door),
                Work::Late => {
                    let late = CallError::Deadline(live.door.allowed());
                    component.record(&late);
                    live.door.flows.end(|| late);
                    return home.forget(&live.door);
                }
            }
            match home.park(live) {
                Some(again) => live = again,
                None => return,
            }
        }
    });
}

enum Work {
    Idle,
    Over,
    /// It had no call any more, but streams that went on for longer than their call may take.
    Late,
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
    // Streams keep the places of their calls; a guest that goes on for nobody has none, and so little time.
    let streams = live.door.streams.load(Ordering::Acquire) > 0;
    let least = || Instant::now() + LEAST;
    let until = || if streams { live.door.until().max(least()) } else { least() };
    let timer = grace.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until().into())));
    timer.as_mut().poll(cx).map(|()| if streams { Work::Late } else { Work::Over })
}
