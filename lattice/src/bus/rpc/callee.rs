//! The callee's side: making one call, and answering it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_nats::{Client, HeaderMap, HeaderName, HeaderValue, Subject};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{CallHandler, after_all, bundles::Answer, limit, within};
use crate::{
    bus::{payload::Elsewhere, streams::LazyStreams},
    trace::{self, Kind, inside, spanned, under},
    wire::{CallError, CallHead, ReplyStatus, UnitId, bundle::encode_answer, header},
};

/// What every call needs, however many there are.
pub(super) struct Callee {
    pub(super) client: Client,
    pub(super) streams: LazyStreams,
    /// Whose calls they are.
    pub(super) unit: UnitId,
    pub(super) handler: Arc<dyn CallHandler>,
    /// Takes the answers to calls that came with others.
    pub(super) answers: mpsc::Sender<Answer>,
}

/// A call, however it came.
pub(super) struct Call {
    pub(super) head: CallHead,
    /// Where the payload is, when it is not here.
    pub(super) elsewhere: Option<Elsewhere>,
    pub(super) payload: Bytes,
    pub(super) reply: ReplyTo,
}

/// How a call is answered.
#[derive(Clone)]
pub(super) enum ReplyTo {
    Message(Subject),
    /// Together with others.
    Bundle {
        to: Subject,
        id: Uuid,
    },
}

impl Callee {
    /// Makes one call and answers it.
    pub(super) async fn call(self: Arc<Self>, call: Call) {
        let Call { head, elsewhere, payload, reply } = call;
        let deadline = head.deadline;
        let parent = head.traceparent.map(Into::into);
        let open = inside(parent.as_ref(), || trace::call(Kind::Server, &self.unit, &head.interface, &head.function));
        let work = spanned(open, async {
            let payload = match elsewhere {
                Some(place) => place.take(&self.streams, "a call's message").await?,
                None => payload,
            };
            self.handler.call(head, payload).await
        });
        let outcome = match within(deadline, under(parent, AssertUnwindSafe(work).catch_unwind())).await {
            Some(Ok(outcome)) => outcome,
            // A fault of ours is not one that the caller must wait for, and not the end of all other calls.
            Some(Err(_)) => Err(CallError::Trap("the callee panicked; the log of its host says where".into())),
            None => Err(CallError::Deadline(deadline)),
        };
        self.answer(reply, outcome).await;
    }

    pub(super) async fn answer(&self, reply: ReplyTo, outcome: Result<Bytes, CallError>) {
        let mut place = None;
        let outcome = match outcome {
            Ok(payload) if payload.len() > limit(&self.client) => {
                let offered = Elsewhere::offer(&self.streams, "an answer's message", payload).await;
                offered.map_err(after_all).map(|(offer, header)| {
                    place = Some(header);
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
        let sent = match reply {
            ReplyTo::Message(to) => self.send(to, status, place, payload).await,
            ReplyTo::Bundle { to, id } => match encode_answer(id, status, place.as_deref(), &payload) {
                Ok(entry) => self.answers.send(Answer { to, entry }).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            },
        };
        if let Err(error) = sent {
            tracing::debug!(error, "cannot answer a call");
        }
    }

    /// An answer in a message of its own.
    async fn send(
        &self,
        to: Subject,
        status: ReplyStatus,
        place: Option<String>,
        payload: Bytes,
    ) -> Result<(), String> {
        let mut headers = HeaderMap::new();
        let mut set = |name, value: String| headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        set(header::STATUS, status.header_value());
        if let Some(place) = place {
            set(header::PAYLOAD, place);
        }
        self.client.publish_with_headers(to, headers, payload).await.map_err(|error| error.to_string())
    }
}
