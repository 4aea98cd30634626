//! From an origin to a connection that can take requests: look up, check, connect, TLS, handshake.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lattice::{
    model::outbound::{Host, Origin, Scheme},
    wire::{FaultCode, HttpFault},
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use crate::{
    body::Upload,
    config::Config,
    fault,
    pool::{Permit, Sender},
    resolve::Resolver,
    tls::{self, TlsError},
};

/// How long one address has before the next one is tried as well.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 8;
/// The most of a response's head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 256;
/// What a server may send of a body before somebody reads it, and of all bodies of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// A connection with requests under way whose server has vanished is given up after these.
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What makes connections.
pub(crate) struct Connector {
    resolver: Arc<dyn Resolver>,
    tls: TlsConnector,
}

impl Connector {
    pub(crate) fn new(config: &Config, resolver: Arc<dyn Resolver>) -> Result<Self, TlsError> {
        Ok(Self { resolver, tls: tls::connector(config)? })
    }

    /// A connection to an address of `origin` that `admits` lets through, and that address.
    pub(crate) async fn connect(
        &self,
        origin: &Origin,
        admits: impl Fn(IpAddr) -> bool,
        permit: Permit,
        limit: Duration,
    ) -> Result<(Sender, IpAddr), HttpFault> {
        let until = Instant::now() + limit;
        let addresses = match &origin.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = tokio::time::timeout_at(until, self.resolver.resolve(name)).await;
                found.map_err(|_| HttpFault::from(FaultCode::DnsTimeout))??
            }
        };
        if addresses.is_empty() {
            return Err(FaultCode::DnsError.into());
        }
        // What is connected to is what was checked: the name is not looked up again.
        let checked: Vec<_> = addresses.into_iter().filter(|address| admits(*address)).take(MAX_ADDRESSES).collect();
        if checked.is_empty() {
            return Err(FaultCode::DestinationIpProhibited.into());
        }
        let connected = async {
            let (stream, address) = first_of(&checked, origin.port).await?;
            // Only costs time where it fails.
            let _ = stream.set_nodelay(true);
            Ok((self.prepare(origin, stream, permit).await?, address))
        };
        tokio::time::timeout_at(until, connected).await.unwrap_or_else(|_| Err(FaultCode::ConnectionTimeout.into()))
    }

    async fn prepare(&self, origin: &Origin, stream: TcpStream, permit: Permit) -> Result<Sender, HttpFault> {
        if origin.scheme == Scheme::Http {
            return older(stream, permit).await;
        }
        let name = match &origin.host {
            Host::Name(name) => ServerName::try_from(name.clone())
                .map_err(|error| HttpFault::new(FaultCode::RequestUriInvalid, error))?,
            Host::Address(address) => ServerName::from(*address),
        };
        let stream = self.tls.connect(name, stream).await.map_err(|error| fault::tls(&error))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            newer(stream, permit).await
        } else {
            older(stream, permit).await
        }
    }
}

/// The first connection that comes about. The next address begins when the one before has failed or takes long.
async fn first_of(addresses: &[IpAddr], port: u16) -> Result<(TcpStream, IpAddr), HttpFault> {
    let mut left = addresses.iter().copied();
    let mut trying = FuturesUnordered::new();
    let mut last = HttpFault::from(FaultCode::DestinationUnavailable);
    loop {
        let next = left.next();
        let more = next.is_some();
        trying.extend(
            next.map(|address| async move { (TcpStream::connect(SocketAddr::new(address, port)).await, address) }),
        );
        let ended = if more {
            match tokio::time::timeout(HEAD_START, trying.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            }
        } else {
            trying.next().await
        };
        match ended {
            Some((Ok(stream), address)) => return Ok((stream, address)),
            Some((Err(error), _)) => last = fault::connect(&error),
            None => return Err(last),
        }
    }
}

/// HTTP/1.1.
async fn older<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    permit: Permit,
) -> Result<Sender, HttpFault> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD).max_headers(MAX_HEADERS);
    let (sender, connection) = builder.handshake::<_, Upload>(TokioIo::new(stream)).await.map_err(handshake)?;
    tokio::spawn(drive(connection, permit));
    Ok(Sender::Older(sender))
}

/// HTTP/2.
async fn newer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    permit: Permit,
) -> Result<Sender, HttpFault> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(PING_AFTER)
        .keep_alive_timeout(PING_TIMEOUT);
    let (sender, connection) = builder.handshake::<_, Upload>(TokioIo::new(stream)).await.map_err(handshake)?;
    tokio::spawn(drive(connection, permit));
    Ok(Sender::Newer(sender))
}

fn handshake(error: hyper::Error) -> HttpFault {
    fault::exchange(&error, fault::Stage::Head)
}

/// Moves the bytes of a connection, which counts until it ends.
async fn drive(connection: impl Future<Output = hyper::Result<()>>, permit: Permit) {
    if let Err(error) = connection.await {
        // Its requests are told in their own words.
        tracing::debug!(%error, "a connection has ended");
    }
    drop(permit);
}
