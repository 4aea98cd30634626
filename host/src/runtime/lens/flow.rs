//! Streams and futures between a guest and whoever carries their bytes.
//!
//! What a guest writes is taken out of its memory when it writes, as [elements](lattice::wire::value::elements) of the
//! wire, and handed to a channel that holds little: a guest whose reader is slow waits. What a guest reads comes from
//! [`Pieces`].

use std::{
    collections::VecDeque,
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use lattice::{
    bus::{Piece, Pieces, Source as Offered, gather},
    wire::{
        CHUNK, CallError,
        value::{binary::put_bytes, elements::Splitter},
    },
};
use tokio::sync::mpsc;
use tokio_util::{
    sync::PollSender,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{
        Destination, FutureConsumer, FutureReader, Source, StreamConsumer, StreamProducer, StreamReader, StreamResult,
        VecBuffer,
    },
};

use super::{
    super::guest::Guest,
    element::{Carried, Element, read},
    fault::ErrorRoom,
};

/// Pieces that wait between a guest and its reader.
const PIECES: usize = 4;
/// Elements that are given to a guest at a time.
const ELEMENTS: usize = 1024;

/// The streams that the instance of one store writes.
pub(in super::super) struct Flows {
    ended: Arc<Ended>,
    open: TaskTracker,
}

/// How the instance has ended; nothing while it lives.
#[derive(Default)]
struct Ended(OnceLock<CallError>);

impl Default for Flows {
    fn default() -> Self {
        let open = TaskTracker::new();
        open.close();
        Self { ended: Arc::default(), open }
    }
}

impl Flows {
    /// Says that the instance ends now, and why: streams that are open break off with that. Must come before its store is
    /// dropped, which looks to them as if the guest had closed them.
    pub(in super::super) fn end(&self, why: impl FnOnce() -> CallError) {
        self.ended.0.get_or_init(why);
    }

    /// What waits until the guest has closed all of them.
    pub(in super::super) fn open(&self) -> TaskTracker {
        self.open.clone()
    }

    fn writing(&self) -> (Writing, Arc<Written>) {
        let written = Arc::new(Written { whole: AtomicBool::new(false), ended: self.ended.clone() });
        (Writing { written: written.clone(), _open: self.open.token() }, written)
    }
}

/// What is known of one stream's end.
struct Written {
    /// The guest has closed it.
    whole: AtomicBool,
    ended: Arc<Ended>,
}

/// A stream that is open. It is dropped when the guest closes it, or with the store.
struct Writing {
    written: Arc<Written>,
    _open: TaskTrackerToken,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.written.ended.0.get().is_none() {
            self.written.whole.store(true, Ordering::Release);
        }
    }
}

/// The reading end of a stream or a future that a guest gave away, by what it carries.
#[derive(Debug)]
pub(in super::super) enum GuestFlow {
    Bytes(StreamReader<u8>),
    Elements(StreamReader<Element>),
    Marks(StreamReader<()>),
    Value(FutureReader<Element>),
    Signal(FutureReader<()>),
}

impl GuestFlow {
    /// Reads it from now on, for whoever polls what this returns.
    pub(in super::super) fn pipe(self, mut store: impl AsContextMut<Data = Guest>) -> Result<Offered> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (writing, written) = store.as_context_mut().data().flows.writing();
        let sink = Sink { writing: Some(writing), to: PollSender::new(sender) };
        match self {
            Self::Bytes(stream) => stream.pipe(store, ByteSink(sink))?,
            Self::Elements(stream) => stream.pipe(store, ElementSink(sink, PhantomData::<Element>))?,
            Self::Marks(stream) => stream.pipe(store, ElementSink(sink, PhantomData::<()>))?,
            Self::Value(future) => future.pipe(store, ValueSink(sink, PhantomData::<Element>))?,
            Self::Signal(future) => future.pipe(store, ValueSink(sink, PhantomData::<()>))?,
        }
        Ok(Box::pin(Given { receiver, written }))
    }
}

