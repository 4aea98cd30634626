//! Calls that share messages, and answers that do, in the form of [`wire::bundle`](crate::wire::bundle).
//!
//! ```text
//! caller, one a process     calls of all tasks; answers from NATS    -> messages with calls; the tasks that wait
//! answers, one an instance  answers of all calls under way           -> messages with answers
//! ```
//!
//! Nothing waits for company: both take what has come up by the time that it is their turn, so a message holds the more
//! the busier the process is. Both begin with a turn for all others who are ready.

mod answers;
mod caller;

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;

pub(super) use self::answers::{Answer, send_answers};
pub(in crate::bus) use self::caller::LazyBundles;
use super::limit;
use crate::wire::{BUNDLE_BYTES, MAX_BUNDLE, PROTOCOL, header};

/// Calls or answers that wait for their turn. Who brings one more waits.
pub(super) const QUEUE: usize = 4096;

/// Lets everybody who is ready bring what they have, and takes it to the rest.
async fn gather<T>(queue: &mut mpsc::Receiver<T>, together: &mut Vec<T>) {
    tokio::task::yield_now().await;
    while together.len() < MAX_BUNDLE
        && let Ok(next) = queue.try_recv()
    {
        together.push(next);
    }
}

/// Entries of one message.
struct Bundle<K> {
    to: K,
    entries: Vec<u8>,
    count: usize,
}

/// Entries by where they go.
struct Sorted<K> {
    bundles: Vec<Bundle<K>>,
    /// How much one message holds, in bytes.
    limit: usize,
}

impl<K> Sorted<K> {
    fn new(client: &Client) -> Self {
        Self { bundles: Vec::new(), limit: BUNDLE_BYTES.min(limit(client)) }
    }

    /// Puts an entry into a message that goes to the same place and has room, else into one that `begin` begins.
    fn put(&mut self, entry: &[u8], same: impl Fn(&K) -> bool, begin: impl FnOnce() -> K) -> &K {
        let fits = |bundle: &Bundle<K>| bundle.count < MAX_BUNDLE && bundle.entries.len() + entry.len() <= self.limit;
        let at = match self.bundles.iter().rposition(|bundle| same(&bundle.to) && fits(bundle)) {
            Some(at) => at,
            None => {
                self.bundles.push(Bundle { to: begin(), entries: Vec::new(), count: 0 });
                self.bundles.len() - 1
            }
        };
        let bundle = &mut self.bundles[at];
        bundle.entries.extend_from_slice(entry);
        bundle.count += 1;
        &bundle.to
    }
}

/// The headers of a message with `count` entries.
fn headers(count: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header::PROTOCOL), HeaderValue::from(PROTOCOL));
    headers.insert(HeaderName::from_static(header::BUNDLE), HeaderValue::from(count));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_with_others_to_the_same_place_while_there_is_room() {
        let mut sorted = Sorted { bundles: Vec::new(), limit: 10 };
        for (to, entry) in
            [("a", "1234"), ("b", "12"), ("a", "1234"), ("a", "1234"), ("b", "1"), ("c", "too large by far")]
        {
            assert_eq!(*sorted.put(entry.as_bytes(), |at| *at == to, || to), to);
        }
        let shape: Vec<_> = sorted.bundles.iter().map(|b| (b.to, b.count, b.entries.len())).collect();
        assert_eq!(shape, [("a", 2, 8), ("b", 2, 3), ("a", 1, 4), ("c", 1, 16)]);
    }

    #[tokio::test]
    async fn what_comes_up_in_one_turn_goes_together() {
        let (sender, mut queue) = mpsc::channel(QUEUE);
        for number in 0..5 {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(number).await });
        }
        let mut together = vec![queue.recv().await.unwrap()];
        gather(&mut queue, &mut together).await;
        together.sort();
        assert_eq!(together, [0, 1, 2, 3, 4]);
    }
}
