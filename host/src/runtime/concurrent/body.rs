//! The body of a response on its way from an instance that works in a task.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Body as _;
use lattice::wire::CallError;
use lattice_provider::http::{Body, BodyError};
use tokio::time::Sleep;
use wasmtime_wasi_http::WasiBody;

use super::{Ticket, instance::Frame};

pub(super) struct ServiceBody {
    /// `None` when the body has ended, well or not.
    ticket: Option<Ticket>,
    inner: WasiBody,
    /// Frames that were there already.
    ready: VecDeque<Frame>,
    /// What comes after them.
    broken: Option<BodyError>,
    /// Made when the body first waits.
    timer: Option<Pin<Box<Sleep>>>,
}

impl ServiceBody {
    pub(super) fn stream(ticket: Ticket, inner: WasiBody, ready: VecDeque<Frame>) -> Body {
        Body::Stream(Box::pin(Self { ticket: Some(ticket), inner, ready, broken: None, timer: None }))
    }

    pub(super) fn broken(ticket: Ticket, inner: WasiBody, ready: VecDeque<Frame>, error: BodyError) -> Body {
        let broken = Some(error);
        Body::Stream(Box::pin(Self { ticket: Some(ticket), inner, ready, broken, timer: None }))
    }

    fn end(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.end();
        }
    }

    /// The instance's own failure goes before what the body shows of it.
    fn fail(&mut self, error: impl FnOnce(&Ticket) -> BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(ticket) = self.ticket.take() else { return Poll::Ready(None) };
        let error = match ticket.door.failure() {
            Some(failure) => {
                // The head is out: all that can still be told is that the body is not whole.
                ticket.component.record(&failure);
                failure.into()
            }
            None => error(&ticket),
        };
        Poll::Ready(Some(Err(error)))
    }
}

impl http_body::Body for ServiceBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let this = &mut *self;
        if let Some(frame) = this.ready.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if let Some(error) = this.broken.take() {
            return this.fail(|_| error);
        }
        let Some(ticket) = &this.ticket else { return Poll::Ready(None) };
        match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(error))) => this.fail(|_| error.into()),
            Poll::Ready(None) if let Some(failure) = ticket.door.failure() => this.fail(|_| failure.into()),
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let deadline = ticket.deadline;
                let timer = this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                this.fail(|ticket| {
                    let late = CallError::Deadline(ticket.allowed);
                    ticket.component.record(&late);
                    late.into()
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // An instance that fails closes the body too: the end is believed only when it was looked at.
        self.ticket.is_none() && self.ready.is_empty()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        if self.ready.is_empty() { self.inner.size_hint() } else { http_body::SizeHint::default() }
    }
}

impl Drop for ServiceBody {
    fn drop(&mut self) {
        // Whoever sends a body with a length stops asking when it has all of it.
        if self.ready.is_empty() && self.inner.size_hint().exact() == Some(0) {
            self.end();
        }
    }
}
