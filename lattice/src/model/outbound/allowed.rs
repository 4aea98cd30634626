//! An entry of a link's `allow`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    network::{Network, NetworkError, digits},
    origin::{Host, HostError, Origin, OriginError, Scheme, host_and_port},
};

/// What requests may go to: `https://api.example.com`, `https://*.example.com:8443`, `http://10.0.0.0/8`, `https://*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AllowedOrigin {
    pub scheme: Scheme,
    pub names: Names,
    pub port: u16,
}

/// The hosts of an entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Names {
    /// All but those of components.
    Any,
    /// This name.
    Name(String),
    /// All names that end in a dot and this one.
    Below(String),
    /// These addresses.
    Addresses(Network),
}

/// Why a text is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowError {
    #[error("`{0}` does not begin with http:// or https://")]
    Scheme(String),
    #[error("`{0}` has more than a host and a port: requests are allowed to all paths of a host, or to none")]
    Path(String),
    #[error("`{0}` has a `*` that is neither the whole host nor the first part of it")]
    Star(String),
    #[error("`{0}` would allow unencrypted requests to every host")]
    AnyPlain(String),
    #[error("`{0}` names a user; only hosts and ports can be allowed")]
    User(String),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("`{0}` is no port")]
    Port(String),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl AllowError {
    /// What to write instead.
    pub fn help(&self) -> &'static str {
        match self {
            Self::AnyPlain(_) => "name the hosts of unencrypted requests; `https://*` is all hosts with encryption",
            Self::Star(_) => "write `https://*.example.com` for all names below one, or `https://*` for all hosts",
            Self::Path(_) | Self::User(_) => {
                "write `https://api.example.com`, or with a port `https://api.example.com:8443`"
            }
            Self::Port(_) => "write a number from 1 to 65535, or leave it out for the scheme's own",
            Self::Host(HostError::Name(_)) => {
                "write letters of other scripts as DNS does (`xn--...`), and no dot at the end"
            }
            Self::Scheme(_) | Self::Host(_) | Self::Network(_) => {
                "write a scheme and a host, such as `https://api.example.com`, `https://*.example.com:8443`, \
                 `http://10.0.0.7:8080` or `http://10.0.0.0/8`"
            }
        }
    }
}

impl AllowedOrigin {
    /// Whether requests to `origin` are allowed by name. A component is only named by its whole name.
    pub fn matches(&self, origin: &Origin) -> bool {
        self.scheme == origin.scheme
            && self.port == origin.port
            && match (&self.names, &origin.host) {
                (Names::Name(name), Host::Name(host)) => name == host,
                (Names::Any, _) => origin.internal().is_none(),
                (Names::Below(domain), Host::Name(host)) => {
                    origin.internal().is_none()
                        && host.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
                }
                (Names::Addresses(network), Host::Address(address)) => network.contains(*address),
                (Names::Name(_) | Names::Below(_), Host::Address(_)) | (Names::Addresses(_), Host::Name(_)) => false,
            }
    }

    /// Whether it names `address` itself, for requests to the scheme and port of `origin`.
    pub fn names_address(&self, origin: &Origin, address: IpAddr) -> bool {
        let named = matches!(&self.names, Names::Addresses(network) if network.contains(address));
        named && self.scheme == origin.scheme && self.port == origin.port
    }
}

impl FromStr for AllowedOrigin {
    type Err = AllowError;
    fn from_str(text: &str) -> Result<Self, AllowError> {
        let no_scheme = || AllowError::Scheme(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(no_scheme)?;
        let scheme = Scheme::read(scheme).ok_or_else(no_scheme)?;
        if rest.contains('@') {
            return Err(AllowError::User(text.to_owned()));
        }
        let (authority, prefix) = match rest.split_once('/') {
            Some((authority, prefix)) => {
                let prefix = digits::<u8>(prefix).filter(|_| !prefix.is_empty());
                (authority, Some(prefix.ok_or_else(|| AllowError::Path(text.to_owned()))?))
            }
            None => (rest, None),
        };
        if authority.contains(['?', '#']) {
            return Err(AllowError::Path(text.to_owned()));
        }
        let (host, port) = host_and_port(authority).map_err(|error| match error {
            OriginError::Port(port) => AllowError::Port(port),
            OriginError::Host(error) => error.into(),
            OriginError::Scheme(_) => no_scheme(),
        })?;
        let names = names(text, scheme, host, prefix)?;
        Ok(Self { scheme, names, port: port.unwrap_or(scheme.default_port()) })
    }
}

fn names(text: &str, scheme: Scheme, host: &str, prefix: Option<u8>) -> Result<Names, AllowError> {
    let names = match (host, host.strip_prefix("*.")) {
        ("*", _) if scheme == Scheme::Http => return Err(AllowError::AnyPlain(text.to_owned())),
        ("*", _) => Names::Any,
        (_, Some(domain)) if !domain.contains('*') => match domain.parse()? {
            Host::Name(domain) => Names::Below(domain),
            Host::Address(_) => return Err(AllowError::Star(text.to_owned())),
        },
        _ if host.contains('*') => return Err(AllowError::Star(text.to_owned())),
        _ => match host.parse()? {
            Host::Name(name) => Names::Name(name),
            Host::Address(address) => {
                return Ok(Names::Addresses(match prefix {
                    Some(prefix) => Network::new(address, prefix)?,
                    None => address.into(),
                }));
            }
        },
    };
    match prefix {
        Some(_) => Err(AllowError::Path(text.to_owned())),
        None => Ok(names),
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme, names, port } = self;
        let (host, prefix) = match names {
            Names::Any => ("*".to_owned(), None),
            Names::Name(name) => (name.clone(), None),
            Names::Below(domain) => (format!("*.{domain}"), None),
            Names::Addresses(network) => {
                let (address, prefix) = network.parts();
                (Host::Address(address).to_string(), prefix)
            }
        };
        write!(f, "{scheme}://{host}")?;
        if *port != scheme.default_port() {
            write!(f, ":{port}")?;
        }
        prefix.map_or(Ok(()), |prefix| write!(f, "/{prefix}"))
    }
}

impl TryFrom<String> for AllowedOrigin {
    type Error = AllowError;
    fn try_from(text: String) -> Result<Self, AllowError> {
        text.parse()
    }
}

impl From<AllowedOrigin> for String {
    fn from(entry: AllowedOrigin) -> String {
        entry.to_string()
    }
}
