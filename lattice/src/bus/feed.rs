//! What is in a stream and what comes to it, in order and without a gap, over lost connections and servers that die.
//!
//! async-nats has an ordered consumer of its own. It is not used here since it makes its consumer anew under one name until
//! that is answered: when JetStream gave that consumer to a server that is dead, nobody ever answers, and what follows the
//! stream stands still for as long as the server stays away. Here each attempt is a new consumer.

use std::time::Duration;

use async_nats::{
    HeaderMap, StatusCode, Subscriber,
    header::NATS_LAST_CONSUMER,
    jetstream::{
        Context, Message,
        consumer::{AckPolicy, DeliverPolicy, PushConsumer, ReplayPolicy, push},
        stream::Stream,
    },
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

/// How long the next of what was there at the beginning may take. What expires meanwhile never comes, and then it is asked how
/// much is left.
const NEXT: Duration = Duration::from_millis(500);
/// How long the server keeps a consumer that nobody listens to.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// The server waits for an answer on this subject before it sends more.
const STALLED: &str = "Nats-Consumer-Stalled";

/// What is followed.
pub(super) struct Followed<'f> {
    pub(super) context: &'f Context,
    pub(super) stream: &'f Stream,
    /// Which subjects of it.
    pub(super) filter: String,
    /// How long it may be quiet before its server says that it is there.
    pub(super) idle: Duration,
}

/// Why a feed has ended. What follows the stream opens another one, from where this one came to.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("nothing was heard of the stream for {0:?}")]
    Silent(Duration),
    #[error("messages of the stream were lost on their way")]
    Gap,
    #[error("the newest in the stream is {newest}, and what came last is {place}")]
    Behind { place: u64, newest: u64 },
    #[error("the stream has ended: {0}")]
    Ended(String),
}

fn ended(error: impl std::fmt::Display) -> Broken {
    Broken::Ended(error.to_string())
}

/// One consumer of a stream.
pub(super) struct Feed {
    context: Context,
    consumer: PushConsumer,
    subscriber: Subscriber,
    /// How many messages have come.
    seen: u64,
    /// How many of those that were there at the beginning are still to come.
    left: u64,
    /// When anything came last.
    heard: Instant,
    /// How long nothing at all may come: one word of the server may be lost, or late.
    dead: Duration,
}

impl Feed {
    /// `after` is the place in the stream of the last message that is known; without it, the feed begins with the newest one of each
    /// subject.
    pub(super) async fn open(followed: &Followed<'_>, after: Option<u64>) -> Result<Self, Broken> {
        let client = followed.context.client();
        let deliver_subject = client.new_inbox();
        // Before there is a consumer, so that nothing it sends is missed.
        let subscriber = client.subscribe(deliver_subject.clone()).await.map_err(ended)?;
        let deliver_policy = match after {
            Some(place) => DeliverPolicy::ByStartSequence { start_sequence: place + 1 },
            None => DeliverPolicy::LastPerSubject,
        };
        let config = push::Config {
            deliver_subject,
            deliver_policy,
            filter_subject: followed.filter.clone(),
            ack_policy: AckPolicy::None,
            replay_policy: ReplayPolicy::Instant,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: followed.idle,
            inactive_threshold: FORGOTTEN,
            num_replicas: 1,
            memory_storage: true,
            ..Default::default()
        };
        let consumer = followed.stream.create_consumer(config).await.map_err(ended)?;
        let left = consumer.cached_info().num_pending;
        let dead = followed.idle * 5 / 2;
        Ok(Self { context: followed.context.clone(), consumer, subscriber, seen: 0, left, heard: Instant::now(), dead })
    }

    /// Whether all that was there at the beginning has come.
    pub(super) fn is_complete(&self) -> bool {
        self.left == 0
    }

    /// The next message; `None` when what was left of the beginning will not come, since it has expired.
    pub(super) async fn next(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            let dead = self.dead.saturating_sub(self.heard.elapsed());
            let patience = if self.is_complete() { dead } else { NEXT.min(dead) };
            let Ok(message) = timeout(patience, self.subscriber.next()).await else {
                if self.heard.elapsed() >= self.dead {
                    return Err(Broken::Silent(self.dead));
                }
                let info = self.consumer.get_info().await.map_err(ended)?;
                if info.num_pending == 0 && info.delivered.consumer_sequence == self.seen {
                    self.left = 0;
                    return Ok(None);
                }
                continue;
            };
            let message = message.ok_or_else(|| ended("the connection was closed"))?;
            self.heard = Instant::now();
            if let Some(status) = message.status {
                self.hear(status, message).await?;
                continue;
            }
            let message = Message { message, context: self.context.clone() };
            let info = message.info().map_err(ended)?;
            if info.consumer_sequence != self.seen + 1 {
                return Err(Broken::Gap);
            }
            self.seen += 1;
            self.left = self.left.min(info.pending);
            return Ok(Some(message));
        }
    }

    /// What the server says of the consumer itself: that it is there, that it waits until we have taken what it sent, or that it is gone.
    async fn hear(&self, status: StatusCode, message: async_nats::Message) -> Result<(), Broken> {
        if status != StatusCode::IDLE_HEARTBEAT {
            return Err(ended(message.description.unwrap_or_else(|| status.to_string())));
        }
        let header = |name: &str| message.headers.as_ref().and_then(|headers: &HeaderMap| headers.get(name));
        let sent = header(NATS_LAST_CONSUMER.as_ref()).and_then(|sent| sent.as_str().parse::<u64>().ok());
        if sent.is_some_and(|sent| sent != self.seen) {
            return Err(Broken::Gap);
        }
        let asked = message.reply.clone().or_else(|| header(STALLED).map(|asked| asked.as_str().into()));
        match asked {
            Some(asked) => self.context.client().publish(asked, "".into()).await.map_err(ended),
            None => Ok(()),
        }
    }
}
