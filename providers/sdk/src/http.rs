//! HTTP as a capability: something that turns a request into a response.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use lattice::{
    bus::CallHandler,
    wire::{CallError, CallHead, Interface, RequestHead, ResponseHead, decode_http, encode_http},
};

use crate::Caller;

/// What answers HTTP requests: a component, here or on another host.
#[async_trait]
pub trait HttpHandler: Send + Sync + 'static {
    /// The response, or why there is none. A response's body may still be on its way when this returns.
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError>;
}

/// Why a body ended early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way.
pub enum Body {
    Empty,
    Full(Bytes),
    /// From a client's connection.
    Incoming(Limited<hyper::body::Incoming>),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Incoming(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Incoming(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Incoming(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes)
    }
}

/// The function that a request is sent to over the lattice.
pub const HANDLE: &str = "handle";

/// `wasi:http/incoming-handler`, as it is called over the lattice: any 0.2 version serves any other.
pub fn interface() -> Interface {
    static INTERFACE: std::sync::LazyLock<Interface> = std::sync::LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a literal in this file, parsed by a test")]
        "wasi:http/incoming-handler@0.2.0".parse().expect("a literal interface")
    });
    INTERFACE.clone()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn header_map(pairs: Vec<(String, Bytes)>) -> Result<HeaderMap, CallError> {
    let bad = |e: &dyn std::fmt::Display| CallError::BadMessage(format!("an HTTP header: {e}"));
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|e| bad(&e))?;
        map.append(name, value);
    }
    Ok(map)
}

/// Everything of a body, when it is at most `limit` bytes long.
async fn collect(body: Body, limit: usize, what: &str) -> Result<(Bytes, Option<HeaderMap>), CallError> {
    let too_large = |size: u64| CallError::TooLarge { what: what.to_owned(), size, limit: limit as u64 };
    if let Some(size) = http_body::Body::size_hint(&body).exact().filter(|size| *size > limit as u64) {
        return Err(too_large(size));
    }
    let whole = Limited::new(body, limit).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            too_large(limit as u64 + 1)
        } else {
            CallError::Transport(format!("{what} ended early: {error}"))
        }
    })?;
    let trailers = whole.trailers().cloned();
    Ok((whole.to_bytes(), trailers))
}

/// The caller's side: one request is one message on the lattice, and so is one response.
pub struct HttpRemote {
    pub caller: Arc<dyn Caller>,
    /// The largest body that fits a message, in bytes.
    pub max_body: usize,
}

#[async_trait]
impl HttpHandler for HttpRemote {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (parts, body) = request.into_parts();
        let (body, _) = collect(body, self.max_body, "a request body").await?;
        let head = RequestHead {
            method: parts.method.to_string(),
            uri: parts.uri.to_string(),
            headers: pairs(&parts.headers),
        };
        let payload = encode_http(&head, &body).map_err(|e| CallError::BadMessage(e.to_string()))?;
        let reply = self.caller.call(&interface(), HANDLE, payload).await?;
        let (head, body): (ResponseHead, Bytes) =
            decode_http(&reply).map_err(|e| CallError::BadMessage(e.to_string()))?;
        let bad = |e: http::Error| CallError::BadMessage(e.to_string());
        let trailers = header_map(head.trailers)?;
        let body = if trailers.is_empty() {
            Body::Full(body)
        } else {
            let whole = http_body_util::Full::new(body)
                .map_err(|never| match never {})
                .with_trailers(async move { Some(Ok(trailers)) });
            Body::Stream(Box::pin(whole))
        };
        let mut response = Response::builder().status(head.status).body(body).map_err(bad)?;
        *response.headers_mut() = header_map(head.headers)?;
        Ok(response)
    }
}

/// The callee's side.
pub struct HttpServed {
    pub handler: Arc<dyn HttpHandler>,
    /// The largest body that fits a message, in bytes.
    pub max_body: usize,
}

#[async_trait]
impl CallHandler for HttpServed {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if head.interface.unversioned() != interface().unversioned() || head.function != HANDLE {
            return Err(CallError::NotServed(format!("{}#{}", head.interface, head.function)));
        }
        let bad = |e: &dyn std::fmt::Display| CallError::BadMessage(e.to_string());
        let (request, body): (RequestHead, Bytes) = decode_http(&payload).map_err(|e| bad(&e))?;
        let mut built = Request::builder()
            .method(request.method.as_str())
            .uri(request.uri)
            .body(Body::Full(body))
            .map_err(|e| bad(&e))?;
        *built.headers_mut() = header_map(request.headers)?;
        let (parts, body) = self.handler.handle(built).await?.into_parts();
        let (body, trailers) = collect(body, self.max_body, "a response body").await?;
        let trailers = trailers.as_ref().map(pairs).unwrap_or_default();
        let head = ResponseHead { status: parts.status.as_u16(), headers: pairs(&parts.headers), trailers };
        encode_http(&head, &body).map_err(|e| bad(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    #[async_trait]
    impl HttpHandler for Echo {
        async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
            let (parts, body) = request.into_parts();
            let mut response = Response::new(body);
            *response.headers_mut() = parts.headers;
            Ok(response)
        }
    }

    /// Straight into the served side, without a lattice.
    struct Straight(HttpServed);

    #[async_trait]
    impl Caller for Straight {
        async fn call(
            &self,
            interface: &Interface,
            function: &'static str,
            payload: Bytes,
        ) -> Result<Bytes, CallError> {
            let head = CallHead {
                interface: interface.clone(),
                function: function.into(),
                deadline: std::time::Duration::from_secs(1),
                caller: None,
                content_type: Default::default(),
                traceparent: None,
                session: None,
            };
            self.0.call(head, payload).await
        }
    }

    fn remote(max_request: usize, max_response: usize) -> HttpRemote {
        let served = HttpServed { handler: Arc::new(Echo), max_body: max_response };
        HttpRemote { caller: Arc::new(Straight(served)), max_body: max_request }
    }

    #[tokio::test]
    async fn a_request_crosses_with_repeated_and_binary_headers() {
        let request = Request::builder()
            .uri("http://a/b?c")
            .header("x", "1")
            .header("x", HeaderValue::from_bytes(b"\xff").unwrap())
            .body(Body::Full(Bytes::from_static(b"body")))
            .unwrap();
        let response = remote(100, 100).handle(request).await.unwrap();
        let values: Vec<_> = response.headers().get_all("x").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, [&b"1"[..], b"\xff"]);
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "body");
    }

    #[tokio::test]
    async fn too_large_is_an_error_that_says_which() {
        let request = |n: usize| Request::new(Body::Full(Bytes::from(vec![0; n])));
        let error = remote(10, 100).handle(request(11)).await.err().unwrap();
        assert_eq!(error.to_string(), "a request body of 11 bytes is over the limit of 10 bytes");
        let error = remote(100, 10).handle(request(11)).await.err().unwrap();
        assert_eq!(error.to_string(), "a response body of 11 bytes is over the limit of 10 bytes");
    }
}
