//! Watches: a component is told of each change of a bucket, one after another, until it has taken it.
//!
//! How far a watch has come is JetStream's to remember, so that it holds over restarts, and for all instances of the
//! provider together. Of changes of one key that were not told yet only the newest is left: the bucket keeps no others.

use std::{collections::HashSet, time::Duration};

use async_nats::jetstream::{
    AckKind, Message,
    consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
};
use lattice_provider::{
    StartContext, StartError, Work,
    keyvalue::{Attempts, Change, Settled, Watch, position},
};
use lattice_provider_jetstream::{FORGET, Place, reason};

use crate::{Bucket, key};

/// Beside the component's own time, before a change whose fate is not known is told again: its provider has died.
const GRACE: Duration = Duration::from_secs(5);
/// Changes of one request; each is sent when the one before is done.
const BATCH: usize = 100;

/// Buckets in which a key that is deleted leaves a marker, for those who watch.
pub(crate) fn watched(watches: &[Watch]) -> HashSet<String> {
    watches.iter().map(|watch| watch.spec.bucket.clone()).collect()
}

/// Begins all watches of a provider.
pub(crate) async fn begin(bucket: &Bucket, context: &mut StartContext) -> Result<(), StartError> {
    for watch in std::mem::take(&mut context.watches) {
        let unit = &context.unit;
        let place = position(&watch.spec.bucket);
        let name = format!("{}-{}-{}-{place:016x}", context.bus.lattice(), unit.app, unit.unit);
        let watching = Watching { bucket: bucket.clone(), name, watch, attempts: Attempts::default() };
        let place = Place::new(watching.name.clone(), watching.consumer().await?);
        context.work.tasks.spawn(watching.follow(place, context.work.clone()));
    }
    Ok(())
}

struct Watching {
    bucket: Bucket,
    name: String,
    watch: Watch,
    attempts: Attempts,
}

impl Watching {
    fn prefix(&self) -> String {
        format!("{}{}", self.bucket.store.prefix, key::in_bucket(&self.watch.spec.bucket))
    }

    /// Our place in the bucket; one that is made anew begins with the changes from now on.
    async fn consumer(&self) -> Result<PullConsumer, StartError> {
        let spec = &self.watch.spec;
        let consumer = pull::Config {
            durable_name: Some(self.name.clone()),
            description: Some(format!("changes of {} for {}", spec.bucket, spec.to)),
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_millis(spec.timeout_ms) + GRACE,
            filter_subject: format!("{}*", self.prefix()),
            deliver_policy: DeliverPolicy::New,
            // In order.
            max_ack_pending: 1,
            inactive_threshold: FORGET,
            ..Default::default()
        };
        self.bucket.store.stream.create_consumer(consumer).await.map_err(|error| {
            StartError::Backend(format!("cannot watch bucket {} in NATS: {}", spec.bucket, reason(&error)))
        })
    }

    async fn follow(mut self, mut place: Place, work: Work) {
        while !work.stop.is_cancelled() {
            let Some(mut changes) = place.ask(BATCH, self.consumer()).await else { continue };
            while let Some(change) = changes.next(&work).await {
                self.tell(change).await;
            }
        }
    }

    /// Tells of one change, and settles what becomes of it.
    async fn tell(&mut self, message: Message) {
        let number = message.info().map_or(0, |info| info.stream_sequence);
        let Some(change) = self.change(&message) else {
            // What others have put beside our keys.
            let _ = message.ack().await;
            return;
        };
        let outcome = self.watch.to.changed(&change).await;
        let settled = match self.attempts.after(&self.watch.spec.to, &change, number, outcome) {
            Settled::Done => self.done(&message, &change, number).await,
            Settled::Again(pause) => message.ack_with(AckKind::Nak(Some(pause))).await,
        };
        // What is not settled is told again.
        if let Err(error) = settled {
            tracing::debug!(%error, "cannot settle a change");
        }
    }

    /// The change has been told. A marker of a key that was deleted has done its work then: it is removed, unless the key has
    /// a value again.
    async fn done(&self, message: &Message, change: &Change, number: u64) -> Result<(), async_nats::Error> {
        message.ack().await?;
        if change.value.is_none() {
            let purge = self.bucket.store.stream.purge().filter(message.subject.to_string()).sequence(number + 1);
            purge.await?;
        }
        Ok(())
    }

    fn change(&self, message: &Message) -> Option<Change> {
        let key = key::key(message.subject.strip_prefix(&self.prefix())?)?;
        let value = (!key::is_gone(message.headers.as_ref())).then(|| message.payload.clone());
        Some(Change { bucket: self.watch.spec.bucket.clone(), key, value })
    }
}
