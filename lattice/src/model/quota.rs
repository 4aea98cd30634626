//! How much of a lattice one app may have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::app::UnitSpec;
use crate::wire::AppName;

/// The value of `quotas.<app>`, or of [`Quota::DEFAULT`] for apps that have none of their own. What is not named has no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// Version of this structure.
    pub version: u32,
    /// Copies of all of its units together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
    /// What these may use by their limits, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Calls under way in all of its components. Each host that has any allows its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// The same, calls that begin in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u32>,
}

/// What an app has, or asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub copies: u64,
    pub memory_bytes: u64,
}

impl Usage {
    pub fn add(&mut self, spec: &UnitSpec, copies: u64) {
        self.copies += copies;
        self.memory_bytes = self.memory_bytes.saturating_add(spec.demand().memory_bytes.saturating_mul(copies));
    }
}

impl Quota {
    pub const VERSION: u32 = 1;
    /// No app can be called so.
    pub const DEFAULT: &'static str = "_default";

    /// That of `app`, out of all of them.
    pub fn of<'q>(app: &AppName, all: &'q BTreeMap<String, Quota>) -> Option<&'q Quota> {
        all.get(app.as_str()).or_else(|| all.get(Self::DEFAULT))
    }

    /// What of it does not allow so much, in words.
    pub fn exceeded(&self, usage: Usage) -> Option<String> {
        if let Some(copies) = self.copies.filter(|copies| usage.copies > u64::from(*copies)) {
            return Some(format!("the app's quota of {copies} copies"));
        }
        let memory = self.memory_bytes.filter(|memory| usage.memory_bytes > *memory)?;
        Some(format!("the app's quota of {} MiB of memory", memory >> 20))
    }
}
