//! The only room that opens a NATS connection: calls, the typed store and artifacts. The same API exists in memory,
//! for tests that need no server.
//!
//! ```
//! # use lattice::bus::{Bus, Table};
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let bus = Bus::memory("default".parse().unwrap());
//! let words: Table<String> = bus.store().table("words");
//! let revision = words.create("greeting", &"hello".to_owned()).await.unwrap();
//! assert!(words.update("greeting", &"good day".to_owned(), revision).await.is_ok());
//! assert!(words.update("greeting", &"too late".to_owned(), revision).await.is_err());
//! # });
//! ```

mod account;
mod artifacts;
mod buckets;
mod condition;
mod connect;
mod feed;
mod memory;
mod nats_store;
mod payload;
mod rpc;
mod store;
mod streams;
mod table;
mod watched;
mod weather;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;

pub use self::{
    account::{Issuer, IssuerError, Permissions, signed},
    artifacts::{ArtifactError, Artifacts, MAX_ARTIFACT, Stored},
    buckets::own_streams,
    condition::{NatsCondition, StreamCondition},
    connect::{ConnectError, NatsOptions},
    rpc::{CallHandler, Pace, Serving, within},
    store::{Expect, Store, StoreError, WatchEvent},
    streams::{Exchange, HandedOut, Incoming, Offer, Piece, Source, Streams, Taker, gather},
    table::{Entry, Table, View},
    weather::Weather,
};
use self::{buckets::Buckets, connect::Urgency, rpc::LazyBundles, streams::LazyStreams};
pub use crate::wire::value::Pieces;
use crate::{
    model::event::Event,
    wire::{CallError, CallHead, CallSubject, LatticeName, Served, Ticket},
};

/// How long a flush may take, and what is left of streams before it.
const FLUSH: Duration = Duration::from_secs(2);
/// How long a call waits for a connection: so that another server of a cluster can take over. What is sent without one goes
/// out when it is back, when its caller may long have been told that it failed.
const RECONNECT: Duration = Duration::from_secs(2);

/// A cheap handle to one lattice.
#[derive(Clone)]
pub struct Bus {
    lattice: LatticeName,
    road: Road,
    store: Store,
    artifacts: Artifacts,
    streams: LazyStreams,
    exchange: Exchange,
    connected: watch::Receiver<bool>,
}

/// What carries the messages.
#[derive(Clone)]
enum Road {
    Nats(Arc<Nats>),
    Memory(Arc<memory::Switchboard>),
}

/// A connection, and what shares its messages.
struct Nats {
    client: async_nats::Client,
    domain: Option<String>,
    bundles: LazyBundles,
}

impl Road {
    fn nats(client: async_nats::Client, options: &NatsOptions, lattice: &LatticeName) -> Self {
        let bundles = LazyBundles::new(client.clone(), lattice.clone());
        Self::Nats(Arc::new(Nats { client, domain: options.domain.clone(), bundles }))
    }
}

impl Bus {
    /// Connects to NATS and makes sure that the lattice's buckets exist.
    pub async fn connect(options: &NatsOptions, lattice: LatticeName, name: &str) -> Result<Self, ConnectError> {
        let (client, connected) = connect::connect(options, name, Urgency::Now).await?;
        let buckets = Buckets::new(&client, &connected, options.domain.as_deref(), &lattice);
        buckets.open().await?;
        Ok(Self::on_nats(client, connected, buckets, options, lattice))
    }

    /// As [`connect`](Self::connect), for who has to go on without NATS: it is connected to as soon as it can be reached. Until
    /// then the store and the artifacts are unavailable, and calls fail. Only what is wrong with `options` is an error.
    pub async fn connect_later(options: &NatsOptions, lattice: LatticeName, name: &str) -> Result<Self, ConnectError> {
        let (client, connected) = connect::connect(options, name, Urgency::Later).await?;
        let buckets = Buckets::new(&client, &connected, options.domain.as_deref(), &lattice);
        Ok(Self::on_nats(client, connected, buckets, options, lattice))
    }

