//! The callee's side.

use std::{
    collections::HashMap,
    future::Future,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, Subject, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{CallHandler, Pace, Serving, after_all, limit, round_trip, within};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams, trace},
    wire::{CallError, CallHead, Headers, ReplyStatus, Served, UnitId, header},
};

/// How often it is looked whether the last call has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Ended calls that are remembered at least, before they are swept out.
const SWEEP: usize = 256;

pub(in crate::bus) async fn serve(
    client: Client,
    streams: LazyStreams,
    served: &Served,
    handler: Arc<dyn CallHandler>,
    pace: Pace,
) -> Result<Serving, CallError> {
    let transport = |reason: String| CallError::Transport(reason);
    let subscriber = client.subscribe(served.to_string()).await.map_err(|e| transport(e.to_string()))?;
    // A subscription that the server has not seen yet would answer "no responders" to the first callers.
    round_trip(&client).await.map_err(transport)?;
    let serving = Serving::new();
    let calls = serving.calls.clone();
    let callee = Arc::new(Callee { client, streams, handler });
    let server =
        Server { callee, pace, calls, running: HashMap::new(), rejected: 0, unit: served.unit.clone(), leaving: false };
    serving.calls.spawn(server.run(subscriber, serving.stop.clone(), serving.gone.clone()));
    serving.calls.close();
    Ok(serving)
}

/// The id in a header, when there is one. Callers that cannot cancel need none.
fn id(headers: &HeaderMap, name: &'static str) -> Option<Uuid> {
    Uuid::try_parse(Headers::get(headers, name)?).ok()
}

/// What every call needs, however many there are.
struct Callee {
    client: Client,
    streams: LazyStreams,
    handler: Arc<dyn CallHandler>,
}

struct Server {
    callee: Arc<Callee>,
    pace: Pace,
    calls: TaskTracker,
    /// Calls that have a task, by their ids. Those that have ended are swept out when they are many.
    running: HashMap<Uuid, Running>,
    /// Messages that were no calls of ours.
    rejected: u64,
    unit: UnitId,
    /// It takes no more calls.
    leaving: bool,
}

/// A call that has a task.
struct Running {
    task: AbortHandle,
    reply: Subject,
}

impl Server {
    async fn run(mut self, mut subscriber: Subscriber, stop: CancellationToken, gone: CancellationToken) {
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
        if self.callee.client.connection_state() != State::Connected {
            return;
        }
        // Cancel-safe: both arms only wait.
        tokio::select! {
            biased;
            () = gone.cancelled() => {}
            () = self.finish(&mut subscriber) => {}
        }
        if let Err(error) = subscriber.drain().await {
            tracing::debug!(%error, "cannot drain a subscription");
        }
        while let Some(message) = subscriber.next().await {
            self.take(message);
        }
    }

    /// Takes the calls that the server had already sent, and listens until the last one has ended: its caller asks
    /// whether somebody is still there, and says when it gives up. Calls that come later are for others.
    async fn finish(&mut self, subscriber: &mut Subscriber) {
        let client = self.callee.client.clone();
        let mut sent = pin!(round_trip(&client));
        let mut look = tokio::time::interval(LOOK);
        loop {
            // Cancel-safe: all arms only wait; a message is taken out of the channel when its arm completes.
            tokio::select! {
                message = subscriber.next() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
                _ = &mut sent, if !self.leaving => self.leaving = true,
                // This task is one of them.
                _ = look.tick(), if self.leaving => if self.calls.len() <= 1 { return },
            }
        }
    }

