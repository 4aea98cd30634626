//! A page of keys. JetStream lists keys in the order in which they were written, which changes while they are
//! written; so each page reads the names of all, and keeps the first ones by position.

use std::{collections::BTreeMap, time::Duration};

use async_nats::jetstream::consumer::{DeliverPolicy, ReplayPolicy, push};
use futures_util::StreamExt;
use lattice_provider::keyvalue::{KeyPage, KeyValueError, PAGE, PageBuilder, position};

use crate::{Bucket, failed, key};

/// Names come in a stream; when none comes for so long, NATS is away.
const SILENCE: Duration = Duration::from_secs(2);

/// The keys of `bucket` whose position is `from` or higher, as many as a page takes.
pub(crate) async fn page(kv: &Bucket, bucket: &str, from: u64) -> Result<KeyPage, KeyValueError> {
    let prefix = format!("{}{}", kv.store.prefix, key::in_bucket(bucket));
    let config = push::OrderedConfig {
        deliver_subject: kv.jetstream.client().new_inbox(),
        filter_subject: format!("{prefix}*"),
        headers_only: true,
        deliver_policy: DeliverPolicy::LastPerSubject,
        replay_policy: ReplayPolicy::Instant,
        ..Default::default()
    };
    let consumer = kv.ask(kv.store.stream.create_consumer(config)).await?.map_err(|e| failed(&e))?;
    let mut pending = consumer.cached_info().num_pending;
    let mut first = First::default();
    if pending > 0 {
        let mut messages = kv.ask(consumer.messages()).await?.map_err(|e| failed(&e))?;
        while pending > 0 {
            let silent = |_| KeyValueError::Other("NATS has stopped in the middle of a listing".into());
            let message = tokio::time::timeout(SILENCE, messages.next()).await.map_err(silent)?;
            let Some(message) = message else { return Err(KeyValueError::other("a listing has no end")) };
            let message = message.map_err(|e| failed(&e))?;
            pending = message.info().map_err(KeyValueError::other)?.pending;
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
