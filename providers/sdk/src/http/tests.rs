//! Requests through the memory bus: the same messages and streams as over NATS.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use lattice::{
    bus::{Bus, CallHandler},
    wire::{CallError, CallHead, Interface, MAX_INLINE, value::FunctionShape},
};
use tokio::{sync::mpsc, time::timeout};

use super::{Body, BodyError, HttpHandler, HttpRemote, HttpServed};
use crate::Caller;

const SOON: Duration = Duration::from_secs(20);

/// Answers with the request's body and headers; refuses where the path says so.
struct Echo;

#[async_trait]
impl HttpHandler for Echo {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        if parts.uri.path() == "/refuse" {
            return Err(CallError::Overloaded("app/unit".into()));
        }
        let body = if parts.uri.path() == "/ignore" { Body::Full(Bytes::from_static(b"ignored")) } else { body };
        let mut response = Response::new(body);
        *response.headers_mut() = parts.headers;
        Ok(response)
    }
}

/// Straight into the served side.
struct Straight(HttpServed);

#[async_trait]
impl Caller for Straight {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let head = CallHead {
            interface: interface.clone(),
            function: function.into(),
            deadline: Duration::from_secs(1),
            caller: None,
            content_type: Default::default(),
            traceparent: None,
            session: None,
        };
        self.0.call(head, payload).await
    }
}

fn remote() -> HttpRemote {
    let bus = Bus::memory("default".parse().unwrap());
    let served = HttpServed { handler: Arc::new(Echo), bus: bus.clone() };
    HttpRemote { caller: Arc::new(Straight(served)), bus }
}

/// A body that a test feeds.
struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BodyError>>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyError;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(cx)
    }
}

type Feed = mpsc::Sender<Result<Frame<Bytes>, BodyError>>;

fn fed(path: &str) -> (Feed, Request<Body>) {
    let (feed, frames) = mpsc::channel(4);
    let body = Body::Stream(Box::pin(Fed(frames)));
    (feed, Request::builder().uri(format!("http://a{path}")).body(body).unwrap())
}

fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, BodyError>> {
    timeout(SOON, body.frame()).await.expect("a frame or an end")
}

#[tokio::test]
async fn a_request_crosses_with_repeated_and_binary_headers() {
    let request = Request::builder()
        .uri("http://a/b?c")
        .header("x", "1")
        .header("x", HeaderValue::from_bytes(b"\xff").unwrap())
        .body(Body::Full(Bytes::from_static(b"body")))
        .unwrap();
    let response = remote().handle(request).await.unwrap();
    let values: Vec<_> = response.headers().get_all("x").iter().map(HeaderValue::as_bytes).collect();
    assert_eq!(values, [&b"1"[..], b"\xff"]);
    assert!(matches!(response.body(), Body::Full(_)), "small and whole: one message each way");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");
}

#[tokio::test]
async fn bodies_of_any_size_cross_whole() {
    for length in [0, 1, MAX_INLINE, MAX_INLINE + 1, 20_000_000] {
        let bytes: Bytes = (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>().into();
        let response = remote().handle(Request::new(Body::Full(bytes.clone()))).await.unwrap();
        assert!(timeout(SOON, response.into_body().collect()).await.unwrap().unwrap().to_bytes() == bytes, "{length}");
    }
}

#[tokio::test]
async fn both_directions_flow_at_once_and_trailers_follow() {
    let (feed, request) = fed("/");
    feed.send(data("first")).await.unwrap();
    let mut body = remote().handle(request).await.unwrap().into_body();
    assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), "first");
    for text in ["second", "third"] {
        feed.send(data(text)).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), text);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    feed.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    drop(feed);
    assert_eq!(next(&mut body).await.unwrap().unwrap().into_trailers().unwrap(), trailers);
    assert!(next(&mut body).await.is_none());
    // Of a body that is there at once they go with the head.
    let (feed, request) = fed("/");
    feed.send(data("all")).await.unwrap();
    feed.send(Ok(Frame::trailers(trailers.clone()))).await.unwrap();
    drop(feed);
    let whole = remote().handle(request).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(whole.to_bytes(), "all");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_to_its_reader() {
    for (error, told) in [
        (BodyError::from("reset"), "the connection failed: a request body ended early: reset"),
        (
            CallError::TooLarge { what: "a request body".into(), size: 2, limit: 1 }.into(),
            "a request body of 2 bytes is over the limit of 1 bytes",
        ),
    ] {
        let (feed, request) = fed("/");
        feed.send(data("half")).await.unwrap();
        let mut body = remote().handle(request).await.unwrap().into_body();
        assert_eq!(next(&mut body).await.unwrap().unwrap().into_data().unwrap(), "half");
        feed.send(Err(error)).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap().unwrap_err().to_string(), told);
    }
}

#[tokio::test]
async fn a_body_goes_when_nobody_reads_it_any_more() {
    let remote = remote();
    // Answered without the body; answered, and the response dropped unread or half read; refused.
    let (feed, request) = fed("/ignore");
    assert!(remote.handle(request).await.is_ok());
    timeout(SOON, feed.closed()).await.expect("the answer did not need it");
    let (feed, request) = fed("/");
    drop(remote.handle(request).await.unwrap());
    timeout(SOON, feed.closed()).await.expect("nobody reads the response");
    let (feed, request) = fed("/");
    feed.send(data("half")).await.unwrap();
    let mut body = remote.handle(request).await.unwrap().into_body();
    assert!(next(&mut body).await.unwrap().is_ok());
    drop(body);
    timeout(SOON, feed.closed()).await.expect("nobody reads the response any more");
    let (feed, request) = fed("/refuse");
    assert!(remote.handle(request).await.is_err());
    timeout(SOON, feed.closed()).await.expect("nobody takes the request");
}

/// Refuses once; a refused request may be sent again.
struct Again(Straight);

#[async_trait]
impl Caller for Again {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        struct Refuse;
        #[async_trait]
        impl HttpHandler for Refuse {
            async fn handle(&self, _: Request<Body>) -> Result<Response<Body>, CallError> {
                Err(CallError::Overloaded("app/unit".into()))
            }
        }
        let first = Straight(HttpServed { handler: Arc::new(Refuse), bus: self.0.0.bus.clone() });
        assert!(
            first.call(interface, function, shape, payload.clone()).await.is_err_and(|e| e.certainly_not_started())
        );
        self.0.call(interface, function, shape, payload).await
    }
}

#[tokio::test]
async fn a_refused_request_with_a_streamed_body_can_go_to_another_instance() {
    let bus = Bus::memory("default".parse().unwrap());
    let served = HttpServed { handler: Arc::new(Echo), bus: bus.clone() };
    let remote = HttpRemote { caller: Arc::new(Again(Straight(served))), bus };
    let bytes = Bytes::from(vec![5; 3_000_000]);
    let response = remote.handle(Request::new(Body::Full(bytes.clone()))).await.unwrap();
    assert!(timeout(SOON, response.into_body().collect()).await.unwrap().unwrap().to_bytes() == bytes);
}
