//! Subscriptions whose messages are brought once, to whoever listens when they are sent.

use std::sync::Arc;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use lattice::wire::UnitId;
use lattice_provider::{StartError, Work, messaging::Subscription};
use tokio::sync::Semaphore;

use crate::bring;

/// Begins a subscription; all that have its `name` share its messages.
pub(crate) async fn begin(
    client: &Client,
    name: String,
    unit: &UnitId,
    subscription: Subscription,
    work: Work,
) -> Result<(), StartError> {
    let subject = subscription.spec.subject.to_string();
    let subscriber = client.queue_subscribe(subject.clone(), name).await;
    let subscriber =
        subscriber.map_err(|error| StartError::Backend(format!("cannot subscribe to {subject}: {error}")))?;
    work.tasks.spawn(follow(subscriber, unit.clone(), Arc::new(subscription), work.clone()));
    Ok(())
}

async fn follow(mut subscriber: Subscriber, unit: UnitId, subscription: Arc<Subscription>, work: Work) {
    let places = Arc::new(Semaphore::new(subscription.spec.in_flight as usize));
    let mut stopping = false;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        // Cancel-safe: a message is taken out of the channel when its arm completes.
        let message = tokio::select! {
            message = subscriber.next() => message,
            () = work.stop.cancelled(), if !stopping => {
                stopping = true;
                // What has come is brought; nothing more comes.
                if subscriber.drain().await.is_err() {
                    return;
                }
                continue;
            }
        };
        let Some(message) = message else { return };
        let (unit, subscription) = (unit.clone(), subscription.clone());
        work.tasks.spawn(async move {
            let _place = place;
            let subject = message.subject.clone();
            if let Err(error) = bring(&unit, &subscription, message).await {
                let to = &subscription.spec.to;
                tracing::warn!(%subject, %to, error, "a message was not handled; nobody keeps it");
            }
        });
    }
}
