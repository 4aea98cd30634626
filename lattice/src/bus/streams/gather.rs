//! Pieces of a source on their way into frames: small ones that are there at once go together.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};

use super::{Piece, Source};
use crate::wire::{CallError, MAX_TRAILERS};

pub(super) struct Gather {
    source: Source,
    /// The largest piece of one frame, in bytes.
    chunk: usize,
    /// Small pieces that go together.
    small: BytesMut,
    /// What is to be sent, in order.
    pub(super) ready: VecDeque<Bytes>,
    trailers: Bytes,
    /// How the source has ended: with trailers, or with an error.
    pub(super) end: Option<Result<Bytes, CallError>>,
}

impl Gather {
    pub(super) fn new(source: Source, chunk: usize) -> Self {
        Self { source, chunk, small: BytesMut::new(), ready: VecDeque::new(), trailers: Bytes::new(), end: None }
    }

    /// Ready when there is something to send, or the source has ended. What was gathered is kept when it is not.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ready.is_empty() && self.end.is_none() {
            match self.source.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(Piece::Data(bytes)))) => self.add(bytes),
                Poll::Ready(Some(Ok(Piece::Trailers(trailers)))) => self.trailers = trailers,
                Poll::Ready(Some(Err(error))) => self.finish(Err(error)),
                Poll::Ready(None) => {
                    let trailers = std::mem::take(&mut self.trailers);
                    self.finish(if trailers.len() > MAX_TRAILERS { Err(too_long(&trailers)) } else { Ok(trailers) });
                }
                // What is there goes now: nobody knows when more comes.
                Poll::Pending if self.small.is_empty() => return Poll::Pending,
                Poll::Pending => self.flush(),
            }
        }
        Poll::Ready(())
    }

    /// The next piece of at most `room` bytes.
    pub(super) fn next(&mut self, room: usize) -> Option<Bytes> {
        let first = self.ready.front_mut().filter(|_| room > 0)?;
        let piece = first.split_to(first.len().min(room).min(self.chunk));
        if first.is_empty() {
            self.ready.pop_front();
        }
        Some(piece)
    }

    fn add(&mut self, bytes: Bytes) {
        if bytes.len() >= self.chunk / 2 {
            self.flush();
            self.ready.push_back(bytes);
            return;
        }
        // One piece alone needs its own length; with a second one it is likely that there are many.
        self.small.reserve(if self.small.is_empty() { bytes.len() } else { self.chunk });
        self.small.extend_from_slice(&bytes);
        if self.small.len() > self.chunk / 2 {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.small.is_empty() {
            self.ready.push_back(self.small.split().freeze());
        }
    }

    fn finish(&mut self, end: Result<Bytes, CallError>) {
        self.flush();
        self.end = Some(end);
    }
}

fn too_long(trailers: &Bytes) -> CallError {
    CallError::TooLarge { what: "a stream's trailers".into(), size: trailers.len() as u64, limit: MAX_TRAILERS as u64 }
}
