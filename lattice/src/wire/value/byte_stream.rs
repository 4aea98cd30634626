//! `stream<u8>` as a Rust type.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use uuid::Uuid;

use super::{
    Shape, ValueError, WitType,
    binary::{Content, Reader, put_content, ticket_bytes},
};
use crate::wire::{CallError, Ticket};

/// Pieces of a stream, in order. An error means that what came is not all.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, CallError>> + Send>>;

/// Bytes that come piece by piece. An error means that the rest does not come: what was there until then is not all.
pub struct ByteStream(State);

enum State {
    /// All that is left, as one.
    Whole(Bytes),
    Coming(Pieces),
    /// Offered by somebody, and not taken yet.
    Elsewhere(Ticket),
}

/// A ticket that nobody offers.
const NOBODY: Ticket = Ticket { process: Uuid::max(), stream: Uuid::max() };

impl ByteStream {
    pub fn new(pieces: impl Stream<Item = Result<Bytes, CallError>> + Send + 'static) -> Self {
        Self(State::Coming(Box::pin(pieces)))
    }

    /// All of it, where it is here as one.
    pub fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            State::Whole(bytes) => Some(bytes),
            State::Coming(_) | State::Elsewhere(_) => None,
        }
    }

    /// Where it is offered, when it is not here.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match self.0 {
            State::Elsewhere(ticket) => Some(ticket),
            State::Whole(_) | State::Coming(_) => None,
        }
    }

    /// Puts the ticket of an offer in place of what is offered.
    pub(crate) fn give_away(&mut self, offer: impl FnOnce() -> Ticket) {
        self.0 = State::Elsewhere(offer());
    }

    /// The pieces, when they come one by one; a ticket that nobody offers stays.
    pub(crate) fn take_pieces(&mut self) -> Option<Pieces> {
        match std::mem::replace(&mut self.0, State::Elsewhere(NOBODY)) {
            State::Coming(pieces) => Some(pieces),
            other => {
                self.0 = other;
                None
            }
        }
    }
}

impl From<Bytes> for ByteStream {
    fn from(bytes: Bytes) -> Self {
        Self(State::Whole(bytes))
    }
}

impl From<Pieces> for ByteStream {
    fn from(pieces: Pieces) -> Self {
        Self(State::Coming(pieces))
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::Whole(bytes) => write!(f, "ByteStream({} bytes)", bytes.len()),
            State::Coming(_) => f.write_str("ByteStream(..)"),
            State::Elsewhere(ticket) => write!(f, "ByteStream({ticket})"),
        }
    }
}

impl Stream for ByteStream {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = match &mut self.0 {
            State::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            State::Whole(bytes) => return Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            State::Coming(pieces) => ready!(pieces.as_mut().poll_next(cx)),
            State::Elsewhere(ticket) => {
                Some(Err(CallError::Transport(format!("nobody has taken the stream {ticket}"))))
            }
        };
        if !matches!(next, Some(Ok(_))) {
            // What fed it ends here, also when this is kept.
            self.0 = State::Whole(Bytes::new());
        }
        Poll::Ready(next)
    }
}

/// What was not offered before it is put goes as a ticket that nobody offers: whoever reads it gets an error.
impl WitType for ByteStream {
    fn shape() -> Shape {
        Shape::Stream(Some(Box::new(Shape::U8)))
    }
    fn put(&self, out: &mut Vec<u8>) {
        match &self.0 {
            State::Whole(bytes) => put_content(out, bytes),
            State::Coming(_) => out.extend_from_slice(&ticket_bytes(&NOBODY)),
            State::Elsewhere(ticket) => out.extend_from_slice(&ticket_bytes(ticket)),
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, ValueError> {
        Ok(Self(match from.content()? {
            Content::Here(bytes) => State::Whole(Bytes::copy_from_slice(bytes)),
            Content::Elsewhere(ticket) => State::Elsewhere(ticket),
        }))
    }
    fn streams<'v>(&'v mut self, found: &mut Vec<&'v mut ByteStream>) {
        found.push(self);
    }
}
