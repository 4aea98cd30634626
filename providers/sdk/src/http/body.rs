//! Bodies on their way.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use lattice::{
    trace::{Open, under},
    wire::CallError,
};

/// Why a body ended early. When it is a [`CallError`] it says how the lattice sees it.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way.
pub enum Body {
    Empty,
    Full(Bytes),
    /// From a client's connection.
    Incoming(Capped),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError> + Send>>),
}

/// An answer that is recorded as a span, until the last of its body has gone out; without one just the answer.
pub async fn recorded(
    open: Option<Open>,
    answer: impl Future<Output = Result<Response<Body>, CallError>>,
) -> Result<Response<Body>, CallError> {
    let Some(mut open) = open else { return answer.await };
    match under(open.place(), answer).await {
        Ok(response) => {
            open.set("http.response.status_code", response.status().as_u16());
            let failed = response.status().is_server_error().then(|| response.status());
            Ok(match response.body().is_end_stream() {
                true => {
                    open.end(failed.as_ref().map(|status| status as _));
                    response
                }
                false => response.map(|body| Body::Stream(Box::pin(Recorded { body, open: Some(open), failed }))),
            })
        }
        Err(error) => {
            open.end(Some(&error));
            Err(error)
        }
    }
}

/// The body of a recorded answer.
struct Recorded {
    body: Body,
    /// `None` when it has ended.
    open: Option<Open>,
    failed: Option<StatusCode>,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Err(error)) => this.open.take().into_iter().for_each(|open| open.end(Some(error))),
            // Who reads asks no more once it knows that this was the end.
            Some(Ok(_)) if !this.body.is_end_stream() => {}
            _ => {
                let failed = this.failed.as_ref().map(|status| status as _);
                this.open.take().into_iter().for_each(|open| open.end(failed));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
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

/// A client's body, as long as it is not over its limit.
pub struct Capped {
    body: hyper::body::Incoming,
    /// In bytes.
    limit: u64,
    seen: u64,
    over: Arc<AtomicBool>,
}

/// Whether a body was over its limit, for who has handed the body on.
pub struct Overflow(Arc<AtomicBool>);

impl Overflow {
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Capped {
    /// A body that fails with [`CallError::TooLarge`] where it has more than `limit` bytes.
    pub fn new(body: hyper::body::Incoming, limit: u64) -> (Self, Overflow) {
        let over = Arc::new(AtomicBool::new(false));
        (Self { body, limit, seen: 0, over: over.clone() }, Overflow(over))
    }
}

impl http_body::Body for Capped {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        this.seen += frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref()).map_or(0, |data| data.len() as u64);
        if this.seen > this.limit {
            this.over.store(true, Ordering::Relaxed);
            let (size, limit) = (this.seen, this.limit);
            return Poll::Ready(Some(Err(CallError::TooLarge { what: "a request body".into(), size, limit }.into())));
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