    fn on_nats(
        client: async_nats::Client,
        connected: watch::Receiver<bool>,
        buckets: Buckets,
        options: &NatsOptions,
        lattice: LatticeName,
    ) -> Self {
        let buckets = Arc::new(buckets);
        let (store, artifacts) = (Store(buckets.clone()), Artifacts::nats(buckets));
        let streams = LazyStreams::new(lattice.clone(), Some(client.clone()), options.process);
        let exchange = Exchange::new(streams.clone(), connected.clone());
        let road = Road::nats(client, options, &lattice);
        Self { lattice, road, store, artifacts, streams, exchange, connected }
    }

    /// Connects to NATS for calls alone: what a provider process needs and may be permitted.
    pub async fn connect_for_calls(
        options: &NatsOptions,
        lattice: LatticeName,
        name: &str,
    ) -> Result<Self, ConnectError> {
        let (client, connected) = connect::connect(options, name, Urgency::Now).await?;
        let away = Bus::memory(lattice.clone());
        let streams = LazyStreams::new(lattice.clone(), Some(client.clone()), options.process);
        let exchange = Exchange::new(streams.clone(), connected.clone());
        Ok(Self { road: Road::nats(client, options, &lattice), streams, exchange, connected, ..away })
    }

    /// A lattice inside this process.
    pub fn memory(lattice: LatticeName) -> Self {
        let switchboard = Arc::<memory::Switchboard>::default();
        let (store, artifacts) = memory::open();
        let connected = switchboard.connected.subscribe();
        let streams = LazyStreams::new(lattice.clone(), None, None);
        let exchange = Exchange::new(streams.clone(), connected.clone());
        Self { lattice, road: Road::Memory(switchboard), store, artifacts, streams, exchange, connected }
    }

