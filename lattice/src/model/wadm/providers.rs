//! The providers of wasmCloud, and what stands in their place here.

use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use crate::model::{catalog, problem::Problem};

/// A setting, by the name that wasmCloud has for it, in small letters.
pub(super) type Setting<'s> = (String, &'s Spanned<Value>);

/// A provider of wasmCloud.
pub(super) struct Known {
    /// The last part of its image's name.
    image: &'static str,
    /// What is named in `use:`.
    pub(super) kind: &'static str,
    settings: &'static [(&'static str, Becomes)],
}

/// What becomes of a setting.
enum Becomes {
    /// One of ours, with the same meaning.
    Ours(&'static str),
    /// A list in JSON, below `cors`.
    Cors(&'static str),
    /// A file, below `tls`.
    Tls(&'static str),
    /// A part of a database's URL.
    Url,
    /// Nothing, and nothing is lost: what it is about is done another way.
    Moot(&'static str),
}
use Becomes::{Cors, Moot, Ours, Tls, Url};

const OWN_NATS: Becomes = Moot("the lattice's own NATS is used");
const BY_ITSELF: Becomes = Moot("it reconnects by itself");

const KNOWN: &[Known] = &[
    Known {
        image: "http-server",
        kind: catalog::HTTP_SERVER,
        settings: &[
            ("address", Ours("address")),
            ("default_address", Ours("address")),
            ("cors_allowed_origins", Cors("origins")),
            ("cors_allowed_methods", Cors("methods")),
            ("cors_allowed_headers", Cors("headers")),
            ("cors_exposed_headers", Cors("expose")),
            ("tls_cert_file", Tls("cert")),
            ("tls_priv_key_file", Tls("key")),
            ("timeout_ms", Moot("a route waits as long as its component's `limits: { timeout }`")),
        ],
    },
    Known {
        image: "http-client",
        kind: "http-client",
        settings: &[
            ("ssl_certs_file", Ours("caFile")),
            ("load_native_certs", Moot("certificates of the system and of Mozilla are trusted")),
            ("load_webpki_certs", Moot("certificates of the system and of Mozilla are trusted")),
        ],
    },
    Known {
        image: "keyvalue-redis",
        kind: "keyvalue-redis",
        settings: &[
            ("url", Ours("url")),
            ("backend_reconnect_num_retries", BY_ITSELF),
            ("backend_reconnect_max_delay_ms", BY_ITSELF),
            ("backend_connection_timeout_ms", BY_ITSELF),
            ("backend_response_timeout_ms", BY_ITSELF),
            ("disable_default_connection", BY_ITSELF),
            ("share_connections_by_url", BY_ITSELF),
        ],
    },
    Known {
        image: "keyvalue-nats",
        kind: "keyvalue-nats",
        settings: &[("bucket", Ours("bucket")), ("cluster_uri", OWN_NATS), ("js_domain", OWN_NATS)],
    },
    Known { image: "blobstore-fs", kind: "blob-fs", settings: &[("root", Ours("root"))] },
    Known {
        image: "blobstore-nats",
        kind: "blob-nats",
        settings: &[("num_replicas", Ours("replicas")), ("cluster_uri", OWN_NATS), ("js_domain", OWN_NATS)],
    },
    Known {
        image: "sqldb-postgres",
        kind: "postgres",
        settings: &[
            ("postgres_host", Url),
            ("postgres_port", Url),
            ("postgres_username", Url),
            ("postgres_password", Url),
            ("postgres_database", Url),
            ("postgres_tls_required", Url),
            ("postgres_pool_size", Ours("poolSize")),
            ("postgres_share_connections_by_url", Moot("a pool belongs to its provider")),
        ],
    },
    Known { image: "messaging-nats", kind: catalog::MESSAGING_NATS, settings: &[("cluster_uris", Ours("url"))] },
];

/// The provider with this image, whatever its registry and version; `wasmcloud+builtin://http-server` as well.
pub(super) fn find(image: &str) -> Option<&'static Known> {
    let name = image.rsplit('/').next().unwrap_or(image);
    let name = name.split([':', '@']).next().unwrap_or(name);
    KNOWN.iter().find(|known| known.image == name)
}

/// What `use:` can be in place of a provider that is not known.
pub(super) fn help() -> String {
    let names: Vec<_> = catalog::PROVIDERS.iter().map(|provider| provider.name).collect();
    format!("write a manifest of ours with one of {}, or with a program of your own", names.join(", "))
}

impl Known {
    /// Our settings from those of wasmCloud.
    pub(super) fn settings(
        &self,
        given: &[Setting<'_>],
        notes: &mut Vec<String>,
        problems: &mut Vec<Problem>,
    ) -> Vec<(Spanned<String>, Spanned<Value>)> {
        let mut settings: Vec<(Spanned<String>, Spanned<Value>)> = Vec::new();
        let mut add = |name: &str, value: Value, at: &Spanned<Value>| {
            let place = |value: String| Spanned::new(value, at.referenced, at.defined);
            settings.push((place(name.to_owned()), Spanned::new(value, at.referenced, at.defined)));
        };
        let (mut cors, mut tls) = (Map::new(), Map::new());
        let mut url = Vec::new();
        for (name, value) in given {
            match self.settings.iter().find(|(theirs, _)| theirs == name).map(|(_, becomes)| becomes) {
                Some(Ours(ours)) => add(ours, number(&value.value), value),
                Some(Cors(part)) => match list(&value.value) {
                    Some(list) => drop(cors.insert((*part).to_owned(), list)),
                    None => {
                        let problem = Problem::at(*value, format!("`{name}` is not a list of texts in JSON"));
                        problems.push(problem.help("write it as in `[\"https://app.example.com\"]`"));
                    }
                },
                Some(Tls(part)) => drop(tls.insert((*part).to_owned(), value.value.clone())),
                Some(Url) => url.push((name.as_str(), *value)),
                Some(Moot(why)) => notes.push(format!("{}: `{name}` is left out: {why}", self.image)),
                None => {
                    let problem = Problem::at(*value, format!("`{name}` of {} has no counterpart here", self.image));
                    problems.push(problem.help(format!(
                        "remove it; {} has the settings {}",
                        self.kind,
                        ours(self.kind)
                    )));
                }
            }
        }
        let first = given.first().map(|(_, value)| *value);
        for (name, parts) in [("cors", cors), ("tls", tls)] {
            if let (Some(at), false) = (first, parts.is_empty()) {
                add(name, Value::Object(parts), at);
            }
        }
        if let (Some((_, at)), true) = (url.first(), self.kind == "postgres") {
            match database(&url) {
                Ok((url, tls)) => {
                    add("url", url.into(), at);
                    if tls {
                        add("tls", "require".into(), at);
                    }
                }
                Err(at) => {
                    let problem = Problem::at(at, "a part of a database's address cannot be a secret by itself");
                    problems.push(
                        problem.help(
                            "keep the whole address as one secret, and write `config: { url: { secret: NAME } }`",
                        ),
                    );
                }
            }
        }
        settings
    }
}

/// wasmCloud knows texts alone.
fn number(value: &Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(number) => number.into(),
        None => value.clone(),
    }
}

fn list(value: &Value) -> Option<Value> {
    let list: Vec<String> = serde_json::from_str(value.as_str()?).ok()?;
    Some(json!(list))
}

fn ours(kind: &str) -> String {
    let keys = catalog::find(kind).map(|provider| provider.config.iter().map(|key| key.name).collect::<Vec<_>>());
    keys.unwrap_or_default().join(", ")
}

/// The URL of a database from its parts, and whether it has to be asked with TLS; the part that is no text.
fn database<'v>(parts: &[(&str, &'v Spanned<Value>)]) -> Result<(String, bool), &'v Spanned<Value>> {
    let part = |name: &str, default: &str| match parts.iter().find(|(part, _)| *part == name) {
        None => Ok(default.to_owned()),
        Some((_, value)) => match &value.value {
            Value::String(text) => Ok(text.clone()),
            Value::Object(_) => Err(*value),
            other => Ok(other.to_string()),
        },
    };
    let (user, password) = (part("postgres_username", "postgres")?, part("postgres_password", "")?);
    let (host, port) = (part("postgres_host", "127.0.0.1")?, part("postgres_port", "5432")?);
    let database = part("postgres_database", "postgres")?;
    let password = if password.is_empty() { String::new() } else { format!(":{}", escape(&password)) };
    let url = format!("postgres://{}{password}@{host}:{port}/{}", escape(&user), escape(&database));
    Ok((url, part("postgres_tls_required", "false")? == "true"))
}

/// Percent-encodes what would end a part of a URL.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_known_by_their_last_part() {
        for image in [
            "ghcr.io/wasmcloud/http-server:0.27.0",
            "wasmcloud+builtin://http-server",
            "localhost:5000/mirror/http-server@sha256:00",
        ] {
            assert_eq!(find(image).map(|known| known.kind), Some("http-server"), "{image}");
        }
        assert!(find("ghcr.io/wasmcloud/messaging-kafka:1").is_none());
        for known in KNOWN {
            let kind = catalog::find(known.kind).unwrap();
            for (_, becomes) in known.settings {
                let ours = match becomes {
                    Ours(ours) => *ours,
                    Cors(_) => "cors",
                    Tls(_) => "tls",
                    Url => "url",
                    Moot(_) => continue,
                };
                assert!(kind.config.iter().any(|key| key.name == ours), "{} has no {ours}", known.kind);
            }
        }
    }
}
