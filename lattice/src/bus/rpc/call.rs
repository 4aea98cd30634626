//! The caller's side.

use std::{
    pin::{Pin, pin},
    time::{Duration, Instant},
};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, Request, RequestErrorKind, Subject};
use bytes::Bytes;
use uuid::Uuid;

use super::{after_all, bundles::LazyBundles, limit};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams},
    trace,
    wire::{CallError, CallHead, CallSubject, MAX_BUNDLED, ReplyStatus, bundle::BundledAnswer, header},
};

/// Longer than the deadline that the callee enforces, so that its own answer has a chance to arrive.
const GRACE: Duration = Duration::from_millis(50);

/// How often it is looked whether the callee of a call that takes long is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Makes a call; with `bundles`, in a message that it shares with others where it can.
pub(in crate::bus) async fn call(
    client: &Client,
    streams: &LazyStreams,
    bundles: Option<&LazyBundles>,
    subject: &CallSubject,
    head: &CallHead,
    payload: Bytes,
) -> Result<Bytes, CallError> {
    let until = Instant::now() + head.deadline + GRACE;
    let traced = match (&head.traceparent, trace::current()) {
        (None, Some(traceparent)) => Some(CallHead { traceparent: Some(traceparent), ..head.clone() }),
        _ => None,
    };
    let head = traced.as_ref().unwrap_or(head);
    let id = Uuid::now_v7();
    let mut given_up = GivenUp { client, subject: Some(subject), id };
    let work = pin!(async {
        let reply = match bundles.filter(|_| payload.len() <= MAX_BUNDLED) {
            Some(bundles) => bundles.call(subject, id, head, &payload).await,
            // In a place of its own: most calls are made in company, and need not have room for what this waits for.
            None => Box::pin(alone(client, streams, subject, id, head, payload)).await,
        };
        given_up.subject = None;
        read(reply?, streams).await
    });
    watched(client, subject, until, work).await.unwrap_or(Err(CallError::Deadline(head.deadline)))
}

/// A call in a message of its own.
async fn alone(
    client: &Client,
    streams: &LazyStreams,
    subject: &CallSubject,
    id: Uuid,
    head: &CallHead,
    payload: Bytes,
) -> Result<Reply, CallError> {
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    head.write(&mut set);
    set(header::CALL, id.simple().to_string());
    // Withdrawn when the call ends, however it does.
    let mut offer = None;
    let payload = if payload.len() > limit(client) {
        let (offered, place) = Elsewhere::offer(streams, "a call's message", payload).await?;
        set(header::PAYLOAD, place);
        offer = Some(offered);
        Bytes::new()
    } else {
        payload
    };
    let request = Request::new().headers(headers).payload(payload).timeout(None);
    let reply = client.send_request(text(subject), request).await;
    drop(offer);
    let reply = reply.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => CallError::NoInstance(subject.unit.to_string()),
        _ => CallError::Transport(error.to_string()),
    })?;
    Reply::alone(reply)
}

/// Waits for a call to end, as long as there is somebody who answers it; `None` when it has not ended in time. A call
/// has one timer at a time: most end before it is due.
async fn watched<T>(
    client: &Client,
    subject: &CallSubject,
    until: Instant,
    mut work: Pin<&mut impl Future<Output = Result<T, CallError>>>,
) -> Option<Result<T, CallError>> {
    loop {
        let look = until.min(Instant::now() + LOOK);
        if let Ok(ended) = tokio::time::timeout_at(look.into(), &mut work).await {
            return Some(ended);
        }
        if look == until {
            return None;
        }
        let mut probed = Box::pin(probe(client, subject));
        // Cancel-safe: all arms only wait. What a probe that is dropped would have said is asked again.
        tokio::select! {
            biased;
            ended = &mut work => return Some(ended),
            () = tokio::time::sleep_until(until.into()) => return None,
            probed = &mut probed => {
                // The process of the callee has ended, and will not answer.
                if let Err(CallError::NoInstance(unit)) = probed {
                    return Some(Err(CallError::Transport(format!("the host of {unit} is lost"))));
                }
            }
        }
    }
}

fn text(subject: &CallSubject) -> Subject {
    Subject::from(subject.to_string())
}

/// What a reply says.
async fn read(reply: Reply, streams: &LazyStreams) -> Result<Bytes, CallError> {
    match (reply.status, reply.place) {
        (ReplyStatus::Error(code), _) => Err(CallError::from_wire(code, &String::from_utf8_lossy(&reply.payload))),
        (ReplyStatus::Ok, None) => Ok(reply.payload),
        (ReplyStatus::Ok, Some(place)) => Box::pin(place.take(streams, "an answer's message")).await.map_err(after_all),
    }
}

/// A reply, however it came.
pub(super) struct Reply {
    status: ReplyStatus,
    place: Option<Elsewhere>,
    payload: Bytes,
}

impl Reply {
    fn alone(message: Message) -> Result<Self, CallError> {
        let missing = || CallError::BadMessage("a reply without headers".into());
        let headers = message.headers.as_ref().ok_or_else(missing)?;
        Ok(Self { status: ReplyStatus::read(headers)?, place: Elsewhere::read(headers)?, payload: message.payload })
    }

    pub(super) fn bundled(answer: BundledAnswer) -> Result<Self, CallError> {
        let place = answer.place.as_deref().map(Elsewhere::parse).transpose()?;
        Ok(Self { status: answer.status?, place, payload: answer.payload })
    }
}

/// Tells the callee, when it is dropped, that nobody waits for the call any more.
struct GivenUp<'c> {
    client: &'c Client,
    /// `None` when the callee has answered.
    subject: Option<&'c CallSubject>,
    id: Uuid,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let (Some(subject), Ok(runtime)) = (self.subject.take(), tokio::runtime::Handle::try_current()) else { return };
        let (client, subject, id) = (self.client.clone(), text(subject), self.id);
        runtime.spawn(async move {
            let mut headers = HeaderMap::new();
            let id = HeaderValue::from(id.simple().to_string());
            headers.insert(HeaderName::from_static(header::CANCEL), id);
            if let Err(error) = client.publish_with_headers(subject, headers, Bytes::new()).await {
                tracing::debug!(%error, "cannot cancel a call");
            }
        });
    }
}

/// How long a probe may take. An answer that is late says nothing.
const PROBE: Duration = Duration::from_secs(5);

/// Whether somebody listens where calls are sent; `NoInstance` when certainly nobody does.
pub(in super::super) async fn probe(client: &Client, subject: &CallSubject) -> Result<(), CallError> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header::PROBE), HeaderValue::from("1"));
    let request = Request::new().headers(headers).timeout(Some(PROBE));
    match client.send_request(text(subject), request).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            Err(CallError::NoInstance(subject.unit.to_string()))
        }
        _ => Ok(()),
    }
}
