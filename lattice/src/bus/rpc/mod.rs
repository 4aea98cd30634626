//! Calls over NATS: a request with headers, a reply with a status.
//!
//! A call has an id, in the header `lattice-call`. A caller that gives a call up says so in a message to the subject of
//! the call, with that id in the header `lattice-cancel` and no reply subject: the callee then drops the call.
//!
//! A payload that does not fit a message travels as a stream: the payload is empty then, and the header
//! `lattice-payload` has the stream's ticket and its length.
//!
//! A call of several that are under way at a time shares its message with others, see `bundles`.

mod bundles;
mod call;
mod callee;
mod serve;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, RequestErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use pin_project_lite::pin_project;
use tokio::time::Sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::call::Reply;
pub(super) use self::{
    bundles::LazyBundles,
    call::{call, probe},
    serve::serve,
};
use crate::wire::{CallError, CallHead, Headers};

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
    /// Nobody waits for the calls under way any more.
    pub(super) gone: CancellationToken,
    pub(super) calls: TaskTracker,
}

impl Serving {
    pub(super) fn new() -> Self {
        Self { stop: CancellationToken::new(), gone: CancellationToken::new(), calls: TaskTracker::new() }
    }

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
        self.gone.cancel();
        self.stop.cancel();
    }
}

/// Up to so many headers, comparing all of their names takes less time than hashing the one that is looked for.
const FEW: usize = 10;

impl Headers for HeaderMap {
    fn get(&self, name: &'static str) -> Option<&str> {
        if self.len() > FEW {
            return HeaderMap::get(self, HeaderName::from_static(name)).map(HeaderValue::as_str);
        }
        let (_, values) = self.iter().find(|(found, _)| AsRef::<str>::as_ref(*found) == name)?;
        values.first().map(HeaderValue::as_str)
    }
}

/// An error of a call that has run: it may not say that the call has not.
fn after_all(error: CallError) -> CallError {
    match error {
        error if error.certainly_not_started() => CallError::Transport(error.to_string()),
        other => other,
    }
}

/// The largest payload that fits a message beside its headers, in bytes.
fn limit(client: &Client) -> usize {
    client.max_payload().saturating_sub(crate::wire::PAYLOAD_HEADROOM)
}

/// How long the server may take to say that it has seen what was sent to it.
const ROUND_TRIP: Duration = Duration::from_secs(5);

/// Waits until the server has seen all that was sent to it on this connection: async-nats' `flush` only waits until it
/// is written to the socket. A request that nobody answers does more, as the server takes what comes in order.
pub(super) async fn round_trip(client: &Client) -> Result<(), String> {
    let request = async_nats::Request::new().timeout(Some(ROUND_TRIP));
    match client.send_request(client.new_inbox(), request).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == RequestErrorKind::NoResponders => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

pin_project! {
    /// See [`within`].
    pub struct Within<F> {
        limit: Duration,
        #[pin]
        timer: Option<Sleep>,
        #[pin]
        future: F,
    }
}

/// Runs `future` for at most `limit`; `None` when that is over. The timer is made only when the future first waits.
///
/// No `async fn`, which would have room for `future` twice: as what it was given, and as what it waits for.
pub fn within<F: Future>(limit: Duration, future: F) -> Within<F> {
    Within { limit, timer: None, future }
}

impl<F: Future> Future for Within<F> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<F::Output>> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if this.timer.is_none() {
            this.timer.set(Some(tokio::time::sleep(*this.limit)));
        }
        match this.timer.as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    }
}
