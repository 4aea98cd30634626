//! What providers say of their settings before anything changes: `apply` asks a host, any that is alive.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::app::ProgramSpec;
use crate::wire::UnitId;

/// The settings of one provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsOf {
    pub unit: UnitId,
    /// Its name in the catalog.
    pub kind: String,
    /// With references to secrets.
    pub config: Map<String, Value>,
}

/// The settings of a provider that is a program of the user's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingsOfProgram {
    pub unit: UnitId,
    /// Its artifacts are in the lattice.
    pub program: ProgramSpec,
    /// With references to secrets.
    pub config: Map<String, Value>,
}

/// What the provider says; `None` when nothing is wrong, or nothing can be told here.
pub type Finding = Option<String>;

/// The setting that a finding is about; what it begins with.
pub fn setting(finding: &str) -> &str {
    finding.split([':', '.', '[']).next().unwrap_or_default()
}
