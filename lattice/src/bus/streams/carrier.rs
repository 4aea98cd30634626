//! What carries frames: NATS, or a channel inside this process.

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    bus::rpc::round_trip,
    wire::{
        CHUNK, CallError, LatticeName, PAYLOAD_HEADROOM, ProcessStreams, StreamSubject, Ticket, header,
        stream::{Frame, StreamError, StreamFrameError},
    },
};

/// One end of a stream, with its subject made once.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) ticket: Ticket,
    subject: Subject,
}

impl Address {
    pub(super) fn new(lattice: &LatticeName, ticket: Ticket) -> Self {
        Self { ticket, subject: StreamSubject { lattice: lattice.clone(), ticket }.to_string().into() }
    }
}

/// A frame to be sent.
pub(super) struct Letter {
    pub(super) to: Address,
    /// Where the server answers when nobody listens.
    pub(super) from: Option<Address>,
    pub(super) frame: Frame,
}

/// What came for one of our streams.
pub(super) struct Arrival {
    pub(super) stream: Uuid,
    /// The other end, when the frame says so.
    pub(super) from: Option<Address>,
    pub(super) frame: Result<Frame, StreamError>,
}

/// Frames on their way inside this process.
const MEMORY: usize = 256;

#[derive(Clone)]
pub(super) enum Carrier {
    Nats(Client),
    Memory { process: Uuid, inbox: mpsc::Sender<Arrival> },
}

/// Where frames arrive.
pub(super) enum Inbox {
    Nats { subscriber: Subscriber, ours: ProcessStreams, lattice: LatticeName },
    Memory(mpsc::Receiver<Arrival>),
}

impl Carrier {
    pub(super) async fn nats(
        client: &Client,
        lattice: &LatticeName,
        process: Uuid,
    ) -> Result<(Self, Inbox), CallError> {
        let ours = ProcessStreams::new(lattice, process);
        let transport = |reason: String| CallError::Transport(reason);
        let subscriber = client.subscribe(ours.to_string()).await.map_err(|e| transport(e.to_string()))?;
        // The first frames must find the subscription known to the server.
        round_trip(client).await.map_err(transport)?;
        Ok((Self::Nats(client.clone()), Inbox::Nats { subscriber, ours, lattice: lattice.clone() }))
    }

    pub(super) fn memory(process: Uuid) -> (Self, Inbox) {
        let (sender, receiver) = mpsc::channel(MEMORY);
        (Self::Memory { process, inbox: sender }, Inbox::Memory(receiver))
    }

    /// The largest piece of data in one frame, in bytes.
    pub(super) fn chunk(&self) -> usize {
        match self {
            Self::Nats(client) => CHUNK.min(client.max_payload().saturating_sub(PAYLOAD_HEADROOM)).max(1),
            Self::Memory { .. } => CHUNK,
        }
    }

    /// Sends a frame; waits while very much waits to be sent.
    pub(super) async fn send(&self, letter: Letter) -> Result<(), StreamError> {
        let Letter { to, from, frame } = letter;
        let client = match self {
            Self::Nats(client) => client,
            Self::Memory { process, inbox } => {
                let arrival = match from {
                    from if to.ticket.process == *process => {
                        Arrival { stream: to.ticket.stream, from, frame: Ok(frame) }
                    }
                    Some(from) => Arrival { stream: from.ticket.stream, from: None, frame: Err(StreamError::Nobody) },
                    None => return Ok(()),
                };
                return inbox.send(arrival).await.map_err(|_| StreamError::Nobody);
            }
        };
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static(header::STREAM), HeaderValue::from(frame.head()));
        let payload = frame.payload();
        let sent = match from {
            Some(from) => client.publish_with_reply_and_headers(to.subject, from.subject, headers, payload).await,
            None => client.publish_with_headers(to.subject, headers, payload).await,
        };
        sent.map_err(|error| StreamError::Failed(CallError::Transport(error.to_string())))
    }

    /// Sends what is in the outbox, until nobody can put anything into it.
    pub(super) async fn publish(self, mut outbox: mpsc::Receiver<Letter>) {
        while let Some(letter) = outbox.recv().await {
            if let Err(error) = self.send(letter).await {
                tracing::debug!(%error, "cannot send a frame");
            }
        }
    }
}

impl Inbox {
    /// The next frame; `None` when there can be no more. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Arrival> {
        match self {
            Self::Memory(receiver) => receiver.recv().await,
            Self::Nats { subscriber, ours, lattice } => loop {
                let message = subscriber.next().await?;
                // Other subjects do not come by this subscription, but a token need not be one of ours.
                if let Some(stream) = ours.stream(&message.subject) {
                    return Some(arrival(stream, message, lattice));
                }
            },
        }
    }
}

fn arrival(stream: Uuid, message: Message, lattice: &LatticeName) -> Arrival {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Arrival { stream, from: None, frame: Err(StreamError::Nobody) };
    }
    let head = message.headers.as_ref().and_then(|headers| headers.get(HeaderName::from_static(header::STREAM)));
    let frame = match head {
        Some(head) => Frame::parse(head.as_str(), message.payload),
        None => Err(StreamFrameError::Missing),
    };
    // Only who takes a stream is answered where it says. An address outside the streams of this lattice is none.
    let from = match &frame {
        Ok(Frame::Take { .. }) => message.reply.and_then(|reply| reply.as_str().parse::<StreamSubject>().ok()),
        _ => None,
    };
    let from = from.filter(|from| from.lattice == *lattice).map(|from| Address::new(lattice, from.ticket));
    Arrival { stream, from, frame: frame.map_err(StreamError::from) }
}
