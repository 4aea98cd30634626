//! What guests write.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, task::AtomicWaker};
use lattice::{
    bus::{Piece, Source as Offered},
    wire::{CHUNK, CallError, value::binary::put_bytes},
};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use wasmtime::{
    AsContextMut, Result, StoreContextMut,
    component::{FutureConsumer, FutureReader, Source, StreamConsumer, StreamReader, StreamResult},
};

use super::{
    super::{
        super::guest::Guest,
        element::{Carried, Element, read},
        lower::Place,
    },
    wait,
};

/// Pieces that wait between a guest and its reader.
const PIECES: usize = 4;
/// The streams that the instance of one store writes.
#[derive(Clone, Default)]
pub(in super::super::super) struct Flows {
    ended: Arc<Ended>,
    open: Arc<Open>,
}

/// Those that the guest has not closed.
#[derive(Default)]
struct Open {
    count: AtomicUsize,
    /// Wakes whoever waits until there are none.
    none: AtomicWaker,
}

/// How the instance has ended; nothing while it lives.
#[derive(Default)]
struct Ended(OnceLock<CallError>);

impl Flows {
    /// Says that the instance ends now, and why: streams that are open break off with that. Must come before its store is
    /// dropped, which looks to them as if the guest had closed them.
    pub(in super::super::super) fn end(&self, why: impl FnOnce() -> CallError) {
        self.ended.0.get_or_init(why);
    }

    /// Ready when the guest has closed all of them.
    pub(in super::super::super) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.open.none.register(cx.waker());
        if self.open.count.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    fn writing(&self, place: Option<&Place>) -> (Writing, Arc<Written>) {
        let written = Arc::new(Written { whole: AtomicBool::new(false), ended: self.ended.clone() });
        self.open.count.fetch_add(1, Ordering::AcqRel);
        (Writing { written: written.clone(), open: self.open.clone(), _place: place.cloned() }, written)
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
    open: Arc<Open>,
    _place: Option<Place>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.written.ended.0.get().is_none() {
            self.written.whole.store(true, Ordering::Release);
        }
        if self.open.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.none.wake();
        }
    }
}

/// The reading end of a stream or a future that a guest gave away, by what it carries.
#[derive(Debug)]
pub(in super::super::super) enum GuestFlow {
    Bytes(StreamReader<u8>),
    Elements(StreamReader<Element>),
    Marks(StreamReader<()>),
    Value(FutureReader<Element>),
    Signal(FutureReader<()>),
}

impl GuestFlow {
    /// Reads it from now on, for whoever polls what this returns.
    pub(in super::super::super) fn pipe(
        self,
        mut store: impl AsContextMut<Data = Guest>,
        place: Option<&Place>,
    ) -> Result<Offered> {
        let (sender, receiver) = mpsc::channel(PIECES);
        let (writing, written) = store.as_context_mut().data().flows.writing(place);
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
        if bytes.is_empty() {
            // The room that was taken for it would hold the channel open for as long as the guest keeps its end.
            self.0.to.abort_send();
        } else {
            self.0.send(bytes);
        }
        self.0.writing = None;
        self.0.to.close();
        Poll::Ready(Ok(()))
    }
}
