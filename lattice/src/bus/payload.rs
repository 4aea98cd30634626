//! Payloads that do not fit a message: they travel as a stream of their own, which a header of the message names.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::streams::{LazyStreams, Offer, Piece};
use crate::wire::{CallError, FrameError, Headers, MAX_MESSAGE, Ticket, header};

fn full() -> CallError {
    CallError::Overloaded("this process (it has too many large payloads under way)".into())
}

/// A payload that is not in the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Elsewhere {
    ticket: Ticket,
    /// In bytes.
    length: u64,
}

impl Elsewhere {
    /// Offers a payload as a stream, and gives the header that says so. All of a process at a time have a limit together.
    pub(super) async fn offer(streams: &LazyStreams, what: &str, payload: Bytes) -> Result<(Offer, String), CallError> {
        let length = payload.len();
        if length > MAX_MESSAGE {
            return Err(CallError::TooLarge { what: what.to_owned(), size: length as u64, limit: MAX_MESSAGE as u64 });
        }
        let streams = streams.get().await?;
        let room = streams.room_for(length as u64).ok_or_else(full)?;
        // The source lives as long as the stream, and so does the payload.
        let source = futures_util::stream::iter([payload]).map(move |payload| {
            let _ = &room;
            Ok(Piece::Data(payload))
        });
        let offer = streams.offer(Box::pin(source))?;
        let header = format!("{} {length}", offer.ticket());
        Ok((offer, header))
    }

    /// Where the payload of a message is, when it is not in it.
    pub(super) fn read(headers: &impl Headers) -> Result<Option<Self>, FrameError> {
        headers.get(header::PAYLOAD).map(Self::parse).transpose()
    }

    /// Reads the header that says so.
    pub(super) fn parse(text: &str) -> Result<Self, FrameError> {
        let bad = || FrameError::Bad {
            name: header::PAYLOAD,
            value: text.chars().take(128).collect(),
            expected: "<ticket> <length in bytes>",
        };
        let (ticket, length) = text.split_once(' ').ok_or_else(bad)?;
        match (ticket.parse(), length.parse()) {
            (Ok(ticket), Ok(length)) => Ok(Self { ticket, length }),
            _ => Err(bad()),
        }
    }

    /// Takes the payload. What comes counts for the same limit as what is offered.
    pub(super) async fn take(self, streams: &LazyStreams, what: &str) -> Result<Bytes, CallError> {
        if self.length > MAX_MESSAGE as u64 {
            let (size, limit) = (self.length, MAX_MESSAGE as u64);
            return Err(CallError::TooLarge { what: what.to_owned(), size, limit });
        }
        let streams = streams.get().await?;
        let _room = streams.room_for(self.length).ok_or_else(full)?;
        let mut incoming = streams.take(&self.ticket)?;
        let mut whole = BytesMut::new();
        while let Some(piece) = incoming.next().await {
            let Piece::Data(bytes) = piece? else { continue };
            if (whole.len() + bytes.len()) as u64 > self.length {
                break;
            }
            whole.extend_from_slice(&bytes);
        }
        if whole.len() as u64 == self.length && incoming.next().await.is_none() {
            return Ok(whole.freeze());
        }
        Err(CallError::BadMessage(format!("{what} is not of the {} bytes that its header promises", self.length)))
    }
}
