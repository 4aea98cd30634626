//! How it is found out whether a component is well.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::Interface;

/// A component takes calls when it has been found well, and is asked again from time to time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    pub probe: Probe,
    /// Between two questions, in milliseconds.
    pub every_ms: u64,
    /// How long an answer may take, in milliseconds.
    pub timeout_ms: u64,
}

/// What a component is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A GET request for this path, which must be answered with a status below 400.
    Path(String),
    /// A function without parameters, which must return, and neither the error of a `result` nor `false`.
    Call { interface: Interface, function: String },
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "GET {path}"),
            Self::Call { interface, function } => write!(f, "{interface}.{function}"),
        }
    }
}
