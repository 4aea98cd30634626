//! A watch of the store: events of what is in a bucket and what changes there. It goes on where it was when its server dies
//! or the connection is lost; it ends when that cannot be done without missing something.
//!
//! A consumer reads the copy of the stream on its own server. That may stand still while the consumer says that all is well, such as
//! when the server has just come back to its cluster: so whoever leads the stream is asked now and then what the newest is.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_nats::jetstream::{Context, Message, kv};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use super::{
    buckets::{ATTEMPT, PAUSE},
    feed::{Broken, Feed, Followed},
    nats_store::{is_gone, newest},
    store::{Bucket, Keys, WatchEvent},
};

/// What is watched.
pub(super) struct Watched {
    pub(super) context: Context,
    pub(super) bucket: Bucket,
    pub(super) store: kv::Store,
    pub(super) keys: Keys,
    /// Whether NATS answers now.
    pub(super) connected: watch::Receiver<bool>,
}

/// How often it is looked whether a watch still tells all, in which way ever.
struct Pace {
    /// How long the stream may be quiet before the consumer says that it is there.
    idle: Duration,
    /// How often it is asked what the newest is.
    look: Duration,
    /// How long that may take to come.
    late: Duration,
}

impl Watched {
    fn pace(&self) -> Pace {
        let [idle, look, late] = match self.bucket {
            Bucket::State => [5, 15, 3],
            // Who follows these judges by silence; and they are never quiet while all is well.
            Bucket::Beats => [1, 3, 1],
        }
        .map(Duration::from_secs);
        Pace { idle, look, late }
    }

    /// See [`Feed::open`].
    pub(super) async fn open(&self, after: Option<u64>) -> Result<Feed, Broken> {
        let (filter, idle) = (format!("{}{}", self.store.prefix, self.keys.subject()), self.pace().idle);
        Feed::open(&Followed { context: &self.context, stream: &self.store.stream, filter, idle }, after).await
    }

    /// Where the newest is, as whoever leads the stream says; `None` when nothing is there, or nobody says so.
    async fn newest(&self) -> Option<u64> {
        match timeout(ATTEMPT, newest(&self.store, &self.keys.subject())).await.ok()? {
            Ok(message) => message.map(|message| message.sequence),
            Err(error) => {
                tracing::debug!(keys = ?self.keys, %error, "cannot read what is newest in the store");
                None
            }
        }
    }

    /// A feed that goes on after `place`; `None` when the stream is not the one in which that place was.
    async fn open_again(&self, place: u64) -> Result<Option<Feed>, Broken> {
        let ended = |error: &dyn std::fmt::Display| Broken::Ended(error.to_string());
        let now = self.store.stream.get_info().await.map_err(|error| ended(&error))?;
        if now.created != self.store.stream.cached_info().created || now.state.last_sequence < place {
            return Ok(None);
        }
        self.open(Some(place)).await.map(Some)
    }
}

/// Why a feed is left.
enum Left {
    /// Nobody listens.
    Alone,
    Broken(Broken),
}

/// How far a watch has come.
pub(super) struct Watch {
    watched: Watched,
    events: mpsc::Sender<WatchEvent>,
    /// Where in the stream the last event was that has been told.
    place: AtomicU64,
}

impl Watch {
    pub(super) fn new(watched: Watched, events: mpsc::Sender<WatchEvent>) -> Self {
        Self { watched, events, place: AtomicU64::new(0) }
    }

    fn place(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// Until nobody listens, or something may be missed.
    pub(super) async fn run(self, mut feed: Feed) {
        let (mut connected, mut synced) = (self.watched.connected.clone(), false);
        loop {
            connected.mark_unchanged();
            let left = tokio::select! {
                left = self.pump(&mut feed, &mut synced) => left,
                broken = self.fall_behind() => Left::Broken(broken),
                _ = connected.changed() => Left::Broken(Broken::Ended("the connection was lost".to_owned())),
                () = self.events.closed() => Left::Alone,
            };
            let Left::Broken(broken) = left else { return };
            tracing::debug!(keys = ?self.watched.keys, %broken, synced, "a watch goes on with another consumer");
            drop(feed);
            if !synced {
                return;
            }
            let again = tokio::select! {
                again = self.resume() => again,
                () = self.events.closed() => None,
            };
            match again {
                Some(again) => feed = again,
                None => return,
            }
        }
    }

    /// Tells what comes. It may be cancelled at any time: what was not told comes again.
    async fn pump(&self, feed: &mut Feed, synced: &mut bool) -> Left {
        loop {
            if !*synced && feed.is_complete() {
                if self.events.send(WatchEvent::Synced).await.is_err() {
                    return Left::Alone;
                }
                *synced = true;
            }
            let message = match feed.next().await {
                Ok(Some(message)) => message,
                Ok(None) => continue,
                Err(broken) => return Left::Broken(broken),
            };
            let Ok(place) = message.info().map(|info| info.stream_sequence) else { continue };
            if let Some(event) = self.event(message, place)
                && self.events.send(event).await.is_err()
            {
                return Left::Alone;
            }
            self.place.store(place, Ordering::Relaxed);
        }
    }

    /// Returns when something is in the stream that should long have come.
    async fn fall_behind(&self) -> Broken {
        let Pace { look, late, .. } = self.watched.pace();
        loop {
            sleep(look).await;
            let Some(newest) = self.watched.newest().await else { continue };
            if self.place() < newest {
                sleep(late).await;
                let place = self.place();
                if place < newest {
                    return Broken::Behind { place, newest };
                }
            }
        }
    }

    fn event(&self, message: Message, revision: u64) -> Option<WatchEvent> {
        let key = message.subject.strip_prefix(&self.watched.store.prefix)?.to_owned();
        let gone = message.headers.as_ref().is_some_and(is_gone);
        let value = message.message.payload;
        Some(if gone { WatchEvent::Delete { key } } else { WatchEvent::Put { key, value, revision } })
    }

    /// Another feed, as soon as there can be one; `None` when all must be told anew.
    async fn resume(&self) -> Option<Feed> {
        let mut connected = self.watched.connected.clone();
        loop {
            connected.wait_for(|there| *there).await.ok()?;
            match timeout(ATTEMPT, self.watched.open_again(self.place())).await {
                Ok(Ok(feed)) => return feed,
                Ok(Err(broken)) => tracing::debug!(keys = ?self.watched.keys, %broken, "cannot go on yet"),
                // Nobody answers while a cluster elects who does.
                Err(_) => {}
            }
            sleep(PAUSE).await;
        }
    }
}
