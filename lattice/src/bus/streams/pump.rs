//! The task that sends an offered stream: waits until it is taken, then moves pieces as the receiver has room.

use std::{pin::Pin, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc, oneshot},
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    Leave, Source, Streams,
    carrier::{Address, Arrival, Letter},
    dispatcher::Command,
    gather::Gather,
};
use crate::wire::{
    CallError, OFFER_LAPSE, SILENCE,
    stream::{Frame, Heard, Sender, StreamError},
};

/// Frames of the receiver that wait for a pump.
pub(super) const FRAMES: usize = 32;
/// How often a pump looks for what is due.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Pump {
    streams: Streams,
    me: Address,
    gather: Gather,
    frames: mpsc::Receiver<Arrival>,
    hold: Hold,
    _place: OwnedSemaphorePermit,
}

/// What has become of the [`Offer`](super::Offer).
enum Hold {
    Held(oneshot::Receiver<Leave>),
    /// It was left; nobody will say more.
    Left,
}

impl Hold {
    /// How the offer was left, once it is not held any more; `None` when it was dropped. Then never again.
    async fn changed(&mut self) -> Option<Leave> {
        match self {
            Self::Held(held) => {
                let how = held.await.ok();
                *self = Self::Left;
                how
            }
            Self::Left => std::future::pending().await,
        }
    }
}

async fn rings(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

impl Pump {
    pub(super) fn new(
        streams: Streams,
        me: Address,
        source: Source,
        frames: mpsc::Receiver<Arrival>,
        held: oneshot::Receiver<Leave>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let gather = Gather::new(source, streams.0.carrier.chunk());
        Self { streams, me, gather, frames, hold: Hold::Held(held), _place: place }
    }

    pub(super) async fn run(mut self) {
        if let Some((peer, credit)) = self.taken().await {
            let mut sender = Sender::taken(credit, self.streams.0.now());
            if let Err(error) = self.flow(&peer, &mut sender).await {
                tracing::debug!(%error, peer = %peer.ticket, "a stream was not sent to its end");
                let told = match error {
                    // The receiver knows, or is not there.
                    StreamError::Cancelled(_) | StreamError::Nobody => None,
                    other => Some(CallError::from(other)),
                };
                if let Some(error) = told {
                    self.streams.0.post(Letter { to: peer, from: None, frame: sender.fail(error) });
                }
            }
        }
        self.streams.0.command(Command::Left { stream: self.me.ticket.stream });
    }

    /// Waits for somebody to take the stream: who, and with what credit. Nobody does when the offer is dropped or lapses.
    async fn taken(&mut self) -> Option<(Address, u64)> {
        let mut lapse = None;
        loop {
            // Cancel-safe: all arms only wait.
            tokio::select! {
                biased;
                arrival = self.frames.recv() => {
                    if let Arrival { from: Some(from), frame: Ok(Frame::Take { credit }), .. } = arrival? {
                        return Some((from, credit));
                    }
                }
                how = self.hold.changed() => match how {
                    Some(Leave::Open) => lapse = Some(Box::pin(sleep(OFFER_LAPSE))),
                    Some(Leave::Settled) | None => return None,
                },
                () = rings(&mut lapse) => return None,
            }
        }
    }

    /// Sends everything; returns when the receiver has it.
    async fn flow(&mut self, peer: &Address, sender: &mut Sender) -> Result<(), StreamError> {
        let mut clock = Box::pin(sleep(LOOK));
        let mut ended = false;
        loop {
            while let Some(piece) = self.gather.next(sender.room()) {
                let frame = sender.data(piece, self.streams.0.now());
                self.send(peer, frame).await?;
            }
            let sent = self.gather.ready.is_empty();
            if sent
                && !ended
                && let Some(end) = self.gather.end.clone()
            {
                ended = true;
                let frame = sender.end(end.map_err(StreamError::Failed)?, self.streams.0.now());
                self.send(peer, frame).await?;
            }
            let wants = sent && !ended && sender.room() > 0;
            // Cancel-safe: what was gathered is kept, and the other arms only wait. What the receiver says goes before
            // the clock, and both before a source that may always be ready.
            tokio::select! {
                biased;
                arrival = self.frames.recv() => {
                    if self.heard(peer, arrival, sender)? == Heard::Done {
                        return Ok(());
                    }
                }
                how = self.hold.changed() => {
                    if how.is_none() {
                        let gone = CallError::Transport("the sender gave the stream up".into());
                        return Err(StreamError::Failed(gone));
                    }
                }
                () = &mut clock => {
                    clock.as_mut().reset(Instant::now() + LOOK);
                    if let Some(frame) = sender.on_time(self.streams.0.now())? {
                        self.send(peer, frame).await?;
                    }
                }
                () = std::future::poll_fn(|cx| self.gather.poll(cx)), if wants => {}
            }
        }
    }

    fn heard(&self, peer: &Address, arrival: Option<Arrival>, sender: &mut Sender) -> Result<Heard, StreamError> {
        let Arrival { from, frame, .. } = arrival.ok_or(StreamError::Nobody)?;
        match from {
            // A stream has one receiver.
            Some(other) if other.ticket != peer.ticket => {
                let error = CallError::Transport("somebody else has taken the stream".into());
                self.streams.0.post(Letter { to: other, from: None, frame: Frame::Fail { error } });
                Ok(Heard::Nothing)
            }
            _ => sender.on_frame(frame?, self.streams.0.now()),
        }
    }

    /// While NATS is away this waits, but no longer than a receiver would.
    async fn send(&mut self, peer: &Address, frame: Frame) -> Result<(), StreamError> {
        // When nobody is there for data, the server says so at once.
        let from = matches!(frame, Frame::Data { .. }).then(|| self.me.clone());
        let letter = Letter { to: peer.clone(), from, frame };
        timeout(SILENCE, self.streams.0.carrier.send(letter)).await.unwrap_or(Err(StreamError::Silent))
    }
}