    pub fn lattice(&self) -> &LatticeName {
        &self.lattice
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn artifacts(&self) -> &Artifacts {
        &self.artifacts
    }

    /// Whether NATS answers now; changes wake the receiver.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    /// The connection, for a backend that stores its data in NATS itself.
    pub fn nats(&self) -> Option<&async_nats::Client> {
        match &self.road {
            Road::Nats(nats) => Some(&nats.client),
            Road::Memory(_) => None,
        }
    }

    /// JetStream, in the domain that keeps the lattice; the same.
    pub fn jetstream(&self) -> Option<async_nats::jetstream::Context> {
        match &self.road {
            Road::Nats(nats) => Some(connect::jetstream(nats.client.clone(), nats.domain.as_deref())),
            Road::Memory(_) => None,
        }
    }

    /// The largest payload of one message, in bytes, with room left for headers. Larger ones of calls and replies go as
    /// a stream, up to [`MAX_MESSAGE`](crate::wire::MAX_MESSAGE).
    pub fn max_payload(&self) -> usize {
        match &self.road {
            Road::Nats(nats) => nats.client.max_payload().saturating_sub(crate::wire::PAYLOAD_HEADROOM),
            Road::Memory(_) => crate::wire::MAX_MESSAGE,
        }
    }

    /// The streams of this process. The first time this waits until NATS knows where their frames go.
    pub async fn streams(&self) -> Result<Streams, CallError> {
        self.streams.get().await
    }

    /// Offers a stream to whoever gets its ticket, see [`Streams::offer`].
    pub async fn offer(&self, source: Source) -> Result<Offer, CallError> {
        self.streams.get().await?.offer(source)
    }

    /// Takes a stream that was offered, see [`Streams::take`].
    pub async fn take(&self, ticket: &Ticket) -> Result<Incoming, CallError> {
        self.streams.get().await?.take(ticket)
    }

    /// Where the streams that values carry are offered and taken.
    pub fn exchange(&self) -> Exchange {
        self.exchange.clone()
    }

    /// One call: returns the reply's payload, or an error within `head.deadline`; before that, when the callee's process
    /// ends. Dropping it before it is done ends the call at the callee too.
    pub async fn call(&self, subject: &CallSubject, head: &CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        match &self.road {
            Road::Nats(nats) => {
                self.reachable(head.deadline).await?;
                rpc::call(&nats.client, &self.streams, None, subject, head, payload).await
            }
            Road::Memory(switchboard) => switchboard.call(subject, head, payload).await,
        }
    }

    /// Waits until there is a connection, but not for long.
    async fn reachable(&self, deadline: Duration) -> Result<(), CallError> {
        if *self.connected.borrow() {
            return Ok(());
        }
        let mut connected = self.connected.clone();
        match tokio::time::timeout(RECONNECT.min(deadline), connected.wait_for(|there| *there)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(CallError::Transport("there is no connection to NATS; the call was not sent".to_owned())),
        }
    }

    /// The same, for one of several calls under way to an instance that takes bundles: where they come together they
    /// share messages, which costs each of them less. A lone call is quicker by itself.
    pub async fn call_together(
        &self,
        subject: &CallSubject,
        head: &CallHead,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        match &self.road {
            Road::Nats(nats) => {
                self.reachable(head.deadline).await?;
                rpc::call(&nats.client, &self.streams, Some(&nats.bundles), subject, head, payload).await
            }
            Road::Memory(switchboard) => switchboard.call(subject, head, payload).await,
        }
    }

    /// Tells an event to whoever listens. Without a connection nobody does, and it is not told later either.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn announce(&self, event: &Event) -> Result<(), CallError> {
        let Road::Nats(nats) = &self.road else { return Ok(()) };
        if !*self.connected.borrow() {
            return Err(CallError::Transport("there is no connection to NATS".to_owned()));
        }
        let kind = event.kind.strip_prefix("lattice.").unwrap_or(&event.kind);
        let subject = crate::wire::event(&self.lattice, kind);
        let payload = serde_json::to_vec(event).map_err(|error| CallError::BadMessage(error.to_string()))?;
        let sent = nats.client.publish(subject, payload.into()).await;
        sent.map_err(|error| CallError::Transport(error.to_string()))
    }

    /// Whether somebody listens where calls of an instance are sent; unless it is certain that nobody does.
    pub async fn listens(&self, subject: &CallSubject) -> bool {
        match &self.road {
            Road::Nats(nats) => rpc::probe(&nats.client, subject).await.is_ok(),
            Road::Memory(_) => true,
        }
    }

    /// Answers calls to one instance until the returned handle is drained or dropped. When this returns, the server
    /// knows of the subscription.
    pub async fn serve(
        &self,
        served: &Served,
        handler: Arc<dyn CallHandler>,
        pace: Pace,
    ) -> Result<Serving, CallError> {
        match &self.road {
            Road::Nats(nats) => rpc::serve(nats.client.clone(), self.streams.clone(), served, handler, pace).await,
            Road::Memory(switchboard) => Ok(switchboard.serve(served, handler)),
        }
    }

    /// Waits until the server has seen all that was sent so far, such as a subscription made on [`nats`](Self::nats).
    pub async fn round_trip(&self) -> Result<(), CallError> {
        match &self.road {
            Road::Nats(nats) => rpc::round_trip(&nats.client).await.map_err(CallError::Transport),
            Road::Memory(_) => Ok(()),
        }
    }

    /// Sends what is buffered, and what is left of streams that others read. While NATS is away that cannot be done, and after a moment is given up: whoever flushes
    /// is about to end, and must.
    pub async fn flush(&self) {
        let Road::Nats(nats) = &self.road else { return };
        if tokio::time::timeout(FLUSH, self.streams.settled()).await.is_err() {
            tracing::debug!("streams are cut: their readers are slow, or away");
        }
        match tokio::time::timeout(FLUSH, nats.client.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "flush failed"),
            Err(_) => tracing::debug!("NATS is away; what is not sent is lost"),
        }
    }
}
