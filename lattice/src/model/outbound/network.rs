//! Addresses and ranges of them.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

/// A range of addresses, such as `10.0.0.0/8`; a single address is one, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    /// Bits that all of its addresses have in common.
    prefix: u8,
}

/// Why a text is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("`{0}` is neither an address nor a range such as 10.0.0.0/8")]
    Malformed(String),
    #[error("`{found}` does not begin its range; write {begin}")]
    Inside { found: String, begin: Network },
}

const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Network {
    Network { address: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix }
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Network {
    Network { address: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }
}

/// What the registries of IANA keep for special purposes, of IPv4 as a whole and of the part of IPv6 that is routed.
const SPECIAL: [Network; 20] = [
    v4(0, 0, 0, 8),
    v4(10, 0, 0, 8),
    v4(100, 64, 0, 10),
    v4(127, 0, 0, 8),
    // With the metadata services of clouds.
    v4(169, 254, 0, 16),
    v4(172, 16, 0, 12),
    v4(192, 0, 0, 24),
    v4(192, 0, 2, 24),
    v4(192, 88, 99, 24),
    v4(192, 168, 0, 16),
    v4(198, 18, 0, 15),
    v4(198, 51, 100, 24),
    v4(203, 0, 113, 24),
    v4(224, 0, 0, 4),
    v4(240, 0, 0, 4),
    // Teredo and others that carry another address inside.
    v6(0x2001, 0, 0, 23),
    v6(0x2001, 0xdb8, 0, 32),
    v6(0x2002, 0, 0, 16),
    v6(0x3fff, 0, 0, 20),
    v6(0x5f00, 0, 0, 16),
];

/// What IPv6 routes to at all.
const ROUTED: Network = v6(0x2000, 0, 0, 3);
/// IPv4 behind a translator: the address is in the last four bytes.
const TRANSLATED: Network = v6(0x64, 0xff9b, 0, 96);

/// Whether an address is one of the Internet's: not this machine, a private network, a cloud's metadata service, a
/// group, or any other that is kept for a special purpose.
pub fn is_public(address: IpAddr) -> bool {
    let address = address.to_canonical();
    if let IpAddr::V6(long) = address {
        if TRANSLATED.contains(address) {
            let [.., a, b, c, d] = long.octets();
            return is_public(Ipv4Addr::new(a, b, c, d).into());
        }
        if !ROUTED.contains(address) {
            return false;
        }
    }
    !SPECIAL.iter().any(|network| network.contains(address))
}

impl Network {
    /// The range of `prefix` bits that begins with `address`.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, NetworkError> {
        let address = address.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(NetworkError::Malformed(format!("{address}/{prefix}")));
        }
        let begin = Self { address: first(address, prefix), prefix };
        if begin.address != address {
            return Err(NetworkError::Inside { found: format!("{address}/{prefix}"), begin });
        }
        Ok(begin)
    }

    /// Whether `address` is in it; an IPv4 address that is written as one of IPv6 is the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && first(address, self.prefix) == self.address
    }

    /// The address that it begins with, and the bits that all of it has in common; `None` for a single address.
    pub(super) fn parts(&self) -> (IpAddr, Option<u8>) {
        let single = self.prefix == if self.address.is_ipv4() { 32 } else { 128 };
        (self.address, (!single).then_some(self.prefix))
    }
}

/// The address with all bits behind the prefix cleared.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(short) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            Ipv4Addr::from_bits(short.to_bits() & mask).into()
        }
        IpAddr::V6(long) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(long.to_bits() & mask).into()
        }
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for Network {
    type Err = NetworkError;
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(digits(prefix).ok_or_else(malformed)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        prefix.map_or(Ok(address.into()), |prefix| Self::new(address, prefix))
    }
}

/// A number of digits alone.
pub(super) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (address, Some(prefix)) => write!(f, "{address}/{prefix}"),
            (address, None) => write!(f, "{address}"),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NetworkError;
    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}
