//! The caller's side.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, Request, RequestErrorKind, Subject};
use bytes::Bytes;
use uuid::Uuid;

use super::{after_all, limit};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams, trace},
    wire::{CallError, CallHead, CallSubject, ReplyStatus, header},
};

/// Longer than the deadline that the callee enforces, so that its own answer has a chance to arrive.
const GRACE: Duration = Duration::from_millis(50);

/// How often it is looked whether the callee of a call that takes long is still there.
const LOOK: Duration = Duration::from_secs(1);

pub(in crate::bus) async fn call(
    client: &Client,
    streams: &LazyStreams,
    subject: &CallSubject,
    head: &CallHead,
    payload: Bytes,
) -> Result<Bytes, CallError> {
    let until = Instant::now() + head.deadline + GRACE;
    let mut headers = HeaderMap::new();
    let mut set = |name, value: String| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    head.write(&mut set);
    if let (None, Some(traceparent)) = (&head.traceparent, trace::current()) {
        set(header::TRACEPARENT, traceparent);
    }
    let id = Uuid::now_v7();
    set(header::CALL, id.simple().to_string());
    // Withdrawn when the call ends, however it does.
    let mut offer = None;
    let payload = if payload.len() > limit(client) {
        let offering = Elsewhere::offer(streams, "a call's message", payload);
        let offered = tokio::time::timeout_at(until.into(), offering).await;
        let (offered, place) = offered.map_err(|_| CallError::Deadline(head.deadline))??;
        set(header::PAYLOAD, place);
        offer = Some(offered);
        Bytes::new()
    } else {
        payload
    };
    let mut given_up = GivenUp { client, subject: Some(subject), id };
    let request = Request::new().headers(headers).payload(payload).timeout(None);
    let work = async {
        let reply = client.send_request(text(subject), request).await;
        given_up.subject = None;
        drop(offer);
        let reply = reply.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => CallError::NoInstance(subject.unit.to_string()),
            _ => CallError::Transport(error.to_string()),
        })?;
        read(reply, streams).await
    };
    watched(client, subject, until, work).await.unwrap_or(Err(CallError::Deadline(head.deadline)))
}

/// Waits for a call to end, as long as there is somebody who answers it; `None` when it has not ended in time. A call
/// has one timer at a time: most end before it is due.
async fn watched<T>(
    client: &Client,
    subject: &CallSubject,
    until: Instant,
    work: impl Future<Output = Result<T, CallError>>,
) -> Option<Result<T, CallError>> {
    let mut work = std::pin::pin!(work);
    loop {
        let look = until.min(Instant::now() + LOOK);
        if let Ok(ended) = tokio::time::timeout_at(look.into(), &mut work).await {
            return Some(ended);
        }
        if look == until {
            return None;
        }
        // Cancel-safe: all arms only wait. What a probe that is dropped would have said is asked again.
        tokio::select! {
            biased;
            ended = &mut work => return Some(ended),
            () = tokio::time::sleep_until(until.into()) => return None,
            probed = probe(client, subject) => {
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
async fn read(reply: Message, streams: &LazyStreams) -> Result<Bytes, CallError> {
    let missing = || CallError::BadMessage("a reply without headers".into());
    let headers = reply.headers.as_ref().ok_or_else(missing)?;
    if let ReplyStatus::Error(code) = ReplyStatus::read(headers)? {
        return Err(CallError::from_wire(code, &String::from_utf8_lossy(&reply.payload)));
    }
    match Elsewhere::read(headers)? {
        None => Ok(reply.payload),
        Some(place) => place.take(streams, "an answer's message").await.map_err(after_all),
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
async fn probe(client: &Client, subject: &CallSubject) -> Result<(), CallError> {
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
