//! What guests read.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use lattice::{
    bus::{Pieces, gather},
    wire::{CallError, value::elements::Splitter},
};
use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{Destination, FutureReader, StreamProducer, StreamReader, StreamResult, VecBuffer},
};

use super::{
    super::{element::Carried, fault::ErrorRoom},
    wait,
};

/// Elements that are given to a guest at a time.
const ELEMENTS: usize = 1024;

/// What the streams and futures of one value know of each other: when one of them breaks off, a future that has room for
/// the error tells it, and only without one the guest is ended. A short stream is never taken for a whole one.
#[derive(Default)]
pub(in super::super) struct Fate {
    broken: OnceLock<CallError>,
    /// Futures with room for an error that were not read yet.
    tellers: AtomicUsize,
}

impl Fate {
    /// What a broken stream means for its guest.
    fn broken(&self, error: CallError) -> Result<StreamResult> {
        let error = self.broken.get_or_init(|| error);
        if self.tellers.load(Ordering::Acquire) > 0 {
            return Ok(StreamResult::Dropped);
        }
        Err(wasmtime::Error::msg(format!("a stream was cut: {error}")))
    }
}

/// Bytes for a guest.
pub(in super::super) fn byte_stream<T: 'static>(
    store: impl AsContextMut<Data = T>,
    pieces: Pieces,
    fate: Arc<Fate>,
) -> Result<StreamReader<u8>> {
    StreamReader::new(store, ByteSource { pieces, rest: Bytes::new(), fate })
}

struct ByteSource {
    pieces: Pieces,
    rest: Bytes,
    fate: Arc<Fate>,
}

impl<D: 'static> StreamProducer<D> for ByteSource {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        while self.rest.is_empty() {
            match self.pieces.poll_next_unpin(cx) {
                Poll::Pending => return wait(finish),
                Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.fate.broken(error)),
                Poll::Ready(Some(Ok(bytes))) => self.rest = bytes,
            }
        }
        // A reader that only asks whether something is there has no room.
        if destination.remaining(&mut store) != Some(0) {
            let mut destination = destination.as_direct(store, self.rest.len());
            let room = destination.remaining();
            let count = room.len().min(self.rest.len());
            room[..count].copy_from_slice(&self.rest[..count]);
            destination.mark_written(count);
            self.rest.advance(count);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// Elements for a guest.
pub(in super::super) fn element_stream<P: Carried, T: 'static>(
    store: impl AsContextMut<Data = T>,
    pieces: Pieces,
    fate: Arc<Fate>,
) -> Result<StreamReader<P>> {
    let source = ElementSource { pieces, splitter: Splitter::default(), ready: VecDeque::<P>::new(), fate };
    StreamReader::new(store, source)
}

struct ElementSource<P> {
    pieces: Pieces,
    splitter: Splitter,
    ready: VecDeque<P>,
    fate: Arc<Fate>,
}

impl<P: Carried> ElementSource<P> {
    /// What ends the stream, or nothing once elements are ready.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<(), CallError>>> {
        while self.ready.is_empty() {
            while self.ready.len() < ELEMENTS
                && let Some(element) = self.splitter.split()?
            {
                self.ready.push_back(P::new(element));
            }
            if self.ready.is_empty() {
                match ready!(self.pieces.poll_next_unpin(cx)) {
                    Some(Ok(piece)) => self.splitter.push(&piece),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(Some(self.splitter.finish().map_err(CallError::from))),
                }
            }
        }
        Poll::Ready(None)
    }
}

impl<P: Carried, D: 'static> StreamProducer<D> for ElementSource<P> {
    type Item = P;
    type Buffer = VecBuffer<P>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, P, VecBuffer<P>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        match self.fill(cx) {
            Poll::Pending => return wait(finish),
            Poll::Ready(Some(Ok(()))) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(self.fate.broken(error)),
            Poll::Ready(None) => {}
        }
        // No more than the reader has room for: one that only asks has none, and may never read.
        let room = destination.remaining(&mut store).unwrap_or(ELEMENTS).min(self.ready.len());
        if room > 0 {
            destination.set_buffer(self.ready.drain(..room).collect::<Vec<_>>().into());
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// A value for a guest that comes later. `room`: how it says that it will not come.
pub(in super::super) fn later<P: Carried, T: 'static>(
    store: impl AsContextMut<Data = T>,
    pieces: Pieces,
    room: Option<ErrorRoom>,
    fate: Arc<Fate>,
) -> Result<FutureReader<P>> {
    if room.is_some() {
        fate.tellers.fetch_add(1, Ordering::AcqRel);
    }
    FutureReader::new(store, Box::pin(resolve(pieces, room, fate)))
}

async fn resolve<P: Carried>(pieces: Pieces, room: Option<ErrorRoom>, fate: Arc<Fate>) -> Result<P> {
    let value = gather(pieces).await;
    let Some(room) = room else {
        return value.map(P::new).map_err(|error| wasmtime::Error::msg(format!("a future will not come: {error}")));
    };
    fate.tellers.fetch_sub(1, Ordering::AcqRel);
    let error = match (value, fate.broken.get()) {
        (Ok(value), None) => return Ok(P::new(value)),
        // Its sender thinks that all is well; what was cut on the way is not.
        (Ok(_), Some(error)) => error.clone(),
        (Err(error), _) => error,
    };
    Ok(P::new(room.fill(&error).into()))
}
