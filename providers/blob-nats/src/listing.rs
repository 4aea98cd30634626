//! A page of names, in the order in which the objects were last written. An object that is written over while it is listed may come
//! twice; none is left out.

use std::time::Duration;

use async_nats::jetstream::{
    consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull},
    object_store::ObjectInfo,
};
use futures_util::StreamExt;
use lattice_provider::blobstore::{BlobError, ObjectPage, PageBuilder, is_object};

use crate::{
    TIMEOUT,
    container::{Container, failed},
    names,
};

/// Descriptions of one request.
const BATCH: usize = 1000;
/// After so long NATS forgets a listing whose reader has gone away.
const FORGET: Duration = Duration::from_secs(10);

/// Shows `take` all descriptions from the number `from` on, until it has enough and says `false`.
pub(crate) async fn walk(
    container: &Container,
    from: u64,
    mut take: impl FnMut(u64, &[u8]) -> bool,
) -> Result<(), BlobError> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from.max(1) },
        filter_subject: names::descriptions(&container.bucket),
        ack_policy: AckPolicy::None,
        replay_policy: ReplayPolicy::Instant,
        memory_storage: true,
        num_replicas: 1,
        inactive_threshold: FORGET,
        ..Default::default()
    };
    let consumer = container.ask(container.stream.create_consumer(config)).await?.map_err(|error| failed(&error))?;
    let (mut pending, mut enough) = (consumer.cached_info().num_pending, false);
    while pending > 0 && !enough {
        let count = BATCH.min(usize::try_from(pending).unwrap_or(BATCH));
        let request = consumer.fetch().max_messages(count).expires(TIMEOUT).messages();
        let mut messages = container.ask(request).await?.map_err(|error| failed(&error))?;
        let mut came = false;
        while !enough {
            let message = container.ask(async { messages.next().await.transpose() }).await?;
            let Some(message) = message.map_err(|error| BlobError::Other(format!("NATS objects: {error}")))? else {
                break;
            };
            came = true;
            let info = message.info().map_err(BlobError::other)?;
            pending = info.pending;
            enough = !take(info.stream_sequence, &message.payload);
        }
        if !came {
            return Err(BlobError::Other("NATS has stopped in the middle of a listing".into()));
        }
    }
    let name = consumer.cached_info().name.clone();
    // Where that fails it is forgotten by itself.
    let _ = container.ask(container.stream.delete_consumer(&name)).await;
    Ok(())
}

/// The names of objects whose description has the number `from` or a higher one, and the number for the next page.
pub(crate) async fn page(container: &Container, from: u64) -> Result<(ObjectPage, Option<u64>), BlobError> {
    container.created().await?;
    let mut listing = Listing { page: PageBuilder::default(), next: None };
    walk(container, from, |number, text| listing.take(number, text)).await?;
    Ok((listing.page.finish(), listing.next))
}

struct Listing {
    page: PageBuilder,
    /// The first one that had no room.
    next: Option<u64>,
}

impl Listing {
    /// Takes one description, if it is of an object whose name components can say; `false` when the page is full.
    fn take(&mut self, number: u64, text: &[u8]) -> bool {
        let Ok(info) = serde_json::from_slice::<ObjectInfo>(text) else { return true };
        if info.deleted || !is_object(&info.name) || self.page.push(info.name) {
            return true;
        }
        self.next = Some(number);
        false
    }
}
