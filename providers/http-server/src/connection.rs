//! Connections: accepting them, TLS, and which version of HTTP each speaks.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, uri};
use hyper::{
    body::Incoming,
    rt::{Read, Write},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    listener::Live,
    respond::{Entrance, respond},
};

/// After an accept that failed (no file handles left, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 256;
/// What an HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
/// How long a client may leave bytes unread that were sent to it: one that never reads would hold its connection for ever.
const UNREAD: Duration = Duration::from_secs(60);
/// What a client over the limit reads.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-type: text/plain; \
                      charset=utf-8\r\ncontent-length: 44\r\n\r\nthis server has as many clients as it takes\n";

pub(crate) async fn accept(
    socket: TcpListener,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            // This task is one of those that are counted.
            Ok((stream, _)) if connections.len() > live.load().newest.max_connections => turn_away(stream, &live),
            Ok((stream, client)) => {
                connections.spawn(serve(stream, client, live.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Refuses a connection at once, in words where the client can read them.
fn turn_away(mut stream: TcpStream, live: &ArcSwap<Live>) {
    if live.load().tls.is_none() {
        tokio::spawn(async move {
            // A client that does not take it has had its chance.
            let _ = tokio::time::timeout(Duration::from_secs(1), async {
                stream.write_all(FULL).await?;
                stream.shutdown().await
            })
            .await;
        });
    }
}

/// What every request of a connection needs.
struct Connection {
    entrance: Entrance,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    /// Settings of the connection, as they were when it began.
    begun: Arc<Live>,
}

async fn serve(stream: TcpStream, client: SocketAddr, live: Arc<ArcSwap<Live>>, stop: CancellationToken) {
    // Small answers leave at once. A connection that refuses either option is served all the same.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD.as_millis() as u32);
    let begun = live.load_full();
    let limit = begun.newest.header_timeout;
    let scheme = if begun.tls.is_some() { uri::Scheme::HTTPS } else { uri::Scheme::HTTP };
    let tls = begun.tls.clone();
    let http2 = begun.newest.http2;
    let connection = Connection { entrance: Entrance { client, scheme }, live, stop: stop.clone(), begun };
    let Some(config) = tls else {
        let is_http2 = http2 && before(limit, &stop, begins_with_preface(&stream)).await.unwrap_or(false);
        return connection.speak(TokioIo::new(stream), is_http2).await;
    };
    match before(limit, &stop, TlsAcceptor::from(config).accept(stream)).await {
        Some(Ok(stream)) => {
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            connection.speak(TokioIo::new(stream), is_http2).await;
        }
        Some(Err(error)) => tracing::debug!(%client, %error, "a client and this server do not agree on TLS"),
        None => {}
    }
}

/// What `work` makes, unless the time is over or the listener stops first.
async fn before<T>(limit: Duration, stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = tokio::time::timeout(limit, work) => done.ok(),
        () = stop.cancelled() => None,
    }
}

/// Whether the client begins with HTTP/2. It reads nothing away.
async fn begins_with_preface(stream: &TcpStream) -> bool {
    let mut seen = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut seen).await {
            Ok(0) | Err(_) => return false,
            Ok(length) if !PREFACE.starts_with(&seen[..length]) => return false,
            Ok(length) if length == PREFACE.len() => return true,
            // The beginning of it alone: no event tells that there is more to peek at.
            Ok(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

impl Connection {
    async fn speak<I>(self, io: I, is_http2: bool)
    where
        I: Read + Write + Unpin + Send + 'static,
    {
        let ended = if is_http2 { self.http2(io).await } else { self.http1(io).await };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended early");
        }
    }

    async fn http1<I: Read + Write + Unpin + Send>(&self, io: I) -> hyper::Result<()> {
        let mut builder = http1::Builder::new();
        let settings = &self.begun.newest;
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(settings.header_timeout)
            .max_buf_size(settings.max_headers);
        let service = service_fn(|request: Request<Incoming>| {
            let live = self.live.load_full();
            async move { Ok::<_, Infallible>(respond(&live, &self.entrance, request).await) }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        // Cancel-safe: the connection is polled on after the stop was seen.
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    async fn http2<I: Read + Write + Unpin + Send + 'static>(self, io: I) -> hyper::Result<()> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        let settings = &self.begun.newest;
        let idle = settings.header_timeout;
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(settings.max_headers).unwrap_or(u32::MAX));
        let begun = Arc::new(AtomicUsize::new(0));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (live, entrance) = (self.live.clone(), Arc::new(self.entrance.clone()));
        let service = service_fn(|request: Request<Incoming>| {
            begun.fetch_add(1, Ordering::Relaxed);
            let (live, entrance, counted) = (live.load_full(), entrance.clone(), Counted::new(&under_way));
            async move {
                let response = respond(&live, &entrance, request).await;
                drop(counted);
                Ok::<_, Infallible>(response)
            }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut seen = 0;
        loop {
            // Cancel-safe: the connection is polled on.
            tokio::select! {
                ended = connection.as_mut() => return ended,
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep(idle) => {
                    let now = begun.load(Ordering::Relaxed);
                    if now == seen && under_way.load(Ordering::Relaxed) == 0 {
                        break;
                    }
                    seen = now;
                }
            }
        }
        // What has begun ends as it would have.
        connection.as_mut().graceful_shutdown();
        connection.await
    }
}

/// One more, for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_as_long_as_it_says() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
