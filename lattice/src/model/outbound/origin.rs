//! What a request goes to: scheme, host and port. There is one reading of each text, and what other programs read
//! otherwise (an address in odd numbers, an escaped or foreign letter, a name with a dot at its end) is refused.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::network::digits;
use crate::wire::{AppName, UnitId, UnitName};

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// In any case of letters.
    pub(super) fn read(text: &str) -> Option<Self> {
        [Self::Http, Self::Https].into_iter().find(|scheme| scheme.to_string().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// A name in lower case, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    Name(String),
    /// Never one of IPv4 in the form of IPv6.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    #[error("there is no host")]
    Empty,
    #[error("the host \"{0}\" is not a name of letters, digits, `-`, `_` and single dots inside")]
    Name(String),
    #[error("the host \"{0}\" is longer than 253 bytes, or a part of it longer than 63")]
    Long(String),
    #[error("the host \"{0}\" is a number, but no address of the form 192.0.2.1")]
    Number(String),
    #[error("the host \"{0}\" is not an IPv6 address in brackets")]
    Brackets(String),
}

/// The end of the names of components.
pub const INTERNAL: &str = ".lattice";

impl FromStr for Host {
    type Err = HostError;
    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if text.starts_with('[') {
            let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
            let address = inner.and_then(|text| text.parse::<Ipv6Addr>().ok());
            let address = address.ok_or_else(|| HostError::Brackets(text.to_owned()))?;
            return Ok(Self::Address(IpAddr::V6(address).to_canonical()));
        }
        let fine = |label: &str| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if !text.split('.').all(fine) {
            return Err(HostError::Name(text.to_owned()));
        }
        if text.len() > 253 || text.split('.').any(|label| label.len() > 63) {
            return Err(HostError::Long(text.to_owned()));
        }
        // Whoever ends in a number is an address for other readers, in any of the forms that they know.
        if text.rsplit('.').next().is_some_and(is_number) {
            let address = text.parse::<Ipv4Addr>().map_err(|_| HostError::Number(text.to_owned()))?;
            return Ok(Self::Address(address.into()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

/// Whether a label is digits, or hexadecimal digits behind `0x`.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    match hexadecimal {
        Some(rest) => rest.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    pub host: Host,
    pub port: u16,
}

/// Why a request goes nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("`{0}` is neither http nor https")]
    Scheme(String),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("`{0}` is no port; write 1 to 65535")]
    Port(String),
}

impl Origin {
    /// From the parts of a URI. User names in the authority are refused.
    pub fn new(scheme: &str, authority: &str) -> Result<Self, OriginError> {
        let scheme = Scheme::read(scheme).ok_or_else(|| OriginError::Scheme(scheme.to_owned()))?;
        let (host, port) = host_and_port(authority)?;
        Ok(Self { scheme, host: host.parse()?, port: port.unwrap_or(scheme.default_port()) })
    }

    /// The text of a `Host` header: the port only when it is not the scheme's own.
    pub fn authority(&self) -> String {
        match self.port == self.scheme.default_port() {
            true => self.host.to_string(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The component whose name the host is. No name that ends in `.lattice` is one of the Internet's.
    pub fn internal(&self) -> Option<InternalName<'_>> {
        match &self.host {
            Host::Name(name) => name.strip_suffix(INTERNAL).map(InternalName),
            Host::Address(_) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())
    }
}

/// `UNIT` or `UNIT.APP`, before `.lattice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalName<'t>(&'t str);

impl InternalName<'_> {
    /// The unit that it names, where one without an app is one of `app`; `None` when nothing can be called so.
    pub fn unit(self, app: &AppName) -> Option<UnitId> {
        let (unit, of) = match self.0.split_once('.') {
            Some((unit, of)) => (unit, of.parse().ok()?),
            None => (self.0, app.clone()),
        };
        Some(UnitId::new(of, unit.parse::<UnitName>().ok()?))
    }
}

/// The two parts of an authority; nothing may stand before the host.
pub(super) fn host_and_port(authority: &str) -> Result<(&str, Option<u16>), OriginError> {
    let end = authority.rfind(']').unwrap_or(0);
    let Some(colon) = authority[end..].find(':') else { return Ok((authority, None)) };
    let (host, port) = authority.split_at(end + colon);
    let port = &port[1..];
    let number = digits::<u16>(port).filter(|port| *port != 0);
    number.map(|number| (host, Some(number))).ok_or_else(|| OriginError::Port(port.to_owned()))
}
