//! Values on their way between a guest and a store. What a guest writes goes on at once; the store hears of its good end
//! only when the guest says `finish`.

use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, Stream, StreamExt};
use lattice::{
    trace::{self, under},
    wire::{CallError, MAX_MESSAGE},
};
use lattice_provider::{
    ByteStream,
    blobstore::{BlobError, Blobstore},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc};
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use super::{Answer, answer, bindings::wasi::blobstore::types};
use crate::runtime::guest::Guest;

/// What waits between a guest and the store, in bytes.
const BUFFER: usize = 1024 * 1024;
/// What one write may have, in bytes.
const MAX_WRITE: usize = 64 * 1024;
/// What a write costs beside its bytes: also tiny ones take memory where they wait.
const OVERHEAD: usize = 128;

/// What a guest holds as `incoming-value`.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct IncomingValue {
    pub(super) size: u64,
    pub(super) data: ByteStream,
}

/// What a guest holds as `outgoing-value`.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct OutgoingValue {
    sender: mpsc::UnboundedSender<Part>,
    begun: Arc<AtomicBool>,
    /// There until the guest has it.
    body: Option<Body>,
    /// There until it is written to an object. What the guest writes until then waits, as far as there is room.
    flow: Option<(Flow, End)>,
    writing: Option<AbortOnDropHandle<Result<(), BlobError>>>,
}

/// Part of a value. Data takes its room until the store has it.
enum Part {
    Data(Bytes, OwnedSemaphorePermit),
    End,
}

impl OutgoingValue {
    fn new() -> Self {
        // Bounded by the room.
        let (sender, parts) = mpsc::unbounded_channel();
        let (room, begun) = (Arc::new(Semaphore::new(BUFFER)), Arc::<AtomicBool>::default());
        let failed = Arc::<OnceLock<String>>::default();
        let body = Body { sender: sender.clone(), room: room.clone(), begun: begun.clone(), failed: failed.clone() };
        Self { sender, begun, body: Some(body), flow: Some((Flow(parts), End { room, failed })), writing: None }
    }

    /// Begins to write it to an object.
    pub(super) fn begin(&mut self, store: Arc<dyn Blobstore>, container: String, object: String) -> Result<(), String> {
        let (flow, end) = self.flow.take().ok_or("the value is written to an object already")?;
        self.begun.store(true, Ordering::Release);
        let writing = async move {
            let written = store.write(container, object, ByteStream::new(flow)).await;
            if let Err(error) = &written {
                let _ = end.failed.set(error.to_string());
            }
            written
        };
        self.writing = Some(AbortOnDropHandle::new(tokio::spawn(under(trace::place(), writing))));
        Ok(())
    }

    /// Says that it is whole, and waits until the store has it.
    async fn finish(self) -> Result<(), BlobError> {
        let Some(writing) = self.writing else { return Ok(()) };
        // Fails when the store has given up already, and says so below.
        let _ = self.sender.send(Part::End);
        writing.await.map_err(BlobError::other)?
    }
}

/// The way to a store. When it is dropped, the guest can write no more, and knows why: a store that has stopped to read may
/// still be about to say so, which is why this is not the flow's own.
struct End {
    room: Arc<Semaphore>,
    failed: Arc<OnceLock<String>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.room.close();
    }
}

/// A value on its way to the store.
struct Flow(mpsc::UnboundedReceiver<Part>);

impl Stream for Flow {
    type Item = Result<Bytes, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.0.poll_recv(cx)) {
            Some(Part::Data(bytes, _room)) => Some(Ok(bytes)),
            Some(Part::End) => None,
            None => Some(Err(CallError::Transport("the component has not finished the value".into()))),
        })
    }
}

/// What a guest writes a value to.
struct Body {
    sender: mpsc::UnboundedSender<Part>,
    room: Arc<Semaphore>,
    begun: Arc<AtomicBool>,
    /// What the store has said, when it does not take the value.
    failed: Arc<OnceLock<String>>,
}

impl Body {
    /// Why nothing can be written any more.
    fn ended(&self) -> StreamError {
        match self.failed.get() {
            Some(reason) => StreamError::LastOperationFailed(wasmtime::Error::msg(reason.clone())),
            None => StreamError::Closed,
        }
    }

    /// Whether nobody makes room until the guest does something else.
    fn is_stuck(&self) -> bool {
        !self.begun.load(Ordering::Acquire) && self.room.available_permits() < MAX_WRITE + OVERHEAD
    }
}

