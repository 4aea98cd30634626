//! Requests over the lattice: one message with the head and, if it is small, the body; what follows is a stream.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lattice::{
    bus::{Bus, CallHandler, Offer},
    wire::{CallError, CallHead, MAX_INLINE, RequestHead, ResponseHead, decode_http, encode_http},
};

use super::{
    Body, HANDLE, HttpHandler, header_map, interface, pairs,
    transfer::{Arriving, Divided, source, whole},
};
use crate::Caller;

const REQUEST: &str = "a request body";
const RESPONSE: &str = "a response body";

/// The most of a body that goes with its head, in bytes.
fn inline(bus: &Bus) -> usize {
    MAX_INLINE.min(bus.max_payload() / 2)
}

pub(super) fn bad(error: &dyn std::fmt::Display) -> CallError {
    CallError::BadMessage(error.to_string())
}

/// The caller's side.
pub struct HttpRemote {
    pub caller: Arc<dyn Caller>,
    pub bus: Bus,
}

#[async_trait]
impl HttpHandler for HttpRemote {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let Sent { head, begin, rest } = Sent::new(request, &self.bus).await?;
        let payload = encode_http(&head, &begin).map_err(|e| bad(&e))?;
        let reply = self.caller.call(&interface(), HANDLE, None, payload).await?;
        let (head, begin): (ResponseHead, Bytes) = decode_http(&reply).map_err(|e| bad(&e))?;
        arrived(head, begin, rest, &self.bus).await
    }
}

/// The callee's side.
pub struct HttpServed {
    pub handler: Arc<dyn HttpHandler>,
    pub bus: Bus,
}

#[async_trait]
impl CallHandler for HttpServed {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.interface.unversioned() != interface().unversioned() || head.function != HANDLE {
            return Err(CallError::NotServed(format!("{}#{}", head.interface, head.function)));
        }
        let (request, begin): (RequestHead, Bytes) = decode_http(&payload).map_err(|e| bad(&e))?;
        let request = received(request, begin, &self.bus).await?;
        let (head, begin) = answered(self.handler.handle(request).await?, &self.bus).await?;
        encode_http(&head, &begin).map_err(|e| bad(&e))
    }
}

/// A request on its way out of this process.
pub(super) struct Sent {
    pub(super) head: RequestHead,
    /// What of its body goes with the head.
    pub(super) begin: Bytes,
    /// What follows, offered for as long as this is there.
    pub(super) rest: Option<Offer>,
}

impl Sent {
    pub(super) async fn new(request: Request<Body>, bus: &Bus) -> Result<Self, CallError> {
        let (parts, body) = request.into_parts();
        let Divided { begin, trailers, rest } = Divided::new(body, REQUEST, inline(bus)).await?;
        let rest = match rest {
            Some(rest) => Some(bus.offer(source(rest, REQUEST)).await?),
            None => None,
        };
        let head = RequestHead {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: pairs(&parts.headers),
            trailers: pairs(&trailers),
            rest: rest.as_ref().map(Offer::ticket),
        };
        Ok(Self { head, begin, rest })
    }
}

/// The request that was sent.
pub(super) async fn received(head: RequestHead, begin: Bytes, bus: &Bus) -> Result<Request<Body>, CallError> {
    let body = match head.rest {
        Some(ticket) => Arriving::request(begin, bus.streams().await?, ticket),
        None => whole(begin, header_map(head.trailers)?),
    };
    let mut request = Request::builder().method(head.method.as_str()).uri(head.uri).body(body).map_err(|e| bad(&e))?;
    *request.headers_mut() = header_map(head.headers)?;
    Ok(request)
}

/// The head of an answer, and what of its body goes with it; the rest is offered.
pub(super) async fn answered(response: Response<Body>, bus: &Bus) -> Result<(ResponseHead, Bytes), CallError> {
    let (parts, body) = response.into_parts();
    let Divided { begin, trailers, rest } = Divided::new(body, RESPONSE, inline(bus)).await?;
    let rest = match rest {
        Some(rest) => Some(bus.offer(source(rest, RESPONSE)).await?.leave()),
        None => None,
    };
    let (headers, trailers) = (pairs(&parts.headers), pairs(&trailers));
    Ok((ResponseHead { status: parts.status.as_u16(), headers, trailers, rest }, begin))
}

/// The response that was answered to a request of which `rest` may still be under way.
pub(super) async fn arrived(
    head: ResponseHead,
    begin: Bytes,
    rest: Option<Offer>,
    bus: &Bus,
) -> Result<Response<Body>, CallError> {
    let body = match head.rest {
        Some(ticket) => Arriving::response(begin, bus.streams().await?, ticket, rest),
        None => {
            if let Some(request) = rest {
                request.settle();
            }
            whole(begin, header_map(head.trailers)?)
        }
    };
    let mut response = Response::builder().status(head.status).body(body).map_err(|e| bad(&e))?;
    *response.headers_mut() = header_map(head.headers)?;
    Ok(response)
}
