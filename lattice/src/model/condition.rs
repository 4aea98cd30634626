//! How the machine of a host is, as the host itself sees it when it is asked.

use serde::{Deserialize, Serialize};

/// What the host says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Its clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// Its data folder.
    pub data: String,
    /// The disk of that, in bytes; 0 and 0 when it cannot be told.
    pub disk_free: u64,
    pub disk_size: u64,
    /// Files and connections that are open, and how many may be; 0 for no bound.
    pub files_open: u64,
    pub files_most: u64,
    /// Why it could not be started again without the lattice, when something that it needs is not on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
}
