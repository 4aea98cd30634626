//! Sending messages, with a broker that speaks NATS: what a provider sends is listened to on a connection of the suite's own.

mod publish;
mod request;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use lattice::bus::Bus;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::{
    CHECK_LIMIT, Check, Lasting, Suite, lasting,
    suite::{CheckFn, checks},
};
use crate::{
    Caller,
    messaging::{BrokerMessage, Consumer, ConsumerRemote},
};

/// How long a message may take.
const SOON: Duration = Duration::from_secs(10);
/// What is refused, or what nobody can answer, is told within this.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Messages with numbers take at most this long before they count as lost.
const ARRIVAL: Duration = Duration::from_secs(5);

const CHECKS: &[(&str, CheckFn<Post>)] = checks![
    publish::any_bytes_arrive_as_they_are,
    publish::where_an_answer_goes_arrives_too,
    publish::messages_arrive_in_order_and_once,
    publish::a_large_message_arrives,
    publish::what_is_too_large_is_refused,
    publish::what_is_no_subject_is_refused,
    publish::reserved_subjects_are_refused,
    publish::nothing_is_lost_between_tasks,
    request::a_request_is_answered,
    request::the_first_answer_counts,
    request::a_request_that_nobody_answers_is_told_at_once,
    request::an_overdue_request_ends,
    request::a_large_answer_arrives,
    request::answers_are_not_mixed_up,
];

/// A provider under test, the broker that it sends to, and what the subjects of one check begin with.
#[derive(Clone)]
struct Post {
    consumer: Arc<ConsumerRemote>,
    broker: Bus,
    subject: String,
}

/// Every check against a provider whose broker is the NATS server of `broker`; the first part of all subjects is `tag`.
pub fn messaging_suite(caller: &Arc<dyn Caller>, broker: &Bus, tag: &str) -> Suite {
    let mut suite = Suite::new(CHECK_LIMIT);
    for (index, (name, check)) in CHECKS.iter().enumerate() {
        suite.add(name, check(Post::new(caller, broker, format!("{tag}.check{index}"))));
    }
    suite
}

impl Post {
    fn new(caller: &Arc<dyn Caller>, broker: &Bus, subject: String) -> Self {
        Self { consumer: Arc::new(ConsumerRemote(caller.clone())), broker: broker.clone(), subject }
    }

    /// Messages to all subjects of this check, from now on.
    async fn listen(&self) -> Result<BoxStream<'static, BrokerMessage>, String> {
        let client = self.broker.nats().ok_or("the broker is not NATS")?;
        let subscriber = client.subscribe(format!("{}.>", self.subject)).await.map_err(|error| error.to_string())?;
        self.broker.round_trip().await.map_err(|error| format!("the broker does not answer: {error}"))?;
        let messages = subscriber.map(|message| BrokerMessage {
            subject: message.subject.to_string(),
            body: message.payload,
            reply_to: message.reply.map(|reply| reply.to_string()),
        });
        Ok(messages.boxed())
    }

    /// Answers requests to all subjects of this check, until this is dropped, with what `answer` makes of their bodies.
    async fn answer<A>(&self, answer: A) -> Result<AbortOnDropHandle<()>, String>
    where
        A: Fn(Bytes) -> Vec<Bytes> + Send + 'static,
    {
        let (mut requests, broker) = (self.listen().await?, self.broker.clone());
        Ok(AbortOnDropHandle::new(tokio::spawn(async move {
            while let (Some(request), Some(client)) = (requests.next().await, broker.nats()) {
                for body in answer(request.body) {
                    // Whoever asked is told when no answer comes.
                    let _ = client.publish(request.reply_to.clone().unwrap_or_default(), body).await;
                }
            }
        })))
    }

    fn message(&self, name: &str, body: impl Into<Bytes>) -> BrokerMessage {
        BrokerMessage { subject: format!("{}.{name}", self.subject), body: body.into(), reply_to: None }
    }

    async fn publish(&self, message: BrokerMessage) -> Check {
        let subject = message.subject.clone();
        self.consumer.publish(message).await.map_err(|error| format!("publish to {subject}: {error}"))
    }

    async fn request(&self, name: &str, body: impl Into<Bytes>, wait: Duration) -> Result<BrokerMessage, String> {
        let timeout_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        self.consumer.request(format!("{}.{name}", self.subject), body.into(), timeout_ms).await
    }
}

/// The next message, which must come soon.
async fn next(messages: &mut BoxStream<'static, BrokerMessage>) -> Result<BrokerMessage, String> {
    let next = tokio::time::timeout(SOON, messages.next()).await;
    next.map_err(|_| format!("no message came within {SOON:?}"))?.ok_or_else(|| "the broker is gone".to_owned())
}

/// Messages with numbers, and which of them have arrived.
struct Posted {
    post: Post,
    arrived: watch::Receiver<BTreeSet<Bytes>>,
    _listening: AbortOnDropHandle<()>,
}

/// What is sent, to be looked for on its arrival.
pub async fn messaging_lasting(
    caller: &Arc<dyn Caller>,
    broker: &Bus,
    tag: &str,
) -> Result<impl Lasting + use<>, String> {
    let post = Post::new(caller, broker, format!("{tag}.lasting"));
    let mut messages = post.listen().await?;
    let (seen, arrived) = watch::channel(BTreeSet::new());
    let listening = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            seen.send_if_modified(|all: &mut BTreeSet<Bytes>| all.insert(message.body));
        }
    }));
    Ok(Posted { post, arrived, _listening: listening })
}

#[async_trait]
impl Lasting for Posted {
    async fn write(&self, number: u32) -> Check {
        self.post.publish(self.post.message("number", lasting::value(number))).await
    }

    async fn has(&self, number: u32) -> Result<bool, String> {
        let (mut arrived, wanted) = (self.arrived.clone(), lasting::value(number));
        let outcome = tokio::time::timeout(ARRIVAL, arrived.wait_for(|all| all.contains(&wanted))).await;
        Ok(matches!(outcome, Ok(Ok(_))))
    }

    fn keeps(&self) -> bool {
        false
    }

    async fn clear(&self) {}
}
