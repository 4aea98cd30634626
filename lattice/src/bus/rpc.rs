//! Calls over NATS: a request with headers, a reply with a status.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{
    Client, HeaderMap, HeaderName, HeaderValue, Message, RequestErrorKind, Subscriber, connection::State,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::trace;
use crate::wire::{CallError, CallHead, CallSubject, Headers, ReplyStatus, Served, header};

/// What answers the calls of an instance.
#[async_trait]
pub trait CallHandler: Send + Sync + 'static {
    /// The reply's payload, or the error that the caller gets.
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError>;
}

/// Whether a call starts on the task that received it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It runs there until it first waits: for handlers that answer at once or wait for others.
    Light,
    /// It gets a task of its own while others are under way: for handlers that compute. A lone call still begins on
    /// the task that received it, which saves it the way to another core.
    Heavy,
}

/// The running service of one instance. Dropping it stops taking calls at once.
#[derive(Debug)]
pub struct Serving {
    pub(super) stop: CancellationToken,
    pub(super) calls: TaskTracker,
}

impl Serving {
    /// Takes no more calls, and waits for those under way, at most `limit`.
    pub async fn drain(self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.calls.wait()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), ?limit, "calls are still under way; stopping all the same");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Headers for HeaderMap {
    fn get(&self, name: &'static str) -> Option<&str> {
        HeaderMap::get(self, HeaderName::from_static(name)).map(HeaderValue::as_str)
    }
}

/// Longer than the deadline that the callee enforces, so that its own answer has a chance to arrive.
const GRACE: Duration = Duration::from_millis(50);

pub(super) async fn call(
    client: &Client,
    subject: &CallSubject,
    head: &CallHead,
    payload: Bytes,
) -> Result<Bytes, CallError> {
    let limit = client.max_payload().saturating_sub(crate::wire::PAYLOAD_HEADROOM);
    if payload.len() > limit {
        return Err(CallError::TooLarge {
            what: "a call's message".into(),
            size: payload.len() as u64,
            limit: limit as u64,
        });
    }
    let mut headers = HeaderMap::new();
    head.write(|name, value| headers.insert(HeaderName::from_static(name), HeaderValue::from(value)));
    if let (None, Some(traceparent)) = (&head.traceparent, trace::current()) {
        headers.insert(HeaderName::from_static(header::TRACEPARENT), HeaderValue::from(traceparent));
    }
    let request = async_nats::Request::new().headers(headers).payload(payload).timeout(Some(head.deadline + GRACE));
    let reply = client.send_request(subject.to_string(), request).await.map_err(|error| match error.kind() {
        RequestErrorKind::TimedOut => CallError::Deadline(head.deadline),
        RequestErrorKind::NoResponders => CallError::NoInstance(subject.unit.to_string()),
        RequestErrorKind::MaxPayloadExceeded => {
            CallError::TooLarge { what: "a call's message".into(), size: limit as u64, limit: limit as u64 }
        }
        RequestErrorKind::InvalidSubject | RequestErrorKind::Other => CallError::Transport(error.to_string()),
    })?;
    let status = reply
        .headers
        .as_ref()
        .ok_or(CallError::BadMessage("a reply without headers".into()))
        .and_then(|h| Ok(ReplyStatus::read(h)?))?;
    match status {
        ReplyStatus::Ok => Ok(reply.payload),
        ReplyStatus::Error(code) => Err(CallError::from_wire(code, &String::from_utf8_lossy(&reply.payload))),
    }
}

pub(super) async fn serve(
    client: Client,
    served: &Served,
    handler: Arc<dyn CallHandler>,
    pace: Pace,
) -> Result<Serving, CallError> {
    let transport = |reason: String| CallError::Transport(reason);
    let subscriber = client.subscribe(served.to_string()).await.map_err(|e| transport(e.to_string()))?;
    // A subscription that the server has not seen yet would answer "no responders" to the first callers.
    round_trip(&client).await.map_err(transport)?;
    let serving = Serving { stop: CancellationToken::new(), calls: TaskTracker::new() };
    let server = Server { client, handler, pace, calls: serving.calls.clone(), rejected: AtomicU64::new(0) };
    serving.calls.spawn(server.run(subscriber, serving.stop.clone()));
    serving.calls.close();
    Ok(serving)
}

