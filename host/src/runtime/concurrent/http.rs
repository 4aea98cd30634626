//! Answering HTTP by `wasi:http/handler@0.3`.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use http_body::Body as _;
use lattice::wire::CallError;
use lattice_provider::http::Body;
use tokio::sync::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::{
    super::component::{LoadedComponent, Permit},
    Call, Door, Live, Ticket,
    body::ServiceBody,
    enter,
    instance::{Frame, HttpCall, Outcome},
    settle, spawn,
};

/// Response bytes that are gathered before they are sent on as a stream.
const GATHERED: usize = 64 * 1024;

/// Answers one request.
pub(in super::super) async fn handle(
    component: &Arc<LoadedComponent>,
    permit: Permit,
    request: Request<Body>,
) -> Result<Response<Body>, CallError> {
    let allowed = component.timeout;
    let (answer, head) = oneshot::channel();
    let (ticket, live) = enter(component, &component.instances, Some(Arc::new(permit)), allowed).await?;
    ticket.door.send(Call::Http(HttpCall { request, deadline: ticket.deadline, allowed, answer }));
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
        Ok(Err(_)) => Err(ticket.door.ended().await),
        Err(_) => Err(CallError::Deadline(ticket.allowed)),
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
        Err(_) if ended => return Err(ticket.door.ended().await),
        Err(_) => {
            spawn(component.clone(), component.instances.clone(), live);
            return ticket.door.clone().joined(ticket, head).await;
        }
    };
    let response = match response {
        Ok(response) => response,
        Err(error) => {
            ticket.end();
            settle(component.clone(), &component.instances, live, ended);
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
                settle(component.clone(), &component.instances, live, ended);
                return whole(ready);
            }
            Poll::Pending if !waited && !ended => {
                ended = live.drive().is_ready();
                waited = true;
            }
            // The stream finds the error again, or the end that is none.
            Poll::Pending | Poll::Ready(None) => break,
            Poll::Ready(Some(Err(error))) => {
                settle(component.clone(), &component.instances, live, ended);
                return ServiceBody::broken(ticket, body, ready, error.into());
            }
        }
    }
    settle(component.clone(), &component.instances, live, ended);
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