/// What a guest wrote, for its reader.
struct Given {
    receiver: mpsc::Receiver<Bytes>,
    written: Arc<Written>,
}

impl Stream for Given {
    type Item = Result<Piece, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(bytes) = ready!(self.receiver.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(Piece::Data(bytes))));
        }
        if self.written.whole.swap(true, Ordering::AcqRel) {
            return Poll::Ready(None);
        }
        let gone = || CallError::Transport("the instance that wrote the stream has ended".into());
        Poll::Ready(Some(Err(self.written.ended.0.get().cloned().unwrap_or_else(gone))))
    }
}

/// Where a guest's pieces go.
struct Sink {
    /// `None` when all was sent. Before the sender, so that the reader finds out how the stream ended when it ends.
    writing: Option<Writing>,
    to: PollSender<Bytes>,
}

impl Sink {
    /// Ready when there is room for a piece (`true`), or the reader has gone (`false`).
    fn room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.to.poll_reserve(cx).map(|room| room.is_ok())
    }

    /// What a guest is told that cannot write now.
    fn closed(&mut self, cx: &mut Context<'_>, finish: bool) -> Option<Poll<Result<StreamResult>>> {
        match self.room(cx) {
            Poll::Ready(true) => None,
            Poll::Ready(false) => Some(Poll::Ready(Ok(StreamResult::Dropped))),
            Poll::Pending => Some(wait(finish)),
        }
    }

    fn send(&mut self, bytes: Bytes) {
        // There is room; the reader may have gone all the same, and then misses nothing.
        let _ = self.to.send_item(bytes);
    }
}

/// What a sink without room says to a guest that wants to write, or does not want to any more.
fn wait(finish: bool) -> Poll<Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

struct ByteSink(Sink);

impl<D: 'static> StreamConsumer<D> for ByteSink {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<D>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if let Some(answer) = self.0.closed(cx, finish) {
            return answer;
        }
        let mut source = source.as_direct(store);
        let bytes = source.remaining();
        let bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(CHUNK)]);
        source.mark_read(bytes.len());
        if !bytes.is_empty() {
            self.0.send(bytes);
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct ElementSink<P>(Sink, PhantomData<P>);

impl<P: Carried, D: 'static> StreamConsumer<D> for ElementSink<P> {
    type Item = P;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<D>,
        mut source: Source<'_, P>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        if let Some(answer) = self.0.closed(cx, finish) {
            return answer;
        }
        let mut bytes = Vec::new();
        read(&mut source, &mut store, |element: P| {
            put_bytes(&mut bytes, element.bytes());
            bytes.len() < CHUNK
        })?;
        if !bytes.is_empty() {
            self.0.send(bytes.into());
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct ValueSink<P>(Sink, PhantomData<P>);

impl<P: Carried, D: 'static> FutureConsumer<D> for ValueSink<P> {
    type Item = P;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<D>,
        mut source: Source<'_, P>,
        finish: bool,
    ) -> Poll<Result<()>> {
        match self.0.room(cx) {
            Poll::Pending if finish => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(_) => {}
        }
        let mut bytes = Bytes::new();
        read(&mut source, &mut store, |value: P| {
            bytes = Bytes::copy_from_slice(value.bytes());
            false
        })?;
        if !bytes.is_empty() {
            self.0.send(bytes);
        }
        self.0.writing = None;
        self.0.to.close();
        Poll::Ready(Ok(()))
    }
}

/// What the streams and futures of one value know of each other: when one of them breaks off, a future that has room for
/// the error tells it, and only without one the guest is ended. A short stream is never taken for a whole one.
#[derive(Default)]
pub(super) struct Fate {
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
pub(super) fn byte_stream<T: 'static>(
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
pub(super) fn element_stream<P: Carried, T: 'static>(
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
pub(super) fn later<P: Carried, T: 'static>(
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
