//! What providers say of their settings before anything changes: `apply` asks a host, any that is alive.
//!
//! The call is that of a unit: of `lattice/host`, whose instance is the host. No app can have that name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::wire::{Digest, HostId, IdError, InstanceId, Interface, LatticeName, Served, UnitId};

/// The app that no user can have: units of it are the hosts' own.
pub const RESERVED_APP: &str = "lattice";
/// The unit that every host is.
const HOST_UNIT: &str = "lattice/host";
const INTERFACE: &str = "lattice:host/settings@0.1.0";
/// What is called: `[[settings]]`, one for each provider, and the answer has one for each.
pub const FUNCTION: &str = "check";

/// The settings of one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsOf {
    pub unit: UnitId,
    /// Its name in the catalog.
    pub kind: String,
    /// With references to secrets.
    pub config: Map<String, Value>,
}

/// What the provider says; `None` when nothing is wrong, or nothing can be told here.
pub type Finding = Option<String>;

/// The setting that a finding is about; what it begins with.
pub fn setting(finding: &str) -> &str {
    finding.split([':', '.', '[']).next().unwrap_or_default()
}

/// The interface by which hosts are asked.
pub fn interface() -> Result<Interface, IdError> {
    INTERFACE.parse()
}

/// Where a host answers.
pub fn served(lattice: &LatticeName, host: &HostId) -> Result<Served, IdError> {
    let unit: UnitId = HOST_UNIT.parse()?;
    let instance = InstanceId::derive(host, &unit, 0, &Digest::of(b""));
    Ok(Served { lattice: lattice.clone(), unit, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_answers_at_a_place_of_its_own() {
        let lattice = "default".parse().unwrap();
        let served = |letter: &str| served(&lattice, &format!("N{}", letter.repeat(55)).parse().unwrap()).unwrap();
        assert_ne!(served("A").instance, served("B").instance);
        assert_eq!(served("A").unit.app.as_str(), RESERVED_APP);
        assert_eq!(interface().unwrap().unversioned(), "lattice:host/settings");
    }
}
