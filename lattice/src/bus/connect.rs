//! Connecting to NATS with the options that its users know.

use std::{fmt, path::PathBuf, time::Duration};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, jetstream};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

/// How to reach NATS: command-line options, each with its environment variable.
#[derive(Clone, Default, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsOptions {
    /// URLs of NATS servers, separated by commas
    #[arg(
        long = "nats",
        env = "NATS_URL",
        value_delimiter = ',',
        default_value = "nats://127.0.0.1:4222",
        global = true
    )]
    pub urls: Vec<String>,
    /// Credentials file (JWT and seed)
    #[arg(long = "nats-creds", env = "NATS_CREDS", value_name = "FILE", global = true)]
    pub creds: Option<PathBuf>,
    /// File with an nkey user seed
    #[arg(long = "nats-nkey", env = "NATS_NKEY", value_name = "FILE", global = true)]
    pub nkey: Option<PathBuf>,
    /// User name
    #[arg(long = "nats-user", env = "NATS_USER", global = true)]
    pub user: Option<String>,
    /// Password
    #[arg(long = "nats-password", env = "NATS_PASSWORD", hide_env_values = true, global = true)]
    pub password: Option<String>,
    /// Token
    #[arg(long = "nats-token", env = "NATS_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// Require TLS
    #[arg(long = "nats-tls", env = "NATS_TLS", global = true)]
    pub tls: bool,
    /// PEM file with the certificate authority of the servers
    #[arg(long = "nats-ca", env = "NATS_CA", value_name = "FILE", global = true)]
    pub ca: Option<PathBuf>,
    /// PEM file with this client's certificate
    #[arg(long = "nats-cert", env = "NATS_CERT", value_name = "FILE", requires = "key", global = true)]
    pub cert: Option<PathBuf>,
    /// PEM file with the key of this client's certificate
    #[arg(long = "nats-key", env = "NATS_KEY", value_name = "FILE", requires = "cert", global = true)]
    pub key: Option<PathBuf>,
    /// JetStream domain that keeps the lattice, where a leaf node or its hub has one
    #[arg(long = "nats-domain", env = "NATS_DOMAIN", value_name = "DOMAIN", global = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// What the subjects begin with at which answers are taken: for a user who may not take them elsewhere.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbox_prefix: Option<String>,
    /// The same for streams: the process in their subjects.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Uuid>,
}

impl fmt::Debug for NatsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsOptions")
            .field("urls", &self.shown_urls())
            .field("creds", &self.creds)
            .field("nkey", &self.nkey)
            .finish_non_exhaustive()
    }
}

impl NatsOptions {
    /// The same with paths that mean the same in every folder: for processes that begin elsewhere.
    pub fn absolute(mut self) -> std::io::Result<Self> {
        for path in [&mut self.creds, &mut self.nkey, &mut self.ca, &mut self.cert, &mut self.key].into_iter().flatten()
        {
            *path = std::path::absolute(&*path)?;
        }
        Ok(self)
    }

    /// The URLs without passwords, for people to read.
    pub fn shown_urls(&self) -> String {
        let hide = |url: &String| match (url.find("://"), url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}***{}", &url[..scheme + 3], &url[at..]),
            _ => url.clone(),
        };
        self.urls.iter().map(hide).collect::<Vec<_>>().join(", ")
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot read {what} {}", path.display())]
    File { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error("cannot reach NATS at {urls}: {reason}")]
    Unreachable { urls: String, reason: String },
    #[error("NATS at {urls} refuses these credentials: {reason}")]
    Refused { urls: String, reason: String },
    #[error("NATS server {version} is too old: 2.10 or newer is needed")]
    TooOld { version: String },
    #[error("JetStream is not available on NATS at {server}: {reason}; start nats-server with -js")]
    NoJetStream { server: String, reason: String },
    #[error(
        "NATS at {server} has JetStream of its own, domain `{domain}`, and there is no lattice in it: say which domain keeps the \
         lattice, with `--nats-domain {domain}` if it is to be this one"
    )]
    WhichDomain { server: String, domain: String },
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Between attempts to reconnect: quick enough that a restarted server is found within a moment.
const RECONNECT_DELAY: Duration = Duration::from_millis(200);

/// When there has to be a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    Now,
    /// It is made when that can be done, and until then nothing is sent.
    Later,
}

