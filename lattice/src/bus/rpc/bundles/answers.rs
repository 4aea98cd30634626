//! The callee's side: answers of one instance.

use async_nats::{Client, Subject};
use tokio::sync::mpsc;

use super::{Bundle, Sorted, gather, headers};
use crate::wire::{MAX_BUNDLE, replies_of};

/// An answer to a call that came with others.
pub(in crate::bus::rpc) struct Answer {
    /// Where the calls of its message are answered; those of the same process may be answered together.
    pub(in crate::bus::rpc) to: Subject,
    pub(in crate::bus::rpc) entry: Vec<u8>,
}

/// Sends answers until there can be no more.
pub(in crate::bus::rpc) async fn send_answers(client: Client, mut queue: mpsc::Receiver<Answer>) {
    let mut answers = Vec::new();
    while queue.recv_many(&mut answers, MAX_BUNDLE).await > 0 {
        gather(&mut queue, &mut answers).await;
        let mut sorted = Sorted::new(&client);
        for Answer { to, entry } in answers.drain(..) {
            let process = replies_of(&to);
            sorted.put(&entry, |other: &Subject| replies_of(other) == process, || to.clone());
        }
        for Bundle { to, entries, count } in sorted.bundles {
            if let Err(error) = client.publish_with_headers(to, headers(count), entries.into()).await {
                tracing::debug!(%error, count, "cannot answer calls");
            }
        }
    }
}
