//! A page of keys. JetStream lists keys in the order in which they were written, which changes while they are
//! written; so each page reads the names of all, and keeps the first ones by position.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, ReplayPolicy, pull};
use futures_util::StreamExt;
use lattice_provider::keyvalue::{KeyPage, KeyValueError, PAGE, PageBuilder, position};

use crate::{Bucket, failed, key};

/// Names come in a stream; when none comes for so long, NATS is away.
const SILENCE: Duration = Duration::from_secs(2);
/// How many names are asked for at once.
const BATCH: usize = 1000;
/// How long NATS keeps the consumer after the last batch.
const FORGOTTEN: Duration = Duration::from_secs(5);

/// The keys of `bucket` whose position is `from` or higher, as many as a page takes.
pub(crate) async fn page(kv: &Bucket, bucket: &str, from: u64) -> Result<KeyPage, KeyValueError> {
    let prefix = format!("{}{}", kv.store.prefix, key::in_bucket(bucket));
    let config = pull::Config {
        filter_subject: format!("{prefix}*"),
        headers_only: true,
        deliver_policy: DeliverPolicy::LastPerSubject,
        replay_policy: ReplayPolicy::Instant,
        ack_policy: AckPolicy::None,
        inactive_threshold: FORGOTTEN,
        num_replicas: 1,
        memory_storage: true,
        ..Default::default()
    };
    let consumer = kv.ask(kv.store.stream.create_consumer(config)).await?.map_err(|e| failed(&e))?;
    let mut first = First::default();
    // How many are left is no sign of the end: entries expire while they are listed, and then never come. A batch that is not full is one.
    let mut came = if consumer.cached_info().num_pending == 0 { 0 } else { BATCH };
    while came == BATCH {
        let mut messages = kv.ask(consumer.fetch().max_messages(BATCH).messages()).await?.map_err(|e| failed(&e))?;
        let silent = |_| KeyValueError::Other("NATS has stopped in the middle of a listing".into());
        came = 0;
        while let Some(message) = tokio::time::timeout(SILENCE, messages.next()).await.map_err(silent)? {
            let message = message.map_err(|e| failed(&*e))?;
            came += 1;
            // Other programs that use the bucket may have left a marker where a key was.
            let gone = key::is_gone(message.headers.as_ref());
            if !gone && let Some(key) = message.subject.strip_prefix(&prefix).and_then(key::key) {
                first.add(from, key);
            }
        }
    }
    Ok(first.page())
}

/// The first keys by position: one position more than a page takes, so that it is known whether there is a next one.
#[derive(Default)]
struct First(BTreeMap<u64, Vec<String>>);

impl First {
    fn add(&mut self, from: u64, key: String) {
        let position = position(&key);
        if position < from {
            return;
        }
        self.0.entry(position).or_default().push(key);
        if self.0.len() > PAGE + 1 {
            self.0.pop_last();
        }
    }

    fn page(self) -> KeyPage {
        let mut page = PageBuilder::default();
        for (position, keys) in self.0 {
            // Keys of the same position stay together, so they are refused together.
            if !keys.into_iter().all(|key| page.push(position, key)) {
                break;
            }
        }
        page.finish()
    }
}
