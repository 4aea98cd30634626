//! Streams between processes, by the protocol of [`wire::stream`](crate::wire::stream).
//!
//! ```text
//! pump, one per offer     a source of pieces, frames of its receiver   -> data frames
//! dispatcher              all frames for this process, a clock         -> pumps; queues of those who read; the outbox
//! publisher               the outbox: credits, signs of life, ends     -> frames
//! ```
//!
//! The dispatcher never waits: what it hands on has room, because the credit was given for it, and what it sends goes
//! through the outbox. So one slow reader, or NATS being away, holds up nobody else. All three begin with the first
//! stream of the process.

mod carrier;
mod dispatcher;
mod exchange;
mod gather;
mod in_values;
mod incoming;
mod pump;
#[cfg(test)]
mod tests;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::{OnceCell, Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::{
    carrier::{Address, Carrier, Letter},
    dispatcher::{Command, Dispatcher},
    pump::Pump,
};
pub use self::{
    exchange::{Exchange, HandedOut, Taker, gather},
    incoming::Incoming,
};
use crate::wire::{
    CallError, LatticeName, MAX_GATHERED, MAX_STREAMS, MIN_WINDOW, Ticket, WINDOW, WINDOWS, stream::Receiver,
};

/// What a stream is made of: data, and at its end perhaps trailers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Data(Bytes),
    /// At most [`MAX_TRAILERS`](crate::wire::MAX_TRAILERS) bytes, whatever they mean; nothing follows them.
    Trailers(Bytes),
}

/// Where the pieces of an offered stream come from. An error ends the stream with that error on the other side.
pub type Source = Pin<Box<dyn Stream<Item = Result<Piece, CallError>> + Send>>;

/// Frames that wait to be sent. When it is full they are dropped: credits are repeated, and the loss of others is seen.
const OUTBOX: usize = 1024;
/// The unit in which payloads that are put together are counted, in bytes.
const GATHER_UNIT: usize = 1024;

/// Makes [`Streams`] when they are first needed.
#[derive(Clone)]
pub(super) struct LazyStreams {
    road: Option<async_nats::Client>,
    lattice: LatticeName,
    /// By which the process is known, where that was settled by somebody else.
    process: Option<Uuid>,
    cell: Arc<OnceCell<Streams>>,
}

impl LazyStreams {
    /// Over NATS, or inside this process when there is no client.
    pub(super) fn new(lattice: LatticeName, road: Option<async_nats::Client>, process: Option<Uuid>) -> Self {
        Self { road, lattice, process, cell: Arc::default() }
    }

    pub(super) async fn get(&self) -> Result<Streams, CallError> {
        let made = self.cell.get_or_try_init(|| Streams::start(&self.lattice, self.road.as_ref(), self.process));
        made.await.cloned()
    }

    /// Waits until all that was offered has ended. Whoever waits sets a limit.
    pub(super) async fn settled(&self) {
        if let Some(Streams(hub)) = self.cell.get() {
            hub.pumps.close();
            hub.pumps.wait().await;
        }
    }
}

/// The streams of this process. A cheap handle.
#[derive(Clone)]
pub struct Streams(Arc<Hub>);

struct Hub {
    process: Uuid,
    lattice: LatticeName,
    began: Instant,
    carrier: Carrier,
    /// Without a bound in type, with one in fact: each stream sends two, and [`MAX_STREAMS`] bounds the streams.
    commands: mpsc::UnboundedSender<Command>,
    outbox: mpsc::Sender<Letter>,
    places: Arc<Semaphore>,
    /// The sum of the windows of all incoming streams, in bytes.
    windows: AtomicU64,
    /// What is left for payloads that are put together, in units of 1 KiB.
    gathered: Arc<Semaphore>,
    pumps: TaskTracker,
}

impl Streams {
    async fn start(
        lattice: &LatticeName,
        client: Option<&async_nats::Client>,
        process: Option<Uuid>,
    ) -> Result<Self, CallError> {
        let process = process.unwrap_or_else(Uuid::now_v7);
        let (carrier, inbox) = match client {
            Some(client) => Carrier::nats(client, lattice, process).await?,
            None => Carrier::memory(process),
        };
        let (commands, received) = mpsc::unbounded_channel();
        let (outbox, letters) = mpsc::channel(OUTBOX);
        let hub = Hub {
            process,
            lattice: lattice.clone(),
            began: Instant::now(),
            carrier: carrier.clone(),
            commands,
            outbox: outbox.clone(),
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
            windows: AtomicU64::new(0),
            gathered: Arc::new(Semaphore::new(MAX_GATHERED / GATHER_UNIT)),
            pumps: TaskTracker::new(),
        };
        tokio::spawn(carrier.publish(letters));
        tokio::spawn(Dispatcher::new(inbox, outbox, hub.began).run(received));
        Ok(Self(Arc::new(hub)))
    }

