//! Certificates: read from files, and read again when those change; or given as they are, by a secret.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use serde::Deserialize;
use tokio_rustls::rustls::{
    self, ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_util::task::AbortOnDropHandle;

/// Where a server's certificate is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and those between it and the authority, in PEM.
    pub cert: PemSource,
    /// Its private key, in PEM.
    pub key: PemSource,
}

/// Something in PEM.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum PemSource {
    File(PathBuf),
    /// The text itself: a secret that the host has put there.
    Text(String),
}

impl From<String> for PemSource {
    fn from(text: String) -> Self {
        if text.trim_start().starts_with("-----BEGIN ") { Self::Text(text) } else { Self::File(text.into()) }
    }
}

impl fmt::Display for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the given text"),
        }
    }
}

impl fmt::Debug for PemSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PemSource {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        match self {
            Self::File(path) => std::fs::read(path).map_err(|source| TlsError::File { path: path.clone(), source }),
            Self::Text(text) => Ok(text.clone().into_bytes()),
        }
    }

    fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Why there is no certificate to show.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{0} has no certificate in PEM")]
    NoCertificate(PemSource),
    #[error("{0} has no private key in PEM")]
    NoKey(PemSource),
    #[error("{cert} and {key} do not make a certificate with its key: {reason}")]
    Pair { cert: PemSource, key: PemSource, reason: Box<rustls::Error> },
    #[error("reading {cert} came to no end: {source}")]
    Task { cert: PemSource, source: tokio::task::JoinError },
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

/// How often the files are looked at. A certificate is renewed weeks before it ends.
const LOOK: Duration = Duration::from_secs(5);

/// The bytes of both files.
#[derive(PartialEq, Eq)]
struct Pem {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    fn read(&self) -> Result<Pem, TlsError> {
        Ok(Pem { cert: self.cert.read()?, key: self.key.read()? })
    }

    fn parse(&self, pem: &Pem) -> Result<CertifiedKey, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem.cert)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::NoCertificate(self.cert.clone()))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate(self.cert.clone()));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| TlsError::NoKey(self.key.clone()))?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|reason| TlsError::Pair {
            cert: self.cert.clone(),
            key: self.key.clone(),
            reason: Box::new(reason),
        })
    }
}

fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// A certificate that is always the newest of its files.
pub(crate) struct Certificate {
    current: Arc<ArcSwap<CertifiedKey>>,
    /// Stops when this is dropped.
    _watch: Option<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A private key is for nobody's log.
        f.write_str("Certificate")
    }
}

impl Certificate {
    pub(crate) async fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let (pem, key) = in_background(files.clone(), |files| {
            let pem = files.read()?;
            let key = files.parse(&pem)?;
            Ok((pem, key))
        })
        .await?;
        let current = Arc::new(ArcSwap::from_pointee(key));
        let changes = files.cert.is_file() || files.key.is_file();
        let watch = changes.then(|| AbortOnDropHandle::new(tokio::spawn(watch(files, pem, current.clone()))));
        Ok(Self { current, _watch: watch })
    }

    /// Whether it is for `name`.
    fn covers(&self, name: &ServerName<'_>) -> bool {
        let key = self.current.load();
        let cert = key.end_entity_cert().and_then(ParsedCertificate::try_from);
        cert.and_then(|cert| verify_server_name(&cert, name)).is_ok()
    }
}

/// Reading files may wait for a disk.
async fn in_background<T: Send + 'static>(
    files: TlsFiles,
    work: impl FnOnce(&TlsFiles) -> Result<T, TlsError> + Send + 'static,
) -> Result<T, TlsError> {
    let cert = files.cert.clone();
    let done = tokio::task::spawn_blocking(move || work(&files)).await;
    done.unwrap_or_else(|source| Err(TlsError::Task { cert, source }))
}

async fn watch(files: TlsFiles, mut seen: Pem, current: Arc<ArcSwap<CertifiedKey>>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let outcome = in_background(files.clone(), TlsFiles::read).await;
        let outcome = match outcome {
            Ok(pem) if pem == seen => continue,
            // The two files are not written at once: a pair that does not match yet is looked at again.
            Ok(pem) => files.parse(&pem).map(|key| (pem, key)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((pem, key)) => {
                current.store(Arc::new(key));
                (seen, told) = (pem, String::new());
                tracing::info!(cert = %files.cert, "showing the new certificate");
            }
            Err(error) if error.to_string() != told => {
                tracing::warn!(%error, "keeping the certificate as it was");
                told = error.to_string();
            }
            Err(_) => {}
        }
    }
}

/// The certificates of all units on a listener.
#[derive(Debug)]
struct Choice(Vec<Arc<Certificate>>);

impl ResolvesServerCert for Choice {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let covering = name.and_then(|name| self.0.iter().rev().find(|certificate| certificate.covers(&name)));
        // Who asks for a name that nobody has sees the last one, and can say what is wrong with it.
        covering.or(self.0.last()).map(|certificate| certificate.current.load_full())
    }
}

/// What connections are accepted with; of several certificates each client is shown the one for its name.
pub(crate) fn accepting(certificates: Vec<Arc<Certificate>>, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let config = ServerConfig::builder_with_provider(Arc::new(provider()));
    let config = config.with_safe_default_protocol_versions().map_err(TlsError::Setup)?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(Choice(certificates)));
    if http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    config.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Arc::new(config))
}
