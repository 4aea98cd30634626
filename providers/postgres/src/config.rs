//! The settings, as the manifest has them and as the provider uses them.

use std::{str::FromStr, time::Duration};

use lattice::model::manifest::{parse_duration, parse_size};
use lattice::wire::UnitId;
use lattice_provider::StartError;
use serde::Deserialize;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// The settings as a manifest has them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Such as `postgres://user:password@127.0.0.1:5432/db`; several hosts are tried in their order.
    pub url: String,
    /// Connections at a time; 10 when absent.
    #[serde(default)]
    pub pool_size: Option<usize>,
    /// How long a call waits for a connection that others use; `1s` when absent.
    #[serde(default)]
    pub wait_timeout: Option<String>,
    /// How long the database works on one statement; as the database has it when absent.
    #[serde(default)]
    pub statement_timeout: Option<String>,
    /// Rows of one result; 100,000 when absent.
    #[serde(default)]
    pub max_rows: Option<usize>,
    /// Size of one result; `16MiB` when absent.
    #[serde(default)]
    pub max_bytes: Option<String>,
    /// Statements that a connection keeps prepared; 256 when absent.
    #[serde(default)]
    pub statement_cache: Option<usize>,
    /// Whether the connection is encrypted; what `sslmode` in the URL says when absent, else `prefer`.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// A file with the certificates, as PEM, by which the database is known; those of the system when absent.
    #[serde(default)]
    pub ca_file: Option<String>,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    Disable,
    /// Where the database can. Without `caFile` any certificate will do: who is in the way could as well switch it off.
    Prefer,
    /// Always, with a certificate that is good for the host's name.
    Require,
}

/// Where a database may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) host: Host,
    pub(crate) port: u16,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "postgres://[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "postgres://{host}:{}", self.port),
            Host::Unix(folder) => write!(f, "PostgreSQL in {}, port {}", folder.display(), self.port),
        }
    }
}

impl Config {
    /// What can be told without the database, for the provider that is `unit`.
    pub fn check(&self, unit: &UnitId) -> Result<(), StartError> {
        Settings::new(self, unit).map(drop)
    }
}

/// The settings as they are used.
pub(crate) struct Settings {
    /// Who we are to the database.
    pub(crate) login: tokio_postgres::Config,
    pub(crate) places: Vec<Place>,
    pub(crate) tls: Tls,
    pub(crate) ca_file: Option<String>,
    pub(crate) writes: bool,
    pub(crate) pool_size: usize,
    pub(crate) wait: Duration,
    pub(crate) limits: Limits,
    pub(crate) statement_cache: usize,
}

/// What a result may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: usize,
    /// In bytes, as the database sends it and with the names of the columns in each row.
    pub(crate) bytes: usize,
}

const POOL_SIZE: usize = 10;
const MAX_POOL_SIZE: usize = 1000;
const WAIT: Duration = Duration::from_secs(1);
const MAX_ROWS: usize = 100_000;
const MAX_BYTES: usize = 16 << 20;
/// What an answer in the lattice can have, with room for how values grow on their way.
const MOST_BYTES: usize = 32 << 20;
const STATEMENT_CACHE: usize = 256;
const PORT: u16 = 5432;

fn wrong(text: impl Into<String>) -> StartError {
    StartError::Config(text.into())
}

impl Settings {
    pub(crate) fn new(config: &Config, unit: &UnitId) -> Result<Self, StartError> {
        let url = || wrong("url: cannot be read; expected such as postgres://user:password@127.0.0.1:5432/db");
        // The parser's own words may have a part of the password in them.
        let mut login = tokio_postgres::Config::from_str(&config.url).map_err(|_| url())?;
        let places = places(&login)?;
        let tls = config.tls.unwrap_or(match login.get_ssl_mode() {
            SslMode::Disable => Tls::Disable,
            SslMode::Require => Tls::Require,
            _ => Tls::Prefer,
        });
        // The connection is encrypted, or not, before the client sees it.
        login.ssl_mode(SslMode::Disable);
        if login.get_application_name().is_none() {
            login.application_name(format!("lattice {unit}"));
        }
        if let Some(limit) = duration("statementTimeout", config.statement_timeout.as_deref())? {
            let more = format!("-c statement_timeout={}", limit.as_millis().max(1));
            let options = login.get_options().map(|given| format!("{given} {more}"));
            login.options(options.unwrap_or(more));
        }
        let writes = login.get_target_session_attrs() == TargetSessionAttrs::ReadWrite;
        let pool_size = config.pool_size.unwrap_or(POOL_SIZE);
        if !(1..=MAX_POOL_SIZE).contains(&pool_size) {
            return Err(wrong(format!("poolSize: {pool_size} is not between 1 and {MAX_POOL_SIZE}")));
        }
        let bytes = match config.max_bytes.as_deref() {
            None => MAX_BYTES,
            Some(text) => {
                let size = parse_size(text).and_then(|size| usize::try_from(size).ok());
                let size = size.filter(|size| (1..=MOST_BYTES).contains(size));
                size.ok_or_else(|| wrong(format!("maxBytes: {text} is no size up to 32MiB, such as 4MiB")))?
            }
        };
        Ok(Self {
            login,
            places,
            tls,
            ca_file: config.ca_file.clone(),
            writes,
            pool_size,
            wait: duration("waitTimeout", config.wait_timeout.as_deref())?.unwrap_or(WAIT),
            limits: Limits { rows: config.max_rows.unwrap_or(MAX_ROWS), bytes },
            statement_cache: config.statement_cache.unwrap_or(STATEMENT_CACHE),
        })
    }
}

fn duration(key: &str, text: Option<&str>) -> Result<Option<Duration>, StartError> {
    let Some(text) = text else { return Ok(None) };
    match parse_duration(text) {
        Some(time) if !time.is_zero() => Ok(Some(time)),
        _ => Err(wrong(format!("{key}: {text} is no time such as 5s"))),
    }
}

fn places(login: &tokio_postgres::Config) -> Result<Vec<Place>, StartError> {
    let (hosts, ports) = (login.get_hosts(), login.get_ports());
    if hosts.is_empty() {
        return Err(wrong("url: names no host; expected such as postgres://user:password@127.0.0.1:5432/db"));
    }
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(wrong(format!("url: {} ports for {} hosts", ports.len(), hosts.len())));
    }
    let port = |index: usize| ports.get(index).or(ports.first()).copied().unwrap_or(PORT);
    Ok(hosts.iter().enumerate().map(|(index, host)| Place { host: host.clone(), port: port(index) }).collect())
}
