//! The caller's side.

use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Message, RequestErrorKind, Subject};
use bytes::Bytes;
use uuid::Uuid;

use super::{after_all, limit};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams, trace},
    wire::{CallError, CallHead, CallSubject, ReplyStatus, header},
};

/// Longer than the deadline that the callee enforces, so that its own answer has a chance to arrive.
const GRACE: Duration = Duration::from_millis(50);

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
    let to = Subject::from(subject.to_string());
    let mut given_up = GivenUp { client, subject: Some(to.clone()), id };
    let left = until.saturating_duration_since(Instant::now());
    let request = async_nats::Request::new().headers(headers).payload(payload).timeout(Some(left));
    let reply = client.send_request(to, request).await;
    if !matches!(&reply, Err(error) if error.kind() == RequestErrorKind::TimedOut) {
        given_up.subject = None;
    }
    let reply = reply.map_err(|error| match error.kind() {
        RequestErrorKind::TimedOut => CallError::Deadline(head.deadline),
        RequestErrorKind::NoResponders => CallError::NoInstance(subject.unit.to_string()),
        _ => CallError::Transport(error.to_string()),
    })?;
    drop(offer);
    read(reply, streams, until).await.unwrap_or(Err(CallError::Deadline(head.deadline)))
}

/// What a reply says; `None` when its payload has not come in time.
async fn read(reply: Message, streams: &LazyStreams, until: Instant) -> Option<Result<Bytes, CallError>> {
    let headers = match reply.headers.as_ref() {
        Some(headers) => headers,
        None => return Some(Err(CallError::BadMessage("a reply without headers".into()))),
    };
    match ReplyStatus::read(headers) {
        Ok(ReplyStatus::Ok) => {}
        Ok(ReplyStatus::Error(code)) => {
            return Some(Err(CallError::from_wire(code, &String::from_utf8_lossy(&reply.payload))));
        }
        Err(error) => return Some(Err(error.into())),
    }
    let place = match Elsewhere::read(headers) {
        Ok(None) => return Some(Ok(reply.payload)),
        Ok(Some(place)) => place,
        Err(error) => return Some(Err(error.into())),
    };
    let whole = tokio::time::timeout_at(until.into(), place.take(streams, "an answer's message")).await.ok()?;
    Some(whole.map_err(after_all))
}

/// Tells the callee, when it is dropped, that nobody waits for the call any more.
struct GivenUp<'c> {
    client: &'c Client,
    /// `None` when the callee has answered.
    subject: Option<Subject>,
    id: Uuid,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let (Some(subject), Ok(runtime)) = (self.subject.take(), tokio::runtime::Handle::try_current()) else { return };
        let (client, id) = (self.client.clone(), self.id);
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
pub(in crate::bus) async fn probe(client: &Client, subject: &CallSubject) -> Result<(), CallError> {
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static(header::PROBE), HeaderValue::from("1"));
    let request = async_nats::Request::new().headers(headers).timeout(Some(PROBE));
    match client.send_request(subject.to_string(), request).await {
        Err(error) if error.kind() == RequestErrorKind::NoResponders => {
            Err(CallError::NoInstance(subject.unit.to_string()))
        }
        _ => Ok(()),
    }
}
