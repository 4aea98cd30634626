//! Where a component may send HTTP requests: what a request goes to ([`Origin`]), what a link's `allow` names
//! ([`AllowedOrigin`]), and which addresses nobody reaches by a name alone ([`Network`], [`is_public`]).
//!
//! A name and the address that it stands for are checked apart: an entry for a name allows its public addresses, and a
//! private one only beside an entry that names the address itself.

mod allowed;
mod network;
mod origin;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use crate::wire::UnitId;

pub use self::{
    allowed::{AllowError, AllowedOrigin, Names},
    network::{Network, NetworkError, is_public},
    origin::{Host, HostError, INTERNAL, InternalName, Origin, OriginError, Scheme},
};

/// Whether a request may go to `origin`, as far as its name says.
pub fn admits(allow: &[AllowedOrigin], origin: &Origin) -> bool {
    allow.iter().any(|entry| entry.matches(origin))
}

/// The whole name of a component, as a host.
pub fn internal_name(unit: &UnitId) -> String {
    format!("{}.{}{INTERNAL}", unit.unit, unit.app)
}

/// Whether a request to `origin` may go to `address`, one of those that its host stands for.
pub fn admits_address(allow: &[AllowedOrigin], origin: &Origin, address: IpAddr) -> bool {
    is_public(address) || allow.iter().any(|entry| entry.names_address(origin, address))
}
