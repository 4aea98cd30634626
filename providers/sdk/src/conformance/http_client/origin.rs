//! A server outside the lattice, for requests that leave it.
//!
//! - `/hello`, `/version` of HTTP, `/headers` of the request, `/method`, `/target` of it as it was sent
//! - `/count` the length of its body, `/echo` the body as it comes
//! - `/big?bytes=N`, `/status?code=N`, `/redirect?to=URL`, `/trailers`, `/cookies`, `/sleep?ms=N`
//! - `/endless` a body without an end
//! - `/stall?ms=N` waits in the middle of its body; `/die` ends there, and `/drop` before it has answered at all

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Of bodies that are large.
const PIECE: usize = 1 << 16;

/// What such a server has seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections that were ever made to it.
    pub connections: AtomicUsize,
    /// Bodies without an end that somebody reads.
    pub endless: AtomicUsize,
    /// Requests whose body was not whole.
    pub cut: AtomicUsize,
}

/// One on this machine, without TLS. It ends with its handle, and all its connections with it.
pub struct Origin {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    _listening: AbortOnDropHandle<()>,
}

impl Origin {
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, seen) = (listener.local_addr()?, Arc::<Seen>::default());
        let counted = seen.clone();
        let listening = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(stream, false, counted.clone()));
            }
        }));
        Ok(Self { address, seen, _listening: listening })
    }
}

/// Answers the requests of one connection.
pub async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool, seen: Arc<Seen>) {
    let (io, service) = (TokioIo::new(stream), service_fn(move |request| answer(request, seen.clone())));
    // A client may go at any time.
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn streamed(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// The begin of a body, and what comes after a pause.
fn later(begin: &'static str, pause: Duration, end: io::Result<&'static str>) -> Body {
    let rest = stream::once(async move {
        tokio::time::sleep(pause).await;
        end.map(|text| Bytes::from_static(text.as_bytes()))
    });
    streamed(stream::iter([Ok(Bytes::from_static(begin.as_bytes()))]).chain(rest))
}

async fn answer(request: Request<Incoming>, seen: Arc<Seen>) -> io::Result<Response<Body>> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let value = query.split_once('=').map_or("", |(_, value)| value);
    let number: u64 = value.parse().unwrap_or(0);
    let mut response = Response::new(full(Bytes::new()));
    *response.body_mut() = match request.uri().path() {
        "/version" => full(format!("{:?}", request.version())),
        "/method" => full(request.method().to_string()),
        "/target" => full(request.uri().path_and_query().map_or_else(String::new, ToString::to_string)),
        "/headers" => {
            let line = |(name, value): (&HeaderName, &HeaderValue)| {
                format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
            };
            full(request.headers().iter().map(line).collect::<String>())
        }
        "/count" => full(count(request, &seen).await?.to_string()),
        "/echo" => request.into_body().map_err(io::Error::other).boxed_unsync(),
        "/big" => big(number),
        "/endless" => endless(seen),
        "/status" => {
            let code = u16::try_from(number).ok().and_then(|code| StatusCode::from_u16(code).ok());
            *response.status_mut() = code.unwrap_or(StatusCode::BAD_REQUEST);
            full("as you wish")
        }
        "/redirect" => {
            *response.status_mut() = StatusCode::FOUND;
            let to = HeaderValue::from_str(value).map_err(io::Error::other)?;
            response.headers_mut().insert(header::LOCATION, to);
            full("elsewhere")
        }
        "/cookies" => {
            for cookie in ["a=1", "b=2"] {
                response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_static(cookie));
            }
            full("two")
        }
        "/trailers" => {
            response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-end"));
            let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-end"), HeaderValue::from_static("well"))]);
            // Of no known length, as one with a length has no trailers in HTTP/1.1.
            let frames = [Ok(Frame::data(Bytes::from_static(b"before"))), Ok(Frame::trailers(trailers))];
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
        "/sleep" => {
            tokio::time::sleep(Duration::from_millis(number)).await;
            full("slept")
        }
        "/stall" => later("begin ", Duration::from_millis(number), Ok("end")),
        "/die" => later("not all of it", Duration::from_millis(50), Err(io::Error::other("it dies"))),
        "/drop" => return Err(io::Error::other("it drops the connection")),
        _ => full("hello"),
    };
    Ok(response)
}

async fn count(request: Request<Incoming>, seen: &Seen) -> io::Result<usize> {
    let (mut body, mut length) = (request.into_body(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.inspect_err(|_| {
            seen.cut.fetch_add(1, Ordering::Relaxed);
        });
        length += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
    }
    Ok(length)
}

fn big(bytes: u64) -> Body {
    let chunk: Bytes = (b'a'..=b'z').cycle().take(PIECE).collect();
    let pieces = (0..bytes.div_ceil(PIECE as u64)).map(move |n| {
        let left = bytes - n * PIECE as u64;
        Ok(chunk.slice(..usize::try_from(left).unwrap_or(PIECE).min(PIECE)))
    });
    streamed(stream::iter(pieces))
}

/// Counts as one that is read for as long as it is there.
struct Reading(Arc<Seen>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.endless.fetch_sub(1, Ordering::Relaxed);
    }
}

fn endless(seen: Arc<Seen>) -> Body {
    seen.endless.fetch_add(1, Ordering::Relaxed);
    let reading = Reading(seen);
    streamed(stream::repeat_with(move || {
        let _ = &reading;
        Ok(Bytes::from_static(&[b'x'; 4096]))
    }))
}
