//! The typed settings of `http-server`.

use std::{net::SocketAddr, time::Duration};

use lattice::model::manifest::{parse_duration, parse_size};
use serde::Deserialize;

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
}

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("http-server: {0}")]
    Shape(String),
    #[error("http-server: `{key}: {value}` is not {expected}")]
    Value { key: &'static str, value: String, expected: &'static str },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    address: String,
    max_body: Option<String>,
    max_headers: Option<String>,
    header_timeout: Option<String>,
}

/// hyper refuses a smaller buffer.
const LEAST_HEADERS: usize = 8 * 1024;

impl Config {
    /// Settings that only name an address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, max_body: 8 << 20, max_headers: 64 << 10, header_timeout: Duration::from_secs(30) }
    }

    /// Reads the `config:` of a manifest.
    pub fn parse(config: &serde_json::Map<String, serde_json::Value>) -> Result<Self, ConfigError> {
        let raw: Raw = serde_json::from_value(serde_json::Value::Object(config.clone()))
            .map_err(|e| ConfigError::Shape(e.to_string()))?;
        let wrong = |key, value: &str, expected| ConfigError::Value { key, value: value.to_owned(), expected };
        let size = |key, value: &str| {
            parse_size(value)
                .and_then(|n| usize::try_from(n).ok())
                .ok_or_else(|| wrong(key, value, "a size such as 8MiB"))
        };
        let address = raw
            .address
            .parse()
            .map_err(|_| wrong("address", &raw.address, "an IP address and port such as 127.0.0.1:8080"))?;
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
                .ok_or_else(|| wrong("headerTimeout", text, "a time such as 10s"))?;
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use lattice::model::catalog;

    use super::*;

    fn parse(value: serde_json::Value) -> Result<Config, ConfigError> {
        Config::parse(value.as_object().unwrap())
    }

    #[test]
    fn the_settings_are_those_of_the_catalog() {
        let all = serde_json::json!({ "address": "127.0.0.1:80", "maxBody": "1MiB", "maxHeaders": "16KiB", "headerTimeout": "5s" });
        let config = parse(all.clone()).unwrap();
        assert_eq!((config.max_body, config.max_headers, config.header_timeout.as_secs()), (1 << 20, 16 << 10, 5));
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
            text(serde_json::json!({ "address": "here" })),
            "http-server: `address: here` is not an IP address and port such as 127.0.0.1:8080"
        );
        assert!(text(serde_json::json!({ "address": "127.0.0.1:80", "port": 1 })).contains("unknown field `port`"));
        assert!(
            text(serde_json::json!({ "address": "127.0.0.1:80", "maxBody": "big" }))
                .contains("`maxBody: big` is not a size")
        );
    }
}
