//! How many copies of a unit there are.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The greatest number of copies.
pub const MAX_REPLICAS: u32 = 10_000;

/// How many copies of a unit there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    Replicas(u32),
    PerHost,
    /// As many as its load needs.
    Follow(Follow),
}

impl Scale {
    /// Whether there may be no copy while nobody calls.
    pub fn may_sleep(&self) -> bool {
        matches!(self, Self::Follow(follow) if follow.min == 0)
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replicas(n) => write!(f, "{n}"),
            Self::PerHost => f.write_str("one per host"),
            Self::Follow(Follow { min, max, in_flight, .. }) => {
                write!(f, "{min} to {max}, one for each {in_flight} calls in flight")
            }
        }
    }
}

/// How the number of copies follows the calls that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Follow {
    /// With 0 there is no copy while nobody calls, and the first call waits until one has started.
    pub min: u32,
    pub max: u32,
    /// Calls under way that one copy is for; at least 1.
    pub in_flight: u32,
    /// A copy goes when it has not been needed for so long, in milliseconds.
    pub window_ms: u64,
}

/// How long a copy stays that is not needed, where nothing is said.
pub const WINDOW_MS: u64 = 60_000;

impl Follow {
    /// The copies for a load in thousandths of a call, see [`Load`].
    pub fn needs(&self, load: u64) -> u32 {
        let copies = load.div_ceil(1000 * u64::from(self.in_flight.max(1)));
        self.within(u32::try_from(copies).unwrap_or(u32::MAX))
    }

    /// The nearest number of copies that is allowed.
    pub fn within(&self, copies: u32) -> u32 {
        copies.min(self.max).max(self.min)
    }

    /// What a new unit begins with: at least one copy, so that it is known whether it runs.
    pub fn first(&self) -> u32 {
        self.within(1).max(1)
    }
}

/// The calls of units under way on one host, or waiting there for a first copy: the mean since it was told last, in thousandths
/// of a call.
pub type Load = std::collections::BTreeMap<crate::wire::UnitId, u64>;
