//! From a connection's request to a handler's response, or to one of our own.

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Uri, header, uri};
use hyper::body::{Body as _, Incoming};
use lattice::wire::CallError;
use lattice_provider::http::{Body, Capped};

use crate::table::Table;

/// Answers one request. Every way out is a response.
pub(crate) async fn respond(table: &Table, max_body: usize, request: Request<Incoming>) -> Response<Body> {
    let Some(authority) = authority(&request) else {
        return text(StatusCode::BAD_REQUEST, "a request needs a Host header\n");
    };
    let Some(handler) = table.find(authority.as_str(), request.uri().path()) else {
        return text(StatusCode::NOT_FOUND, format!("no route for {authority}{}\n", request.uri().path()));
    };
    if request.body().size_hint().lower() > max_body as u64 {
        return refuse(&too_large(request.body().size_hint().lower(), max_body));
    }
    let (mut parts, body) = request.into_parts();
    let mut absolute = parts.uri.into_parts();
    absolute.scheme = Some(uri::Scheme::HTTP);
    absolute.authority = Some(authority);
    absolute.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
    parts.uri = Uri::from_parts(absolute).unwrap_or_default();
    let (body, overflow) = if body.is_end_stream() {
        (Body::Empty, None)
    } else {
        let (body, overflow) = Capped::new(body, max_body as u64);
        (Body::Incoming(body), Some(overflow))
    };
    let traceparent = parts.headers.get("traceparent").and_then(|t| t.to_str().ok()).map(str::to_owned);
    let answer = handler.handle(Request::from_parts(parts, body));
    let answer = match traceparent {
        Some(traceparent) => lattice::bus::traced(traceparent, answer).await,
        None => answer.await,
    };
    // Whatever a component made of half a body: the head is not out yet, and what is wrong is the request.
    if overflow.is_some_and(|overflow| overflow.is_over()) {
        return refuse(&too_large(max_body as u64 + 1, max_body));
    }
    answer.unwrap_or_else(|error| refuse(&error))
}

fn too_large(size: u64, limit: usize) -> CallError {
    CallError::TooLarge { what: "a request body".into(), size, limit: limit as u64 }
}

fn authority<B>(request: &Request<B>) -> Option<uri::Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let host = request.headers().get(header::HOST)?;
    uri::Authority::try_from(host.as_bytes()).ok()
}

/// The response that stands for a call that failed.
pub(crate) fn refuse(error: &CallError) -> Response<Body> {
    let status = match error {
        CallError::NoInstance(_) | CallError::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
        CallError::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
        CallError::Trap(_) => StatusCode::INTERNAL_SERVER_ERROR,
        CallError::TooLarge { what, .. } if what.contains("request") => StatusCode::PAYLOAD_TOO_LARGE,
        CallError::Denied(_) => StatusCode::FORBIDDEN,
        CallError::TooLarge { .. }
        | CallError::Transport(_)
        | CallError::BadMessage(_)
        | CallError::NotServed(_)
        | CallError::Gone(_) => StatusCode::BAD_GATEWAY,
    };
    // What a component says when it traps is for its owner's log, not for whoever called it.
    let body = match error {
        CallError::Trap(_) => "the component failed\n".to_owned(),
        other => format!("{other}\n"),
    };
    let mut response = text(status, body);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
