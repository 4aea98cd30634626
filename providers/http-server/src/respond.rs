//! From a connection's request to a handler's response, or to one of our own.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header, request, uri};
use hyper::body::{Body as _, Incoming};
use lattice::{
    trace::{self, Kind, Open, inside, under},
    wire::{CallError, TraceContext, header::TRACEPARENT},
};
use lattice_provider::http::{Body, Capped, recorded};

use crate::{
    access::Access,
    listener::Live,
    table::{Found, Route},
};

/// Where a request came in.
#[derive(Clone)]
pub(crate) struct Entrance {
    pub(crate) client: SocketAddr,
    pub(crate) scheme: uri::Scheme,
}

/// Answers one request. Every way out is a response.
pub(crate) async fn respond(live: &Live, entrance: &Entrance, request: Request<Incoming>) -> Response<Body> {
    let Some(authority) = authority(&request) else {
        return text(StatusCode::BAD_REQUEST, "a request needs a Host header\n");
    };
    let found = find(live, &request, authority.as_str());
    let log = match &found {
        Found::Route(route) => route.policy.access_log,
        Found::OtherMethods(_) | Found::Nothing => live.access_log,
    };
    let access = log.then(|| Access::begin(entrance.client, &request, authority.as_str()));
    let response = match found {
        Found::Route(route) => answer(route, entrance, authority, request).await,
        Found::OtherMethods(methods) => not_allowed(&methods, request.method()),
        Found::Nothing => text(StatusCode::NOT_FOUND, format!("no route for {authority}{}\n", request.uri().path())),
    };
    match access {
        Some(access) => access.follow(response),
        None => response,
    }
}

/// The request's route. A browser that asks beforehand asks for the method that it will use.
fn find<'l, B>(live: &'l Live, request: &Request<B>, host: &str) -> Found<'l> {
    let path = request.uri().path();
    if request.method() == Method::OPTIONS
        && let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD)
        && let Ok(asked) = Method::from_bytes(asked.as_bytes())
        && let Found::Route(route) = live.table.find(&asked, host, path)
        && route.policy.cors.is_some()
    {
        return Found::Route(route);
    }
    live.table.find(request.method(), host, path)
}

async fn answer(
    route: &Route,
    entrance: &Entrance,
    authority: uri::Authority,
    request: Request<Incoming>,
) -> Response<Body> {
    let Some(cors) = &route.policy.cors else { return hand_on(route, entrance, authority, request).await };
    if let Some(response) = cors.preflight(request.method(), request.headers()) {
        return response;
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    let mut response = hand_on(route, entrance, authority, request).await;
    cors.mark(origin.as_ref(), response.headers_mut());
    response
}

async fn hand_on(
    route: &Route,
    entrance: &Entrance,
    authority: uri::Authority,
    request: Request<Incoming>,
) -> Response<Body> {
    if takes_over(&request) {
        let why = "a component cannot take over a connection: WASI has requests and responses, and no WebSocket\n";
        return text(StatusCode::NOT_IMPLEMENTED, why);
    }
    let max_body = route.policy.max_body;
    if request.body().size_hint().lower() > max_body as u64 {
        return refuse(&too_large(request.body().size_hint().lower(), max_body));
    }
    let (mut parts, body) = request.into_parts();
    if route.policy.forwarded {
        tell_client(&mut parts.headers, entrance, &authority);
    }
    let mut absolute = parts.uri.into_parts();
    absolute.scheme = Some(entrance.scheme.clone());
    absolute.authority = Some(authority);
    absolute.path_and_query.get_or_insert(uri::PathAndQuery::from_static("/"));
    parts.uri = Uri::from_parts(absolute).unwrap_or_default();
    let (body, overflow) = if body.is_end_stream() {
        (Body::Empty, None)
    } else {
        let (body, overflow) = Capped::new(body, max_body as u64);
        (Body::Incoming(body), Some(overflow))
    };
    let traceparent = parts.headers.get(TRACEPARENT).and_then(|t| t.to_str().ok()?.parse::<TraceContext>().ok());
    let caller = traceparent.map(Into::into);
    let open = inside(caller.as_ref(), || begin_span(route, entrance, &parts));
    let answer = recorded(open, route.handler.handle(Request::from_parts(parts, body)));
    let answer = under(caller, answer).await;
    // Whatever a component made of half a body: the head is not out yet, and what is wrong is the request.
    if overflow.is_some_and(|overflow| overflow.is_over()) {
        return refuse(&too_large(max_body as u64 + 1, max_body));
    }
    answer.unwrap_or_else(|error| refuse(&error))
}

/// The span of a request that is traced. Its query may hold what is nobody's business.
fn begin_span(route: &Route, entrance: &Entrance, parts: &request::Parts) -> Option<Open> {
    let path = &route.pattern.path;
    let open = trace::root(Kind::Server, route.policy.traced.as_ref()?, || format!("{} {path}", parts.method))?;
    let open = open
        .with("http.request.method", parts.method.as_str())
        .with("http.route", path.as_str())
        .with("url.scheme", entrance.scheme.as_str())
        .with("url.path", parts.uri.path())
        .with("server.address", parts.uri.host().unwrap_or_default())
        .with("client.address", entrance.client.ip().to_canonical().to_string());
    Some(open)
}

/// Whether the client wants the connection for something else than HTTP.
fn takes_over<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    request.method() == Method::CONNECT
        || upgrade.is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Says who the client is. What it says of itself is dropped: anybody can write that.
fn tell_client(headers: &mut HeaderMap, entrance: &Entrance, authority: &uri::Authority) {
    const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
    const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
    headers.remove(header::FORWARDED);
    let values = [
        (FOR, entrance.client.ip().to_canonical().to_string()),
        (PROTO, entrance.scheme.to_string()),
        (HOST, authority.to_string()),
    ];
    for (name, value) in values {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(headers.insert(name, value)),
            Err(_) => drop(headers.remove(name)),
        }
    }
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

fn not_allowed(methods: &[&str], method: &Method) -> Response<Body> {
    let allowed = methods.join(", ");
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("no route for {method} here, but for {allowed}\n"));
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(header::ALLOW, allowed);
    }
    response
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

pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::Full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