pub(super) async fn connect(
    options: &NatsOptions,
    name: &str,
    urgency: Urgency,
) -> Result<(Client, watch::Receiver<bool>), ConnectError> {
    let (connected, is_connected) = watch::channel(urgency == Urgency::Now);
    let connect = authenticate(options)
        .await?
        .name(name)
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempts| if attempts <= 1 { Duration::ZERO } else { RECONNECT_DELAY })
        .event_callback(move |event| {
            match &event {
                Event::Connected => drop(connected.send_replace(true)),
                Event::Disconnected | Event::Closed => drop(connected.send_replace(false)),
                _ => {}
            }
            async move {
                match event {
                    Event::Connected => tracing::info!("connected to NATS"),
                    Event::Disconnected => tracing::warn!("lost the connection to NATS; reconnecting"),
                    Event::SlowConsumer(id) => {
                        tracing::warn!(id, "NATS drops messages of a subscription that does not keep up")
                    }
                    Event::ServerError(error) => tracing::warn!(%error, "NATS reports an error"),
                    Event::ClientError(error) => tracing::debug!(%error, "NATS client"),
                    other => tracing::info!(event = %other, "NATS"),
                }
            }
        });
    let connect = if urgency == Urgency::Later { connect.retry_on_initial_connect() } else { connect };
    let urls = options.shown_urls();
    let client = connect.connect(options.urls.clone()).await.map_err(|error| {
        let reason = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                ConnectError::Refused { urls, reason }
            }
            _ => ConnectError::Unreachable { urls, reason },
        }
    })?;
    if urgency == Urgency::Now {
        check_version(&client)?;
    }
    Ok((client, is_connected))
}

/// JetStream by way of `client`: that of a domain, or whichever the server that it is connected to has.
pub(super) fn jetstream(client: Client, domain: Option<&str>) -> jetstream::Context {
    match domain {
        Some(domain) => jetstream::with_domain(client, domain),
        None => jetstream::new(client),
    }
}

/// Whether the server that `client` is connected to can do what a lattice needs.
pub(super) fn check_version(client: &Client) -> Result<(), ConnectError> {
    let version = client.server_info().version;
    if too_old(&version) { Err(ConnectError::TooOld { version }) } else { Ok(()) }
}

async fn authenticate(options: &NatsOptions) -> Result<ConnectOptions, ConnectError> {
    let mut connect = ConnectOptions::new();
    if let Some(path) = &options.creds {
        connect = connect.credentials_file(path).await.map_err(|source| ConnectError::File {
            what: "credentials file",
            path: path.clone(),
            source,
        })?;
    }
    if let Some(path) = &options.nkey {
        let seed = tokio::fs::read_to_string(path).await.map_err(|source| ConnectError::File {
            what: "nkey file",
            path: path.clone(),
            source,
        })?;
        connect = connect.nkey(seed.trim().to_owned());
    }
    if let Some(user) = &options.user {
        connect = connect.user_and_password(user.clone(), options.password.clone().unwrap_or_default());
    }
    if let Some(token) = &options.token {
        connect = connect.token(token.clone());
    }
    for (what, path) in
        [("CA file", &options.ca), ("certificate", &options.cert), ("key of the certificate", &options.key)]
    {
        if let Some(path) = path {
            tokio::fs::metadata(path).await.map_err(|source| ConnectError::File {
                what,
                path: path.clone(),
                source,
            })?;
        }
    }
    if let Some(path) = &options.ca {
        connect = connect.add_root_certificates(path.clone());
    }
    if let (Some(cert), Some(key)) = (&options.cert, &options.key) {
        connect = connect.add_client_certificate(cert.clone(), key.clone());
    }
    if let Some(prefix) = &options.inbox_prefix {
        connect = connect.custom_inbox_prefix(prefix);
    }
    Ok(connect.require_tls(options.tls))
}

fn too_old(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|p| p.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (2, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(too_old("2.9.25"));
        assert!(!too_old("2.10.0"));
        assert!(!too_old("2.12.0-preview.1"));
        assert!(!too_old("3.0.0"));
    }

    #[test]
    fn passwords_are_not_shown() {
        let options = NatsOptions {
            urls: vec!["nats://me:secret@127.0.0.1:4222".into()],
            password: Some("secret".into()),
            ..Default::default()
        };
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(options.shown_urls(), "nats://***@127.0.0.1:4222");
    }
}
