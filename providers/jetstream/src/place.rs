//! A place in a stream that JetStream remembers, for all who follow it together and over their restarts.

use std::{future::Future, time::Duration};

use async_nats::jetstream::{
    Message,
    consumer::{PullConsumer, pull},
};
use futures_util::StreamExt;
use lattice_provider::{StartError, Work};

/// A place that nobody has used for so long is forgotten, with what it has not brought yet.
pub const FORGET: Duration = Duration::from_secs(7 * 24 * 3600);
/// The pause after a request that has failed.
const PAUSE: Duration = Duration::from_millis(500);
/// How long one request for messages stands.
const EXPIRES: Duration = Duration::from_secs(5);

/// Follows a stream from where it was left.
pub struct Place {
    /// Of who follows it, for the log.
    name: String,
    consumer: PullConsumer,
    broken: bool,
}

impl Place {
    pub fn new(name: String, consumer: PullConsumer) -> Self {
        Self { name, consumer, broken: false }
    }

    /// Asks for as many messages. After a failure there is a pause, and the place is found again by `consumer`: it may be gone
    /// with a server; `None` when that does not help yet.
    pub async fn ask(
        &mut self,
        count: usize,
        consumer: impl Future<Output = Result<PullConsumer, StartError>>,
    ) -> Option<Batch<'_>> {
        if self.broken {
            tokio::time::sleep(PAUSE).await;
            match consumer.await {
                Ok(again) => (self.consumer, self.broken) = (again, false),
                Err(error) => {
                    tracing::warn!(name = self.name, %error, "cannot ask for messages; trying again");
                    return None;
                }
            }
        }
        match self.consumer.batch().max_messages(count).expires(EXPIRES).messages().await {
            Ok(messages) => Some(Batch { place: self, messages }),
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    fn failed(&mut self, error: &dyn std::fmt::Display) {
        tracing::debug!(name = self.name, %error, "cannot ask for messages; trying again");
        self.broken = true;
    }
}

/// What comes on one request.
pub struct Batch<'p> {
    place: &'p mut Place,
    messages: pull::Batch,
}

impl Batch<'_> {
    /// The next message; `None` when it is time to ask again, or to stop.
    pub async fn next(&mut self, work: &Work) -> Option<Message> {
        // Cancel-safe: a message is taken out of its channel when its arm completes.
        let message = tokio::select! {
            message = self.messages.next() => message,
            () = work.stop.cancelled() => None,
        };
        message?.inspect_err(|error| self.place.failed(error)).ok()
    }
}
