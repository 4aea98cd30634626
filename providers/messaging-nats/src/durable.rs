//! Subscriptions to what a stream keeps: a message is brought until the component has taken it, at most so often, and then
//! goes to the dead letters.
//!
//! The count of deliveries is JetStream's own, so it holds over restarts and for all instances of the provider together.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap,
    jetstream::{
        self, AckKind, Message,
        consumer::{AckPolicy, PullConsumer, pull},
        stream,
    },
};
use lattice::{
    model::messages::{DurableSpec, Subject},
    wire::UnitId,
};
use lattice_provider::{StartError, Work, messaging::Subscription};
use lattice_provider_jetstream::{FORGET, Place, reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{bring, store};

/// Beside the component's own time, before a message whose fate is not known is brought again: its provider has died.
const ACK_GRACE: Duration = Duration::from_secs(5);
/// The longest pause before a message is brought again.
const MAX_BACKOFF: Duration = Duration::from_secs(600);

/// What a dead letter says of itself.
mod header {
    pub(super) const SUBJECT: &str = "lattice-dead-subject";
    pub(super) const ERROR: &str = "lattice-dead-error";
    pub(super) const DELIVERIES: &str = "lattice-dead-deliveries";
}

struct Durable {
    jetstream: jetstream::Context,
    name: String,
    unit: UnitId,
    subscription: Subscription,
    spec: DurableSpec,
    replicas: usize,
}

/// Begins a subscription; all that have its `name` share its messages.
pub(crate) async fn begin(
    jetstream: &jetstream::Context,
    name: String,
    unit: &UnitId,
    subscription: Subscription,
    replicas: usize,
    work: Work,
) -> Result<(), StartError> {
    let Some(spec) = subscription.spec.durable.clone() else { return Ok(()) };
    let durable =
        Arc::new(Durable { jetstream: jetstream.clone(), name, unit: unit.clone(), subscription, spec, replicas });
    let place = Place::new(durable.name.clone(), durable.consumer().await?);
    work.tasks.spawn(durable.follow(place, work.clone()));
    Ok(())
}

impl Durable {
    /// The stream, which is made when it is not there, and our place in it.
    async fn consumer(&self) -> Result<PullConsumer, StartError> {
        let (stream, subject) = (&self.spec.stream, &self.subscription.spec.subject);
        let failed = |what: &str, error: &dyn std::error::Error| {
            StartError::Backend(format!("{what} of stream {stream}: {}", reason(error)))
        };
        let made = stream::Config {
            name: stream.clone(),
            subjects: vec![subject.to_string()],
            num_replicas: self.replicas,
            ..Default::default()
        };
        let kept = self.jetstream.get_or_create_stream(made).await;
        let kept = kept.map_err(|error| failed("JetStream does not give the subjects", &error))?;
        let subjects = &kept.cached_info().config.subjects;
        if !subjects.iter().any(|wide| covers(wide, subject.as_str())) {
            return Err(StartError::Config(format!(
                "stream {stream} keeps {}, and not `{subject}`; add it to the stream's subjects, or name another stream",
                subjects.join(", ")
            )));
        }
        let timeout = Duration::from_millis(self.subscription.spec.timeout_ms);
        let consumer = pull::Config {
            durable_name: Some(self.name.clone()),
            description: Some(format!("messages for {}", self.subscription.spec.to)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: timeout + ACK_GRACE,
            filter_subject: subject.to_string(),
            max_ack_pending: i64::from(self.subscription.spec.in_flight).max(1000),
            inactive_threshold: FORGET,
            ..Default::default()
        };
        kept.create_consumer(consumer).await.map_err(|error| failed("cannot read messages", &error))
    }

    /// Asks for as many messages as there are free places, so that none waits here while its time runs.
    async fn follow(self: Arc<Self>, mut place: Place, work: Work) {
        let all = self.subscription.spec.in_flight;
        let places = Arc::new(Semaphore::new(all as usize));
        while !work.stop.is_cancelled() {
            let Ok(first) = places.clone().acquire_owned().await else { return };
            let more = places.available_permits().min(all as usize - 1);
            let rest = u32::try_from(more).ok().and_then(|more| places.clone().try_acquire_many_owned(more).ok());
            let (mut first, mut rest) = (Some(first), rest);
            let count = 1 + rest.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let Some(mut messages) = place.ask(count, self.consumer()).await else { continue };
            while let Some(message) = messages.next(&work).await {
                let place = first.take().or_else(|| rest.as_mut()?.split(1));
                let durable = self.clone();
                work.tasks.spawn(async move {
                    let _place = place;
                    durable.bring(message).await;
                });
            }
        }
    }

    /// Brings one message, and settles what becomes of it.
    async fn bring(&self, message: Message) {
        let delivered = message.info().map_or(1, |info| u32::try_from(info.delivered).unwrap_or(1)).max(1);
        let outcome = if delivered > self.spec.deliveries {
            Err("the last delivery came to no end".to_owned())
        } else {
            bring(&self.unit, &self.subscription, plain(&message)).await
        };
        let settled = match outcome {
            Ok(()) => message.ack().await,
            Err(error) if delivered >= self.spec.deliveries => match self.bury(&message, &error, delivered).await {
                Ok(()) => message.ack_with(AckKind::Term).await,
                // It is not lost: it comes again, and is buried then.
                Err(reason) => {
                    tracing::warn!(subject = %message.subject, reason, "a dead letter was not sent; trying again");
                    message.ack_with(AckKind::Nak(Some(self.backoff(delivered)))).await
                }
            },
            Err(error) => {
                let to = &self.subscription.spec.to;
                tracing::info!(subject = %message.subject, %to, error, delivered, "a message was not handled; it comes again");
                message.ack_with(AckKind::Nak(Some(self.backoff(delivered)))).await
            }
        };
        // What is not settled is brought again.
        if let Err(error) = settled {
            tracing::debug!(%error, "cannot settle a message");
        }
    }

    /// The pause before the next delivery.
    fn backoff(&self, delivered: u32) -> Duration {
        let doubled = 1u64.checked_shl(delivered.saturating_sub(1)).unwrap_or(u64::MAX);
        Duration::from_millis(self.spec.backoff_ms.saturating_mul(doubled)).min(MAX_BACKOFF)
    }

    /// Sends a message that nobody got done where the manifest wants it.
    async fn bury(&self, message: &Message, error: &str, delivered: u32) -> Result<(), String> {
        let subject = &message.subject;
        let Some(grave) = &self.spec.dead_letter else {
            tracing::error!(%subject, error, delivered, "a message was not handled, and is given up");
            return Ok(());
        };
        tracing::warn!(%subject, error, delivered, %grave, "a message was not handled; it goes to the dead letters");
        let mut headers = HeaderMap::new();
        headers.insert(header::SUBJECT, subject.as_str());
        headers.insert(header::ERROR, one_line(error).as_str());
        headers.insert(header::DELIVERIES, delivered.to_string().as_str());
        let stored = store(&self.jetstream, grave, headers.clone(), message.payload.clone()).await;
        match stored {
            Ok(()) => Ok(()),
            Err(reason) if self.is_kept(grave).await => Err(reason),
            // No stream keeps it: whoever listens has it.
            Err(_) => {
                let client = self.jetstream.client();
                let sent = client.publish_with_headers(grave.to_string(), headers, message.payload.clone()).await;
                sent.map_err(|error| error.to_string())
            }
        }
    }

    /// Whether a stream keeps messages to `subject`, as far as can be known now.
    async fn is_kept(&self, subject: &Subject) -> bool {
        match self.jetstream.stream_by_subject(subject.to_string()).await {
            Ok(_) => true,
            Err(error) => error.kind() != jetstream::context::GetStreamByNameErrorKind::NotFound,
        }
    }
}

/// A message as the component gets it. Its reply subject is JetStream's own, and not for the component.
fn plain(message: &Message) -> async_nats::Message {
    async_nats::Message { reply: None, ..message.message.clone() }
}

/// A text that may stand in a header.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(500).collect()
}

/// Whether a stream's subject takes in all that `narrow` does.
fn covers(wide: &str, narrow: &str) -> bool {
    let (mut wide, mut narrow) = (wide.split('.'), narrow.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(part)) if part != ">" => {}
            (Some(own), Some(part)) if own == part => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_covers_what_it_keeps() {
        for (wide, narrow) in
            [("a.>", "a.b"), ("a.>", "a.*.c"), ("a.*", "a.*"), ("a.*", "a.b"), ("a.b", "a.b"), (">", "a.>")]
        {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in
            [("a.b", "a.*"), ("a.*", "a.>"), ("a.*", "a.b.c"), ("a.>", "a"), ("a.b", "a"), ("a", "a.b")]
        {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }
}
