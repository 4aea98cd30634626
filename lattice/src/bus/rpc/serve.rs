//! The callee's side: what comes for one instance.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use async_nats::{Client, HeaderMap, Message, Subject, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::{sync::mpsc, task::AbortHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use super::{
    CallHandler, Pace, Serving, bundles,
    callee::{Call, Callee, ReplyTo},
    round_trip,
};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams},
    wire::{
        CallError, CallHead, CallSubject, Headers, Served,
        bundle::{BundledCall, decode_calls},
        check_version, header,
    },
};

/// How often it is looked whether the last call has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Tasks of the service itself among those of its calls: the one that receives, and the one that sends answers.
const OWN_TASKS: usize = 2;

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
    // A subscription that the server has not seen yet would answer "no responders" to the first callers. Without a connection
    // there are none, and it is made with the next one.
    if client.connection_state() == State::Connected {
        round_trip(&client).await.map_err(transport)?;
    }
    let serving = Serving::new();
    let calls = serving.calls.clone();
    let (answers, queue) = mpsc::channel(bundles::QUEUE);
    serving.calls.spawn(bundles::send_answers(client.clone(), queue));
    let callee = Arc::new(Callee { client, streams, unit: served.unit.clone(), handler, answers });
    let server = Server { callee, pace, calls, running: HashMap::new(), rejected: 0, leaving: false };
    serving.calls.spawn(server.run(subscriber, serving.stop.clone(), serving.gone.clone()));
    serving.calls.close();
    Ok(serving)
}

/// The id in a header, when there is one. Callers that cannot cancel need none.
fn id(headers: &HeaderMap, name: &'static str) -> Option<Uuid> {
    Uuid::try_parse(Headers::get(headers, name)?).ok()
}

struct Server {
    callee: Arc<Callee>,
    pace: Pace,
    calls: TaskTracker,
    /// Calls that have a task, by their ids. Those that have ended are swept out when they are many.
    running: HashMap<Uuid, Running>,
    /// Messages that were no calls of ours.
    rejected: u64,
    /// It takes no more calls.
    leaving: bool,
}

/// A call that has a task.
struct Running {
    task: AbortHandle,
    reply: ReplyTo,
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
                _ = look.tick(), if self.leaving => if self.calls.len() <= OWN_TASKS { return },
            }
        }
    }

    fn take(&mut self, message: Message) {
        let Some(to) = message.reply else {
            match message.headers.as_ref().and_then(|headers| id(headers, header::CANCEL)) {
                Some(id) => self.cancel(id),
                None => self.reject("a message that wants no reply"),
            }
            return;
        };
        let Some(headers) = &message.headers else {
            return self.refuse(ReplyTo::Message(to), CallError::BadMessage("a call without headers".into()));
        };
        if Headers::get(headers, header::BUNDLE).is_some() {
            let calls = check_version(headers).map_err(CallError::from);
            match calls.and_then(|()| Ok(decode_calls(&message.payload)?)) {
                Ok(calls) => calls.into_iter().for_each(|call| self.take_bundled(call, &message.subject, &to)),
                // Nobody knows which calls these are: the caller takes it for the answer to all.
                Err(error) => self.refuse(ReplyTo::Message(to), error),
            }
            return;
        }
        let head = CallHead::read(headers).and_then(|head| Ok((head, Elsewhere::read(headers)?)));
        match head {
            Ok((head, elsewhere)) => {
                let id = id(headers, header::CALL);
                let call = Call { head, elsewhere, payload: message.payload, reply: ReplyTo::Message(to) };
                self.begin(call, id, &message.subject);
            }
            // Asked only here: a call is not to pay for it.
            Err(_) if Headers::get(headers, header::PROBE).is_some() => {
                self.answer(ReplyTo::Message(to), Ok(Bytes::new()));
            }
            Err(error) => self.refuse(ReplyTo::Message(to), error.into()),
        }
    }

    fn take_bundled(&mut self, call: BundledCall, subject: &str, to: &Subject) {
        let BundledCall { id, head, payload } = call;
        let reply = ReplyTo::Bundle { to: to.clone(), id };
        match head {
            Ok(head) => self.begin(Call { head, elsewhere: None, payload, reply }, Some(id), subject),
            Err(error) => self.refuse(reply, error.into()),
        }
    }

    fn begin(&mut self, call: Call, id: Option<Uuid>, subject: &str) {
        // Permissions are given by subject, so what is called must be what the subject says.
        if !CallSubject::is_for(subject, &call.head.interface) {
            let error = format!("a call of {} came by the subject of another interface", call.head.interface);
            return self.refuse(call.reply, CallError::BadMessage(error));
        }
        if self.leaving {
            return self.answer(call.reply, Err(CallError::NoInstance(self.callee.unit.to_string())));
        }
        let back = call.reply.clone();
        let call = self.callee.clone().call(call);
        let here = match self.pace {
            Pace::Light => true,
            Pace::Heavy => self.calls.len() <= OWN_TASKS,
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
    fn answer(&self, reply: ReplyTo, outcome: Result<Bytes, CallError>) {
        let callee = self.callee.clone();
        self.calls.spawn(async move { callee.answer(reply, outcome).await });
    }

    /// Answers what is no call of ours.
    fn refuse(&mut self, reply: ReplyTo, error: CallError) {
        self.reject(&error.to_string());
        self.answer(reply, Err(error));
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
