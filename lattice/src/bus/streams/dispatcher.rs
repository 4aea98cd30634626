//! The task that hands every frame to its stream.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::carrier::{Address, Arrival, Inbox, Letter};
use crate::wire::{
    CallError,
    stream::{Arrived, Frame, Receiver, StreamError},
};

/// How often the dispatcher looks for what is due.
const LOOK: Duration = Duration::from_millis(500);
/// Pieces below this size are copied, in bytes: a slice of NATS's read buffer would keep all of the buffer in memory.
const COPIED: usize = 16 * 1024;

/// What the rest of the process tells the dispatcher.
pub(super) enum Command {
    Offered {
        stream: Uuid,
        control: mpsc::Sender<Arrival>,
    },
    Taken {
        stream: Uuid,
        taken: Box<Taken>,
    },
    /// Whoever had this end of the stream is done with it.
    Left {
        stream: Uuid,
    },
}

/// What a reader gets.
pub(super) enum Event {
    Data(Bytes),
    End { trailers: Bytes },
    Failed(StreamError),
}

/// A stream that somebody here reads.
pub(super) struct Taken {
    pub(super) receiver: Receiver,
    pub(super) peer: Address,
    /// Has room for all that the credit allows, and for the end.
    pub(super) queue: mpsc::Sender<Event>,
    /// The credit that the reader has granted.
    pub(super) granted: Arc<AtomicU64>,
}

enum End {
    Offered(mpsc::Sender<Arrival>),
    Taken(Box<Taken>),
}

pub(super) struct Dispatcher {
    inbox: Inbox,
    outbox: mpsc::Sender<Letter>,
    began: Instant,
    ends: HashMap<Uuid, End>,
}

impl Dispatcher {
    pub(super) fn new(inbox: Inbox, outbox: mpsc::Sender<Letter>, began: Instant) -> Self {
        Self { inbox, outbox, began, ends: HashMap::new() }
    }

    /// Ends when nobody can offer or take a stream any more, or the connection is closed for good.
    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Commands first: a stream is known before its frames come. Frames before the clock: what was heard counts
            // before anybody is called silent. Cancel-safe: all arms only wait.
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                arrival = self.inbox.next() => match arrival {
                    Some(arrival) => self.arrived(arrival),
                    // The queues close, which their readers take for an error.
                    None => return,
                },
                _ = clock.tick() => self.look(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Offered { stream, control } => drop(self.ends.insert(stream, End::Offered(control))),
            Command::Taken { stream, taken } => drop(self.ends.insert(stream, End::Taken(taken))),
            Command::Left { stream } => {
                if let Some(End::Taken(taken)) = self.ends.remove(&stream) {
                    self.post(taken.peer, Frame::Cancel { reason: "its reader has gone".into() });
                }
            }
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let stream = arrival.stream;
        match self.ends.get_mut(&stream) {
            None => {
                if let (Some(from), Ok(Frame::Take { .. })) = (arrival.from, arrival.frame) {
                    let gone = "the stream is not offered any more: it has ended, or it lapsed".to_owned();
                    self.post(from, Frame::Fail { error: CallError::Transport(gone) });
                }
            }
            // A pump that gets too many at once loses credits, which are repeated.
            Some(End::Offered(control)) => drop(control.try_send(arrival)),
            Some(End::Taken(taken)) => {
                let now = self.began.elapsed();
                match taken.arrived(arrival.frame, now) {
                    Ok(None) => {}
                    Ok(Some(done)) => {
                        let peer = taken.peer.clone();
                        self.ends.remove(&stream);
                        self.post(peer, done);
                    }
                    Err(error) => self.fail(stream, error),
                }
            }
        }
    }

    /// Ends a stream that is read here with an error, for the reader and for the sender.
    fn fail(&mut self, stream: Uuid, error: StreamError) {
        let Some(End::Taken(taken)) = self.ends.remove(&stream) else { return };
        tracing::debug!(%error, peer = %taken.peer.ticket, "a stream failed");
        if !matches!(error, StreamError::Failed(_) | StreamError::Nobody) {
            self.post(taken.peer, Frame::Cancel { reason: error.to_string() });
        }
        // There is room; it fails only when the reader has gone.
        let _ = taken.queue.try_send(Event::Failed(error));
    }

    fn look(&mut self) {
        // A pump whose source panicked did not say that it ended.
        self.ends.retain(|_, end| !matches!(end, End::Offered(control) if control.is_closed()));
        let now = self.began.elapsed();
        let mut failed = Vec::new();
        for (stream, end) in &mut self.ends {
            let End::Taken(taken) = end else { continue };
            taken.receiver.grant(taken.granted.load(Ordering::Acquire));
            match taken.receiver.on_time(now) {
                Ok(None) => {}
                Ok(Some(frame)) => drop(self.outbox.try_send(Letter { to: taken.peer.clone(), from: None, frame })),
                Err(error) => failed.push((*stream, error)),
            }
        }
        for (stream, error) in failed {
            self.fail(stream, error);
        }
    }

    fn post(&self, to: Address, frame: Frame) {
        // What is lost here the other side finds out by the silence that follows.
        let _ = self.outbox.try_send(Letter { to, from: None, frame });
    }
}

impl Taken {
    /// Hands on what came. Gives the answer when that was the end.
    fn arrived(&mut self, frame: Result<Frame, StreamError>, now: Duration) -> Result<Option<Frame>, StreamError> {
        self.receiver.grant(self.granted.load(Ordering::Acquire));
        let (event, answer) = match self.receiver.on_frame(frame?, now)? {
            Arrived::Nothing => return Ok(None),
            Arrived::Data(bytes) if bytes.len() < COPIED => (Event::Data(Bytes::copy_from_slice(&bytes)), None),
            Arrived::Data(bytes) => (Event::Data(bytes), None),
            Arrived::End { trailers } => (Event::End { trailers }, Some(Frame::Done)),
        };
        match self.queue.try_send(event) {
            Ok(()) => Ok(answer),
            Err(_) => Err(StreamError::Cancelled("its reader has gone".into())),
        }
    }
}
