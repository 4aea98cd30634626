//! The conformance suites' server, with a runtime of its own, and with TLS: HTTP/1.1 or HTTP/2. What it answers, and at which
//! paths, [`origin`] says.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
};

use lattice_provider::conformance::origin::{self, Seen};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::certificates::Certificates;

/// Ends when dropped.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    certificates: Option<Certificates>,
    runtime: Option<Runtime>,
}

impl Origin {
    pub fn plain() -> Self {
        Self::start(None, None)
    }

    /// With TLS, for `localhost` and 127.0.0.1; HTTP/2 where `http2`. Its authority is in [`Self::ca_file`].
    pub fn tls(http2: bool) -> Self {
        let certificates = Certificates::new();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certificates.key.serialize_der()).unwrap();
        let chain = vec![certificates.certificate.der().clone()];
        let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if http2 {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Self::start(Some(TlsAcceptor::from(Arc::new(config))), Some(certificates))
    }

    fn start(tls: Option<TlsAcceptor>, certificates: Option<Certificates>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let counted = seen.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::Relaxed);
                let (tls, seen) = (tls.clone(), counted.clone());
                tokio::spawn(async move {
                    match tls {
                        None => origin::serve(stream, false, seen).await,
                        Some(tls) => {
                            let Ok(stream) = tls.accept(stream).await else { return };
                            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            origin::serve(stream, http2, seen).await;
                        }
                    }
                });
            }
        });
        Self { address, seen, certificates, runtime: Some(runtime) }
    }

    /// Connections that were ever made to it.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    pub fn ca_file(&self) -> PathBuf {
        self.certificates.as_ref().expect("an origin with TLS").ca_file()
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
