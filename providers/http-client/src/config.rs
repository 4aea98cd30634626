//! The typed settings.

use std::{path::PathBuf, time::Duration};

use lattice::model::{
    manifest::parse_duration,
    outbound::{Network, is_public},
};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

/// How requests are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Addresses that are not the Internet's, which a name may stand for all the same.
    pub allow_private: Private,
    /// Authorities to trust, in PEM, beside those of the system and of Mozilla.
    pub ca_file: Option<PathBuf>,
    /// For the name, the connection and its TLS together.
    #[serde(deserialize_with = "time")]
    pub connect_timeout: Duration,
    /// For a response to begin, since the request's body went on last.
    #[serde(deserialize_with = "time")]
    pub first_byte_timeout: Duration,
    #[serde(deserialize_with = "time")]
    pub between_bytes_timeout: Duration,
    /// How long a connection waits for another request.
    #[serde(deserialize_with = "time")]
    pub keep_alive: Duration,
    /// To one host and port.
    pub max_connections: std::num::NonZeroUsize,
}

const MAX_CONNECTIONS: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(255);

impl Default for Config {
    fn default() -> Self {
        Self {
            allow_private: Private::default(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(30),
            between_bytes_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
            max_connections: MAX_CONNECTIONS,
        }
    }
}

/// Which addresses may be reached by name that are not the Internet's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Private {
    All,
    Only(Vec<Network>),
}

impl Default for Private {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Private {
    pub(crate) fn admits(&self, address: std::net::IpAddr) -> bool {
        is_public(address)
            || match self {
                Self::All => true,
                Self::Only(networks) => networks.iter().any(|network| network.contains(address)),
            }
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(true) => Ok(Self::All),
            Value::Bool(false) => Ok(Self::default()),
            list @ Value::Array(_) => serde_json::from_value(list).map(Self::Only).map_err(de::Error::custom),
            other => Err(de::Error::custom(format!(
                "`allowPrivate: {other}` is neither true nor a list of addresses and ranges such as 10.0.0.0/8"
            ))),
        }
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = parse_duration(&text).filter(|time| !time.is_zero());
    time.ok_or_else(|| de::Error::custom(format!("`{text}` is not a time such as 500ms or 10s")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<Config, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (value, reason) in [
            (serde_json::json!({ "connectTimeout": "5" }), "`5` is not a time"),
            (serde_json::json!({ "keepAlive": "0s" }), "`0s` is not a time"),
            (serde_json::json!({ "allowPrivate": "yes" }), "neither true nor a list"),
            (serde_json::json!({ "allowPrivate": ["10.0.0.1/8"] }), "write 10.0.0.0/8"),
            (serde_json::json!({ "maxConnections": 0 }), "nonzero"),
            (serde_json::json!({ "proxy": "x" }), "unknown field `proxy`"),
        ] {
            let error = read(value).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn private_addresses_are_none_some_or_all() {
        let loopback = "127.0.0.1".parse().unwrap();
        let admits = |value| read(serde_json::json!({ "allowPrivate": value })).unwrap().allow_private.admits(loopback);
        assert!(!Config::default().allow_private.admits(loopback));
        assert!(Config::default().allow_private.admits("1.1.1.1".parse().unwrap()));
        assert!(!admits(serde_json::json!(false)) && admits(serde_json::json!(true)));
        assert!(admits(serde_json::json!(["10.0.0.0/8", "127.0.0.1"])) && !admits(serde_json::json!(["10.0.0.0/8"])));
    }
}
