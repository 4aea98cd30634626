//! Bodies on their way over the lattice: the beginning in the message, the rest as a stream.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use lattice::{
    bus::{Incoming, Offer, Piece, Source, Streams},
    wire::{CallError, ContentType, Ticket, decode, encode},
};

use super::{Body, BodyError, header_map, pairs};

/// How long the rest of a body that is known to be small is waited for, so that it can go with its head.
const PATIENCE: Duration = Duration::from_millis(10);

/// A body as it goes into a message.
pub(super) struct Divided {
    /// What goes with the head.
    pub(super) begin: Bytes,
    pub(super) trailers: HeaderMap,
    /// What follows; `None` when the beginning was all.
    pub(super) rest: Option<Body>,
}

impl Divided {
    /// Takes what is there at once, up to about `inline` bytes.
    pub(super) async fn new(body: Body, what: &'static str, inline: usize) -> Result<Self, CallError> {
        let whole = |begin| Self { begin, trailers: HeaderMap::new(), rest: None };
        match body {
            Body::Empty => Ok(whole(Bytes::new())),
            Body::Full(bytes) if bytes.len() <= inline => Ok(whole(bytes)),
            Body::Full(_) => Ok(Self { begin: Bytes::new(), trailers: HeaderMap::new(), rest: Some(body) }),
            Body::Incoming(_) | Body::Stream(_) => {
                let mut beginning = Beginning { pieces: Vec::new(), length: 0, trailers: HeaderMap::new(), body };
                let ended = beginning.take(inline).await.map_err(|error| ended_early(&error, what))?;
                let Beginning { mut pieces, length, trailers, body } = beginning;
                let begin = match pieces.len() {
                    1 => pieces.swap_remove(0),
                    _ => pieces.iter().fold(BytesMut::with_capacity(length), add).freeze(),
                };
                Ok(Self { begin, trailers, rest: (!ended).then_some(body) })
            }
        }
    }
}

fn add(mut all: BytesMut, piece: &Bytes) -> BytesMut {
    all.extend_from_slice(piece);
    all
}

struct Beginning {
    pieces: Vec<Bytes>,
    length: usize,
    trailers: HeaderMap,
    body: Body,
}

impl Beginning {
    /// Whether the body has ended.
    async fn take(&mut self, inline: usize) -> Result<bool, BodyError> {
        let small = self.body.size_hint().exact().is_some_and(|size| size <= inline as u64);
        let first = std::future::poll_fn(|cx| match self.poll(cx, inline) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => Poll::Ready(None),
        });
        match first.await {
            Some(ended) => ended,
            None if small => {
                let more = std::future::poll_fn(|cx| self.poll(cx, inline));
                tokio::time::timeout(PATIENCE, more).await.unwrap_or(Ok(false))
            }
            None => Ok(false),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, inline: usize) -> Poll<Result<bool, BodyError>> {
        while !self.body.is_end_stream() {
            if self.length >= inline {
                return Poll::Ready(Ok(false));
            }
            let Some(frame) = ready!(pin!(&mut self.body).poll_frame(cx)) else { break };
            match frame?.into_data() {
                Ok(data) => {
                    self.length += data.len();
                    self.pieces.push(data);
                }
                Err(frame) => self.trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        Poll::Ready(Ok(true))
    }
}

/// What a body's error means to the other side.
fn ended_early(error: &BodyError, what: &str) -> CallError {
    match error.downcast_ref::<CallError>() {
        Some(error) => error.clone(),
        None => CallError::Transport(format!("{what} ended early: {error}")),
    }
}

/// A body as the source of a stream.
pub(super) fn source(body: Body, what: &'static str) -> Source {
    Box::pin(BodySource { body, what })
}

struct BodySource {
    body: Body,
    what: &'static str,
}

impl Stream for BodySource {
    type Item = Result<Piece, CallError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let what = self.what;
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else { return Poll::Ready(None) };
        Poll::Ready(Some(match frame.map(Frame::into_data) {
            Ok(Ok(data)) => Ok(Piece::Data(data)),
            Ok(Err(frame)) => {
                let trailers = pairs(&frame.into_trailers().unwrap_or_default());
                encode(ContentType::Postcard, &trailers).map(Piece::Trailers).map_err(CallError::from)
            }
            Err(error) => Err(ended_early(&error, what)),
        }))
    }
}

/// A body that has come as a whole.
pub(super) fn whole(bytes: Bytes, trailers: HeaderMap) -> Body {
    if trailers.is_empty() {
        return Body::Full(bytes);
    }
    let body = http_body_util::Full::new(bytes).map_err(|never| match never {});
    Body::Stream(Box::pin(body.with_trailers(async move { Some(Ok(trailers)) })))
}

/// A body of which the rest is still to come. The stream is taken when the body is first read.
pub(super) struct Arriving {
    begin: Bytes,
    from: From,
    /// Nobody else may take the stream: it is not wanted when this is dropped.
    ours: bool,
    /// The request's own body, which goes on as long as the response's does.
    request: Option<Offer>,
}

enum From {
    Offered(Streams, Ticket),
    Coming(Incoming),
    Ended,
}

impl Arriving {
    /// The body of a request. Until it is read, another instance may get the request instead.
    pub(super) fn request(begin: Bytes, streams: Streams, ticket: Ticket) -> Body {
        Body::Stream(Box::pin(Self { begin, from: From::Offered(streams, ticket), ours: false, request: None }))
    }

    /// The body of a response.
    pub(super) fn response(begin: Bytes, streams: Streams, ticket: Ticket, request: Option<Offer>) -> Body {
        Body::Stream(Box::pin(Self { begin, from: From::Offered(streams, ticket), ours: true, request }))
    }

    /// The stream, taken now if it is not yet.
    fn incoming(&mut self) -> Result<Option<&mut Incoming>, CallError> {
        if let From::Offered(streams, ticket) = &self.from {
            self.from = From::Coming(streams.take(ticket)?);
        }
        Ok(match &mut self.from {
            From::Coming(incoming) => Some(incoming),
            From::Offered(..) | From::Ended => None,
        })
    }

    fn end(&mut self) {
        self.from = From::Ended;
        if let Some(request) = self.request.take() {
            request.settle();
        }
    }
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let begin = std::mem::take(&mut this.begin);
        // Taken in any case, so that the rest is on its way while the reader has the beginning.
        let Some(incoming) = this.incoming()? else { return Poll::Ready(None) };
        if !begin.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(begin))));
        }
        let piece = ready!(Pin::new(incoming).poll_next(cx));
        Poll::Ready(match piece {
            Some(Ok(Piece::Data(data))) => Some(Ok(Frame::data(data))),
            Some(Ok(Piece::Trailers(trailers))) => {
                let trailers = decode(ContentType::Postcard, &trailers).map_err(CallError::from);
                Some(Ok(Frame::trailers(trailers.and_then(header_map)?)))
            }
            Some(Err(error)) => Some(Err(CallError::from(error).into())),
            None => {
                this.end();
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.from, From::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.begin.len() as u64);
        hint
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if self.ours && matches!(self.from, From::Offered(..)) {
            // Taken and dropped: the sender need not wait for somebody to come. Where that fails the offer lapses.
            let _ = self.incoming();
        }
    }
}
