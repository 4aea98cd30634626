//! A server outside the lattice, for requests that leave it: HTTP/1.1 or, with TLS, HTTP/2 as well.
//!
//! - `/hello`, `/version` of HTTP, `/headers` of the request, `/count` the length of its body, `/echo` the body as it comes
//! - `/big?bytes=N`, `/redirect?to=URL`, `/trailers`, `/sleep?ms=N`
//! - `/stall?ms=N` waits in the middle of its body; `/die` ends there, and `/drop` before it has answered at all

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// Ends when dropped.
pub struct Origin {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    dir: TempDir,
    runtime: Option<Runtime>,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

impl Origin {
    pub fn plain() -> Self {
        Self::start(None, tempfile::tempdir().unwrap())
    }

    /// With TLS, for `localhost` and 127.0.0.1; HTTP/2 where `http2`. Its authority is in [`Self::ca_file`].
    pub fn tls(http2: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = ["localhost", "api.test", "127.0.0.1"].map(str::to_owned);
        let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), dir)
    }

    fn start(tls: Option<TlsAcceptor>, dir: TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<AtomicUsize>::default();
        let counted = connections.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, false).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            serve(stream, http2).await;
                        }
                    }
                });
            }
        });
        Self { address, connections, dir, runtime: Some(runtime) }
    }

    /// Connections that were ever made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // Also in a task of another runtime, which must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, http2: bool) {
    let io = TokioIo::new(stream);
    // A client may go at any time.
    if http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service_fn(answer)).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service_fn(answer)).await;
    }
}

fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn streamed(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let value = query.split_once('=').map_or("", |(_, value)| value);
    let number: u64 = value.parse().unwrap_or(0);
    let pause = move || tokio::time::sleep(Duration::from_millis(number));
    let mut response = Response::new(full(Bytes::new()));
    *response.body_mut() = match request.uri().path() {
        "/version" => full(format!("{:?}", request.version())),
        "/headers" => {
            let line =
                |(name, value): (_, &hyper::header::HeaderValue)| format!("{name}: {}\n", value.to_str().unwrap());
            full(request.headers().iter().map(line).collect::<String>())
        }
        "/count" => {
            let mut body = request.into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.map_err(io::Error::other)?.data_ref().map_or(0, Bytes::len);
            }
            full(length.to_string())
        }
        "/echo" => request.into_body().map_err(io::Error::other).boxed_unsync(),
        "/big" => {
            let chunk: Bytes = (b'a'..=b'z').cycle().take(1 << 16).collect();
            streamed(stream::iter((0..number.div_ceil(1 << 16)).map(move |n| {
                Ok(chunk.slice(..usize::try_from(number - (n << 16)).unwrap_or(usize::MAX).min(chunk.len())))
            })))
        }
        "/redirect" => {
            *response.status_mut() = hyper::StatusCode::FOUND;
            response.headers_mut().insert("location", value.parse().unwrap());
            full("elsewhere")
        }
        "/trailers" => {
            response.headers_mut().insert("trailer", "x-end".parse().unwrap());
            let trailers = HeaderMap::from_iter([("x-end".parse().unwrap(), "well".parse().unwrap())]);
            // Of no known length, as one with a length has no trailers in HTTP/1.1.
            let frames = [Ok(Frame::data(Bytes::from_static(b"before"))), Ok(Frame::trailers(trailers))];
            StreamBody::new(stream::iter(frames)).boxed_unsync()
        }
        "/sleep" => {
            pause().await;
            full("slept")
        }
        "/stall" => {
            let begin = stream::iter([Ok(Bytes::from_static(b"begin "))]);
            streamed(begin.chain(stream::once(async move {
                pause().await;
                Ok(Bytes::from_static(b"end"))
            })))
        }
        "/die" => {
            let begin = stream::iter([Ok(Bytes::from_static(b"not all of it"))]);
            streamed(begin.chain(stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(io::Error::other("it dies"))
            })))
        }
        "/drop" => return Err(io::Error::other("it drops the connection")),
        _ => full("hello"),
    };
    Ok(response)
}
