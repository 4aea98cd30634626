//! The typed settings of `http-server`.

use std::{net::SocketAddr, time::Duration};

use lattice::model::manifest::{parse_duration, parse_size};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    cors::{Cors, CorsConfig},
    tls::TlsFiles,
};

/// Settings with their defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub address: SocketAddr,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Largest request head, in bytes.
    pub max_headers: usize,
    /// Time for a request's head to arrive; also how long an idle connection stays.
    pub header_timeout: Duration,
    /// Connections at a time.
    pub max_connections: usize,
    /// Whether HTTP/2 is spoken beside HTTP/1.1.
    pub http2: bool,
    /// The certificate and the key, when the connections are secured.
    pub tls: Option<TlsFiles>,
    /// What pages of other origins may do.
    pub cors: Option<Cors>,
    /// Whether components are told in headers who the client is.
    pub forwarded: bool,
    /// Whether each request leaves a line in the log.
    pub access_log: bool,
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("http-server: {0}")]
    Shape(String),
    #[error("http-server: `{key}: {value}` is not {expected}")]
    Value { key: &'static str, value: String, expected: &'static str },
}

impl ConfigError {
    /// The error without the provider's name.
    pub fn reason(&self) -> String {
        match self {
            Self::Shape(reason) => reason.clone(),
            Self::Value { key, value, expected } => format!("{key}: `{value}` is not {expected}"),
        }
    }

    pub(crate) fn value(key: &'static str, value: impl Into<String>, expected: &'static str) -> Self {
        Self::Value { key, value: value.into(), expected }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    address: String,
    max_body: Option<String>,
    max_headers: Option<String>,
    header_timeout: Option<String>,
    max_connections: Option<usize>,
    http2: Option<bool>,
    #[serde(default, deserialize_with = "some")]
    tls: Option<TlsFiles>,
    #[serde(default, deserialize_with = "some")]
    cors: Option<CorsConfig>,
    #[serde(default)]
    forwarded: bool,
    #[serde(default)]
    access_log: bool,
}

/// What is there must not be null: a `tls:` with nothing behind it is a mistake, and not a server without TLS.
fn some<'de, T: DeserializeOwned, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// hyper refuses a smaller buffer.
const LEAST_HEADERS: usize = 8 * 1024;
/// Connections at a time when the settings name no number: each takes a file handle of the host, which has some
/// thousands at the least where it runs as a service.
const CONNECTIONS: usize = 8192;

impl Config {
    /// Settings that only name an address.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            max_body: 8 << 20,
            max_headers: 64 << 10,
            header_timeout: Duration::from_secs(30),
            max_connections: CONNECTIONS,
            http2: true,
            tls: None,
            cors: None,
            forwarded: false,
            access_log: false,
        }
    }

    /// Reads the `config:` of a manifest.
    pub fn parse(config: &serde_json::Map<String, serde_json::Value>) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_value(serde_json::Value::Object(config.clone()))
            .map_err(|e| ConfigError::Shape(e.to_string()))?;
        let size = |key, value: &str| {
            parse_size(value)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| ConfigError::value(key, value, "a size such as 8MiB"))
        };
        let address = raw.address.parse().map_err(|_| {
            ConfigError::value("address", &raw.address, "an IP address and port such as 127.0.0.1:8080")
        })?;
        let mut config = Self::new(address);
        if let Some(text) = &raw.max_body {
            config.max_body = size("maxBody", text)?;
        }
        if let Some(text) = &raw.max_headers {
            config.max_headers = size("maxHeaders", text)?.max(LEAST_HEADERS);
        }
        if let Some(text) = &raw.header_timeout {
            config.header_timeout = parse_duration(text)
                .filter(|d| !d.is_zero())
                .ok_or_else(|| ConfigError::value("headerTimeout", text, "a time such as 10s"))?;
        }
        if let Some(connections) = raw.max_connections {
            if connections == 0 {
                return Err(ConfigError::value("maxConnections", "0", "a number of 1 or more"));
            }
            config.max_connections = connections;
        }
        config.http2 = raw.http2.unwrap_or(true);
        config.tls = raw.tls;
        config.cors = raw.cors.map(Cors::new).transpose()?;
        (config.forwarded, config.access_log) = (raw.forwarded, raw.access_log);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::catalog;
    use serde_json::json;

    use super::*;
    use crate::tls::PemSource;

    fn parse(value: serde_json::Value) -> Result<Config, ConfigError> {
        Config::parse(value.as_object().unwrap())
    }

    #[test]
    fn the_settings_are_those_of_the_catalog() {
        let all = json!({
            "address": "127.0.0.1:80", "maxBody": "1MiB", "maxHeaders": "16KiB", "headerTimeout": "5s",
            "maxConnections": 7, "http2": false, "tls": { "cert": "a.pem", "key": "b.pem" },
            "cors": { "origins": ["https://a.example"] }, "forwarded": true, "accessLog": true,
        });
        let config = parse(all.clone()).unwrap();
        assert_eq!((config.max_body, config.max_headers, config.header_timeout.as_secs()), (1 << 20, 16 << 10, 5));
        assert_eq!((config.max_connections, config.http2, config.forwarded, config.access_log), (7, false, true, true));
        assert_eq!(config.tls.unwrap().key, PemSource::File("b.pem".into()));
        let pem = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n";
        let config = parse(json!({ "address": "127.0.0.1:80", "tls": { "cert": "a.pem", "key": pem } })).unwrap();
        assert_eq!(config.tls.clone().unwrap().key, PemSource::Text(pem.to_owned()));
        assert!(!format!("{config:?}").contains("hunter2"));
        let mut known: Vec<_> = catalog::find(catalog::HTTP_SERVER).unwrap().config.iter().map(|k| k.name).collect();
        known.sort_unstable();
        let mut ours: Vec<_> = all.as_object().unwrap().keys().map(String::as_str).collect();
        ours.sort_unstable();
        assert_eq!(ours, known);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = |value| parse(value).unwrap_err().to_string();
        assert_eq!(
            text(json!({ "address": "here" })),
            "http-server: `address: here` is not an IP address and port such as 127.0.0.1:8080"
        );
        for (value, expected) in [
            (json!({ "address": "127.0.0.1:80", "port": 1 }), "unknown field `port`"),
            (json!({ "address": "127.0.0.1:80", "maxBody": "big" }), "`maxBody: big` is not a size"),
            (json!({ "address": "127.0.0.1:80", "maxConnections": 0 }), "`maxConnections: 0` is not a number of 1"),
            (json!({ "address": "127.0.0.1:80", "tls": null }), "invalid type: null"),
            (json!({ "address": "127.0.0.1:80", "tls": { "cert": "a" } }), "missing field `key`"),
            (json!({ "address": "127.0.0.1:80", "cors": { "origins": ["a b"] } }), "`cors.origins: a b` is not"),
        ] {
            let text = text(value);
            assert!(text.contains(expected), "{text}");
        }
    }
}