/// How long the server may take to say that it has seen what was sent to it.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// Waits until the server has seen all that was sent to it on this connection: async-nats' `flush` only waits until it
/// is written to the socket. A request that nobody answers does more, as the server takes what comes in order.
async fn round_trip(client: &Client) -> Result<(), String> {
    let request = async_nats::Request::new().timeout(Some(ROUND_TRIP));
    match client.send_request(client.new_inbox(), request).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

struct Server {
    client: Client,
    handler: Arc<dyn CallHandler>,
    pace: Pace,
    calls: TaskTracker,
    /// Messages that were no calls of ours.
    rejected: AtomicU64,
}

impl Server {
    async fn run(self, mut subscriber: Subscriber, stop: CancellationToken) {
        loop {
            // Cancel-safe: both arms only wait; a message is taken out of the channel when its arm completes.
            tokio::select! {
                message = subscriber.next() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                () = stop.cancelled() => break,
            }
        }
        // While NATS is away nothing comes, and nobody would say that the last message has come.
        if self.client.connection_state() != State::Connected {
            return;
        }
        // What the server had already sent is answered, not dropped.
        if let Err(error) = subscriber.drain().await {
            tracing::debug!(%error, "cannot drain a subscription");
        }
        while let Some(message) = subscriber.next().await {
            self.take(message);
        }
    }

    fn take(&self, message: Message) {
        let Some(reply) = message.reply.clone() else {
            self.reject("a message that wants no reply");
            return;
        };
        let head = message.headers.as_ref().ok_or_else(|| CallError::BadMessage("a call without headers".into()));
        let head = match head.and_then(|headers| Ok(CallHead::read(headers)?)) {
            Ok(head) => head,
            Err(error) => {
                self.reject(&error.to_string());
                let client = self.client.clone();
                self.calls.spawn(async move { answer(&client, reply, Err(error)).await });
                return;
            }
        };
        let (client, handler) = (self.client.clone(), self.handler.clone());
        let call = async move {
            let deadline = head.deadline;
            let traceparent = head.traceparent.clone();
            let work = handler.call(head, message.payload);
            let outcome = match traceparent {
                Some(traceparent) => within(deadline, trace::traced(traceparent, work)).await,
                None => within(deadline, work).await,
            };
            let outcome = outcome.unwrap_or(Err(CallError::Deadline(deadline)));
            answer(&client, reply, outcome).await;
        };
        let mut call: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(call);
        // The first poll has no task to wake; if the call waits, the task that takes it over polls it again at once.
        let here = match self.pace {
            Pace::Light => true,
            // The task that receives is itself one of them.
            Pace::Heavy => self.calls.len() <= 1,
        };
        let done = here && call.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_ready();
        if !done {
            self.calls.spawn(call);
        }
    }

    fn reject(&self, reason: &str) {
        let count = self.rejected.fetch_add(1, Ordering::Relaxed) + 1;
        // Every power of two: a flood of garbage does not become a flood of log lines.
        if count.is_power_of_two() {
            tracing::warn!(count, reason, "rejected a message");
        }
    }
}

/// Runs `future` for at most `limit`. The timer is made only when the future first waits.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let first = std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    match first {
        Poll::Ready(output) => Some(output),
        Poll::Pending => tokio::time::timeout(limit, future).await.ok(),
    }
}

async fn answer(client: &Client, reply: async_nats::Subject, outcome: Result<Bytes, CallError>) {
    let limit = client.max_payload().saturating_sub(crate::wire::PAYLOAD_HEADROOM);
    let outcome = match outcome {
        Ok(payload) if payload.len() > limit => Err(CallError::TooLarge {
            what: "an answer's message".into(),
            size: payload.len() as u64,
            limit: limit as u64,
        }),
        outcome => outcome,
    };
    let (status, payload) = match outcome {
        Ok(payload) => (ReplyStatus::Ok, payload),
        Err(error) => (ReplyStatus::Error(error.code()), Bytes::from(error.wire_text())),
    };
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header::STATUS), HeaderValue::from(status.header_value()));
    if let Err(error) = client.publish_with_headers(reply, headers, payload).await {
        tracing::debug!(%error, "cannot answer a call");
    }
}