#[async_trait]
impl Pollable for Body {
    async fn ready(&mut self) {
        if !self.is_stuck() {
            // An error is the end, of which `check_write` tells.
            drop(self.room.acquire_many((MAX_WRITE + OVERHEAD) as u32).await);
        }
    }
}

impl OutputStream for Body {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > MAX_WRITE {
            return Err(StreamError::trap("a write of more bytes than were permitted"));
        }
        let room = self.room.clone().try_acquire_many_owned((bytes.len() + OVERHEAD) as u32);
        let room = room.map_err(|error| match error {
            TryAcquireError::Closed => self.ended(),
            TryAcquireError::NoPermits => StreamError::trap("a write of more bytes than were permitted"),
        })?;
        // A store that reads no more has not said yet why; when it has, the next write fails, or `finish`.
        let _ = self.sender.send(Part::Data(bytes, room));
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.room.is_closed() {
            return Err(self.ended());
        }
        if self.is_stuck() {
            let text = format!("a value of more than {BUFFER} bytes is written to before its `write-data`");
            return Err(StreamError::LastOperationFailed(wasmtime::Error::msg(text)));
        }
        Ok(if self.room.available_permits() < MAX_WRITE + OVERHEAD { 0 } else { MAX_WRITE })
    }
}

/// What a guest reads a value from.
struct Reading {
    data: ByteStream,
    /// The piece that it is at.
    piece: Bytes,
    end: Option<Result<(), CallError>>,
}

impl Reading {
    async fn fill(&mut self) {
        while self.piece.is_empty() && self.end.is_none() {
            match self.data.next().await {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => self.end = Some(Err(error)),
                None => self.end = Some(Ok(())),
            }
        }
    }
}

#[async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        self.fill().await;
    }
}

impl InputStream for Reading {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        // What is there already; whoever finds nothing waits for `ready`.
        let _ = self.fill().now_or_never();
        if !self.piece.is_empty() {
            return Ok(self.piece.split_to(size.min(self.piece.len())));
        }
        match &self.end {
            None => Ok(Bytes::new()),
            Some(Ok(())) => Err(StreamError::Closed),
            Some(Err(error)) => Err(StreamError::LastOperationFailed(wasmtime::Error::msg(error.to_string()))),
        }
    }
}

impl types::Host for Guest {}

impl types::HostOutgoingValue for Guest {
    async fn new_outgoing_value(&mut self) -> wasmtime::Result<Resource<OutgoingValue>> {
        Ok(self.table.push(OutgoingValue::new())?)
    }

    async fn outgoing_value_write_body(
        &mut self,
        value: Resource<OutgoingValue>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let Some(body) = self.table.get_mut(&value)?.body.take() else { return Ok(Err(())) };
        let body: DynOutputStream = Box::new(body);
        Ok(Ok(self.table.push(body)?))
    }

    async fn finish(&mut self, value: Resource<OutgoingValue>) -> Answer<()> {
        let value = self.table.delete(value)?;
        answer(value.finish().await)
    }

    async fn drop(&mut self, value: Resource<OutgoingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}

impl types::HostIncomingValue for Guest {
    async fn incoming_value_consume_sync(&mut self, value: Resource<IncomingValue>) -> Answer<Vec<u8>> {
        let IncomingValue { size, mut data } = self.table.delete(value)?;
        if size > MAX_MESSAGE as u64 {
            return Ok(Err(format!("{size} bytes are over the limit of {MAX_MESSAGE} bytes; read them as a stream")));
        }
        let mut whole = BytesMut::new();
        while let Some(piece) = data.next().await {
            match piece {
                Ok(piece) => whole.extend_from_slice(&piece),
                Err(error) => return Ok(Err(error.to_string())),
            }
            if whole.len() as u64 > size {
                return Ok(Err(format!("the store has sent more than the {size} bytes that it has promised")));
            }
        }
        Ok(Ok(whole.into()))
    }

    async fn incoming_value_consume_async(
        &mut self,
        value: Resource<IncomingValue>,
    ) -> Answer<Resource<DynInputStream>> {
        let IncomingValue { data, .. } = self.table.delete(value)?;
        let reading: DynInputStream = Box::new(Reading { data, piece: Bytes::new(), end: None });
        Ok(Ok(self.table.push(reading)?))
    }

    async fn size(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&value)?.size)
    }

    async fn drop(&mut self, value: Resource<IncomingValue>) -> wasmtime::Result<()> {
        self.table.delete(value)?;
        Ok(())
    }
}
