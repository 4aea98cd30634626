//! The caller's side: one task has all calls of this process that share messages.

use std::collections::HashMap;

use async_nats::{Client, Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{OnceCell, mpsc, oneshot};
use uuid::Uuid;

use super::{Bundle, QUEUE, Sorted, gather, headers};
use crate::{
    bus::rpc::{Reply, round_trip},
    wire::{
        CallError, CallHead, CallSubject, LatticeName, MAX_BUNDLE, ProcessReplies, ReplyStatus, UnitId,
        bundle::{decode_answers, encode_call},
    },
};

/// Calls that are remembered at least, before those that nobody waits for any more are swept out.
const SWEEP: usize = 1024;

/// A call on its way to the task.
struct Asked {
    subject: CallSubject,
    id: Uuid,
    entry: Vec<u8>,
    answer: oneshot::Sender<Result<Reply, CallError>>,
}

/// Makes the task when it is first needed.
pub(in crate::bus) struct LazyBundles {
    client: Client,
    lattice: LatticeName,
    queue: OnceCell<mpsc::Sender<Asked>>,
}

impl LazyBundles {
    pub(in crate::bus) fn new(client: Client, lattice: LatticeName) -> Self {
        Self { client, lattice, queue: OnceCell::new() }
    }

    /// One call, beside others. Whoever waits sets a limit.
    pub(in crate::bus::rpc) async fn call(
        &self,
        subject: &CallSubject,
        id: Uuid,
        head: &CallHead,
        payload: &[u8],
    ) -> Result<Reply, CallError> {
        let ended = || CallError::Transport("this process is about to end".into());
        let entry = encode_call(id, head, payload)?;
        let queue = match self.queue.get() {
            Some(queue) => queue,
            // Once in a process; no call has room for it.
            None => Box::pin(self.queue.get_or_try_init(|| self.begin())).await?,
        };
        let (answer, answered) = oneshot::channel();
        let asked = Asked { subject: subject.clone(), id, entry, answer };
        queue.send(asked).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn begin(&self) -> Result<mpsc::Sender<Asked>, CallError> {
        let replies = ProcessReplies::new(&self.lattice, Uuid::now_v7());
        let transport = |reason: String| CallError::Transport(reason);
        let subscriber = self.client.subscribe(replies.to_string()).await.map_err(|e| transport(e.to_string()))?;
        // The first answers must find the subscription known to the server.
        round_trip(&self.client).await.map_err(transport)?;
        let (sender, queue) = mpsc::channel(QUEUE);
        let caller =
            Caller { client: self.client.clone(), replies, waiting: HashMap::new(), messages: 0, sweep_at: SWEEP };
        tokio::spawn(caller.run(queue, subscriber));
        Ok(sender)
    }
}

/// A call that was sent.
struct Waiting {
    /// The message that it went with.
    message: u64,
    unit: UnitId,
    answer: oneshot::Sender<Result<Reply, CallError>>,
}

struct Caller {
    client: Client,
    replies: ProcessReplies,
    waiting: HashMap<Uuid, Waiting>,
    /// Messages sent so far.
    messages: u64,
    /// So many calls are waiting when those whose callers have given up are swept out next.
    sweep_at: usize,
}

impl Caller {
    /// Works until nobody can call any more.
    async fn run(mut self, mut queue: mpsc::Receiver<Asked>, mut subscriber: Subscriber) {
        let mut asked = Vec::new();
        loop {
            // Cancel-safe: both arms take out of their channels only as they complete.
            tokio::select! {
                count = queue.recv_many(&mut asked, MAX_BUNDLE) => {
                    if count == 0 {
                        return;
                    }
                    gather(&mut queue, &mut asked).await;
                    self.send(&mut asked).await;
                }
                message = subscriber.next() => match message {
                    Some(message) => self.take(message),
                    // The connection is closed for good: whoever waits is told as the answers' senders are dropped.
                    None => return,
                },
            }
        }
    }

    async fn send(&mut self, asked: &mut Vec<Asked>) {
        if self.waiting.len() >= self.sweep_at {
            self.waiting.retain(|_, call| !call.answer.is_closed());
            self.sweep_at = SWEEP.max(2 * self.waiting.len());
        }
        let mut sorted = Sorted::new(&self.client);
        for Asked { subject, id, entry, answer } in asked.drain(..) {
            let unit = subject.unit.clone();
            let begin = || {
                self.messages += 1;
                (subject.clone(), self.messages)
            };
            let (_, message) = sorted.put(&entry, |(other, _)| *other == subject, begin);
            self.waiting.insert(id, Waiting { message: *message, unit, answer });
        }
        for Bundle { to: (subject, message), entries, count } in sorted.bundles {
            let reply = self.replies.subject(message);
            let sent = self.client.publish_with_reply_and_headers(
                subject.to_string(),
                reply,
                headers(count),
                Bytes::from(entries),
            );
            if let Err(error) = sent.await {
                self.fail(message, |_| CallError::Transport(error.to_string()));
            }
        }
    }

    /// Hands each answer to its caller.
    fn take(&mut self, message: Message) {
        // Other subjects do not come by this subscription, but a token need not be one of ours.
        let Some(number) = self.replies.message(&message.subject) else { return };
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.fail(number, |unit| CallError::NoInstance(unit.to_string()));
        }
        // Only what could not be read has one status for all of its calls.
        if let Some(Ok(ReplyStatus::Error(code))) = message.headers.as_ref().map(ReplyStatus::read) {
            let text = String::from_utf8_lossy(&message.payload);
            return self.fail(number, |_| CallError::from_wire(code, &text));
        }
        match decode_answers(&message.payload) {
            Ok(answers) => {
                for answer in answers {
                    // One that nobody waits for any more is none of ours.
                    let Some(call) = self.waiting.remove(&answer.id) else { continue };
                    let _ = call.answer.send(Reply::bundled(answer));
                }
            }
            Err(error) => self.fail(number, |_| CallError::Transport(format!("an answer that is none: {error}"))),
        }
    }

    /// Ends all calls of a message. There are few such messages, so they have no list of their own.
    fn fail(&mut self, message: u64, error: impl Fn(&UnitId) -> CallError) {
        for (_, call) in self.waiting.extract_if(|_, call| call.message == message) {
            let failed = Err(error(&call.unit));
            let _ = call.answer.send(failed);
        }
    }
}