    fn take(&mut self, message: Message) {
        let Some(reply) = message.reply.clone() else {
            match message.headers.as_ref().and_then(|headers| id(headers, header::CANCEL)) {
                Some(id) => self.cancel(id),
                None => self.reject("a message that wants no reply"),
            }
            return;
        };
        let head = message.headers.as_ref().ok_or_else(|| CallError::BadMessage("a call without headers".into()));
        let head = head
            .and_then(|headers| Ok((CallHead::read(headers)?, Elsewhere::read(headers)?, id(headers, header::CALL))));
        let (head, elsewhere, id) = match head {
            Ok(head) => head,
            // Asked only here: a call is not to pay for it.
            Err(_)
                if message.headers.as_ref().is_some_and(|headers| Headers::get(headers, header::PROBE).is_some()) =>
            {
                self.answer(reply, Ok(Bytes::new()));
                return;
            }
            Err(error) => {
                self.reject(&error.to_string());
                self.answer(reply, Err(error));
                return;
            }
        };
        if self.leaving {
            self.answer(reply, Err(CallError::NoInstance(self.unit.to_string())));
            return;
        }
        let back = reply.clone();
        let call = self.callee.clone().call(head, elsewhere, message.payload, reply);
        let here = match self.pace {
            Pace::Light => true,
            // The task that receives is itself one of them.
            Pace::Heavy => self.calls.len() <= 1,
        };
        let task = if here {
            let mut call = Box::pin(call);
            // The first poll has no task to wake; if the call waits, the task that takes it over polls it again.
            if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                return;
            }
            self.calls.spawn(call)
        } else {
            self.calls.spawn(call)
        };
        if let Some(id) = id {
            self.remember(id, Running { task: task.abort_handle(), reply: back });
        }
    }

    /// Answers with what is known already.
    fn answer(&self, reply: Subject, outcome: Result<Bytes, CallError>) {
        let callee = self.callee.clone();
        self.calls.spawn(async move { callee.answer(reply, outcome).await });
    }

    fn remember(&mut self, id: Uuid, running: Running) {
        // At most as many again as there are calls, so that a sweep costs each call a fixed part.
        if self.running.len() > SWEEP + 2 * self.calls.len() {
            self.running.retain(|_, running| !running.task.is_finished());
        }
        self.running.insert(id, running);
    }

    /// Its caller has given the call up: it is dropped where it next waits. It is answered all the same, as the
    /// caller's NATS client remembers each request until then.
    fn cancel(&mut self, id: Uuid) {
        let Some(Running { task, reply }) = self.running.remove(&id).filter(|running| !running.task.is_finished())
        else {
            return;
        };
        task.abort();
        self.answer(reply, Err(CallError::Transport("the caller gave the call up".into())));
    }

    fn reject(&mut self, reason: &str) {
        self.rejected += 1;
        // Every power of two: a flood of garbage does not become a flood of log lines.
        if self.rejected.is_power_of_two() {
            tracing::warn!(count = self.rejected, reason, "rejected a message");
        }
    }
}

impl Callee {
    /// Makes one call and answers it.
    async fn call(self: Arc<Self>, head: CallHead, elsewhere: Option<Elsewhere>, payload: Bytes, reply: Subject) {
        let deadline = head.deadline;
        let traceparent = head.traceparent.clone();
        let work = AssertUnwindSafe(async {
            let payload = match elsewhere {
                Some(place) => place.take(&self.streams, "a call's message").await?,
                None => payload,
            };
            self.handler.call(head, payload).await
        });
        let work = work.catch_unwind();
        let outcome = match traceparent {
            Some(traceparent) => within(deadline, trace::traced(traceparent, work)).await,
            None => within(deadline, work).await,
        };
        let outcome = match outcome {
            Some(Ok(outcome)) => outcome,
            // A fault of ours is not one that the caller must wait for, and not the end of all other calls.
            Some(Err(_)) => Err(CallError::Trap("the callee panicked; the log of its host says where".into())),
            None => Err(CallError::Deadline(deadline)),
        };
        self.answer(reply, outcome).await;
    }

    async fn answer(&self, reply: Subject, outcome: Result<Bytes, CallError>) {
        let mut headers = HeaderMap::new();
        let mut set = |name, value: String| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        let outcome = match outcome {
            Ok(payload) if payload.len() > limit(&self.client) => {
                let offered = Elsewhere::offer(&self.streams, "an answer's message", payload).await;
                offered.map_err(after_all).map(|(offer, place)| {
                    set(header::PAYLOAD, place);
                    // It lapses by itself when the caller does not come for it.
                    offer.leave();
                    Bytes::new()
                })
            }
            outcome => outcome,
        };
        let (status, payload) = match outcome {
            Ok(payload) => (ReplyStatus::Ok, payload),
            Err(error) => (ReplyStatus::Error(error.code()), Bytes::from(error.wire_text())),
        };
        set(header::STATUS, status.header_value());
        if let Err(error) = self.client.publish_with_headers(reply, headers, payload).await {
            tracing::debug!(%error, "cannot answer a call");
        }
    }
}
