//! The reading end of a stream.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use uuid::Uuid;

use super::{
    Piece, Streams,
    carrier::{Address, Letter},
    dispatcher::{Command, Event, Taken},
};
use crate::wire::{
    MIN_CHARGE,
    stream::{Frame, Meter, Receiver, StreamError},
};

/// A stream on its way here: its pieces, then its end. An error, or the lack of an end, means that it is not whole.
///
/// It holds at most one window of data. Dropping it before its end tells the sender to stop.
pub struct Incoming {
    streams: Streams,
    stream: Uuid,
    peer: Address,
    window: u64,
    meter: Meter,
    granted: Arc<AtomicU64>,
    queue: mpsc::Receiver<Event>,
    ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Incoming {
    pub(super) fn new(
        streams: Streams,
        stream: Uuid,
        peer: Address,
        window: u64,
        receiver: Receiver,
        place: OwnedSemaphorePermit,
    ) -> (Self, Taken) {
        let frames = usize::try_from(window / MIN_CHARGE).unwrap_or(usize::MAX);
        let (sender, queue) = mpsc::channel(frames + 1);
        let granted = Arc::new(AtomicU64::new(window));
        let taken = Taken { receiver, peer: peer.clone(), queue: sender, granted: granted.clone() };
        let meter = Meter::new(window);
        (Self { streams, stream, peer, window, meter, granted, queue, ended: false, _place: place }, taken)
    }
}

impl Stream for Incoming {
    type Item = Result<Piece, StreamError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = ready!(self.queue.poll_recv(cx));
        Poll::Ready(match event {
            Some(Event::Data(bytes)) => {
                if let Some(credit) = self.meter.used(bytes.len()) {
                    self.granted.store(credit, Ordering::Release);
                    let to = self.peer.clone();
                    self.streams.0.post(Letter { to, from: None, frame: Frame::Credit { credit } });
                }
                Some(Ok(Piece::Data(bytes)))
            }
            Some(Event::End { trailers }) => {
                self.ended = true;
                (!trailers.is_empty()).then_some(Ok(Piece::Trailers(trailers)))
            }
            Some(Event::Failed(error)) => {
                self.ended = true;
                Some(Err(error))
            }
            // The dispatcher has ended, and so has the connection.
            None => {
                self.ended = true;
                Some(Err(StreamError::Nobody))
            }
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let hub = &self.streams.0;
        hub.windows.fetch_sub(self.window, Ordering::Relaxed);
        if !self.ended {
            hub.command(Command::Left { stream: self.stream });
        }
    }
}