    /// Offers a stream. Nothing is asked of `source` before somebody takes the stream and has room for it.
    ///
    /// Dropping the offer withdraws it, and ends the stream with an error when it is under way; [`Offer::leave`] lets it
    /// go on without.
    pub fn offer(&self, source: Source) -> Result<Offer, CallError> {
        let hub = &self.0;
        let place = hub.place()?;
        let ticket = Ticket { process: hub.process, stream: Uuid::now_v7() };
        let (control, frames) = mpsc::channel(pump::FRAMES);
        let (hold, held) = oneshot::channel();
        hub.command(Command::Offered { stream: ticket.stream, control });
        let me = Address::new(&hub.lattice, ticket);
        hub.pumps.spawn(Pump::new(self.clone(), me, source, frames, held, place).run());
        Ok(Offer { ticket, hold: Some(hold) })
    }

    /// Takes a stream that another process offers. Dropping what this returns tells the sender to stop.
    pub fn take(&self, ticket: &Ticket) -> Result<Incoming, CallError> {
        let hub = &self.0;
        let place = hub.place()?;
        let window = hub.window();
        let (receiver, take) = Receiver::take(window, hub.now());
        let own = Ticket { process: hub.process, stream: Uuid::now_v7() };
        let (me, peer) = (Address::new(&hub.lattice, own), Address::new(&hub.lattice, *ticket));
        let (incoming, taken) = Incoming::new(self.clone(), own.stream, peer.clone(), window, receiver, place);
        // In this order: the answer finds the stream known.
        hub.command(Command::Taken { stream: own.stream, taken: Box::new(taken) });
        hub.post(Letter { to: peer, from: Some(me), frame: take });
        Ok(incoming)
    }

    /// Room for a payload of `length` bytes that is put together in memory, until the permit is dropped.
    pub(super) fn room_for(&self, length: u64) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let units = u32::try_from(length.div_ceil(GATHER_UNIT as u64)).ok()?;
        self.0.gathered.clone().try_acquire_many_owned(units).ok()
    }
}

impl Hub {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn place(&self) -> Result<tokio::sync::OwnedSemaphorePermit, CallError> {
        let full = |_| CallError::Overloaded(format!("this process (it has {MAX_STREAMS} streams under way)"));
        self.places.clone().try_acquire_owned().map_err(full)
    }

    /// An eighth of what is left of all windows: the first streams get whole ones, and many get small ones.
    fn window(&self) -> u64 {
        let share = |used: u64| (WINDOWS.saturating_sub(used) / 8).clamp(MIN_WINDOW, WINDOW);
        let add = |used: u64| Some(used + share(used));
        // The closure always gives a value.
        let (Ok(used) | Err(used)) = self.windows.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        share(used)
    }

    /// Fails only when the dispatcher has ended: then all streams have, with an error.
    fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Sends a frame soon, or not at all when very many wait.
    fn post(&self, letter: Letter) {
        let _ = self.outbox.try_send(letter);
    }
}

/// A stream that is offered, or under way. Dropping it withdraws the stream.
#[derive(Debug)]
pub struct Offer {
    ticket: Ticket,
    hold: Option<oneshot::Sender<Leave>>,
}

/// How a stream goes on without its offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    /// It may still be taken, within [`OFFER_LAPSE`](crate::wire::OFFER_LAPSE).
    Open,
    /// It goes on if it was taken.
    Settled,
}

impl Offer {
    /// What somebody takes the stream with.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Leaves the stream to itself. It lapses when nobody takes it within [`OFFER_LAPSE`](crate::wire::OFFER_LAPSE).
    pub fn leave(mut self) -> Ticket {
        self.let_go(Leave::Open);
        self.ticket
    }

    /// Leaves the stream to itself if somebody has taken it, else withdraws it.
    pub fn settle(mut self) {
        self.let_go(Leave::Settled);
    }

    fn let_go(&mut self, how: Leave) {
        if let Some(hold) = self.hold.take() {
            // Nobody hears it when the stream has ended already.
            let _ = hold.send(how);
        }
    }
}
