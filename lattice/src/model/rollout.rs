//! How a new revision of a unit comes to its hosts, and how far it has come.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::UnitName;

/// How a new revision of a unit takes the place of the one before. A unit's first revision, and one that has run everywhere before, go
/// to all hosts at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// Hosts that may at a time run the old copy and the new one beside each other, until the new one takes calls.
    pub max_surge: Portion,
    /// Hosts that may at a time run neither, where no surge is allowed: there the old copy ends before the new one starts.
    pub max_unavailable: Portion,
    /// How long a new copy must have taken calls before others follow, in milliseconds.
    pub min_ready_ms: u64,
    /// Without any progress for so long the rollout has failed, in milliseconds.
    pub deadline_ms: u64,
    /// The rollout has failed when more than this part of the calls of a new copy fail, in percent.
    pub max_errors: u32,
    pub on_failure: OnFailure,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_surge: Portion::Percent(25),
            max_unavailable: Portion::Copies(0),
            min_ready_ms: 0,
            deadline_ms: 10 * 60 * 1000,
            max_errors: 50,
            on_failure: OnFailure::Hold,
        }
    }
}

impl Rollout {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How many of `copies` may be on their way from the old revision to the new one at a time; at least one.
    pub fn at_once(&self, copies: usize) -> usize {
        (self.max_surge.of(copies, usize::div_ceil) + self.max_unavailable.of(copies, |part, of| part / of)).max(1)
    }

    /// Whether the old copy on a host ends before the new one starts there.
    pub fn is_in_place(&self) -> bool {
        self.max_surge.is_zero()
    }
}

/// A number of copies, or a part of all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Portion {
    Copies(u32),
    Percent(u32),
}

impl Portion {
    pub fn is_zero(self) -> bool {
        matches!(self, Self::Copies(0) | Self::Percent(0))
    }

    fn of(self, copies: usize, divide: impl Fn(usize, usize) -> usize) -> usize {
        match self {
            Self::Copies(count) => count as usize,
            Self::Percent(percent) => divide(copies.saturating_mul(percent as usize), 100),
        }
    }
}

/// What becomes of a rollout that has failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Nothing more gets the new revision, and what has it keeps it.
    #[default]
    Hold,
    /// The app becomes again what it was in the last revision that ran everywhere.
    Rollback,
}

/// What an operator has said of the rollout of one revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOrder {
    #[default]
    Proceed,
    /// Nothing more gets the revision.
    Pause,
    /// It goes on whatever comes of it.
    Insist,
}

impl RolloutOrder {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How far the controller has brought an app's newest revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutReport {
    /// The newest revision that has run everywhere it should; 0 when there was none yet.
    pub complete: u64,
    /// Why the newest revision goes no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<RolloutFailure>,
}

/// Why a rollout has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutFailure {
    pub unit: UnitName,
    pub reason: String,
}

impl fmt::Display for RolloutFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.unit, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_move_and_never_none() {
        let default = Rollout::default();
        let at_once = |copies: &[usize]| copies.iter().map(|copies| default.at_once(*copies)).collect::<Vec<_>>();
        assert_eq!(at_once(&[0, 1, 3, 4, 5, 8, 100]), [1, 1, 1, 1, 2, 2, 25]);
        let in_place =
            Rollout { max_surge: Portion::Copies(0), max_unavailable: Portion::Percent(25), ..Rollout::default() };
        assert!(in_place.is_in_place() && !default.is_in_place());
        // Of what may be away the smaller number is meant, and still it goes on.
        assert_eq!([1, 3, 4, 7, 8].map(|copies| in_place.at_once(copies)), [1, 1, 1, 1, 2]);
        let both = Rollout { max_surge: Portion::Copies(2), ..in_place };
        assert_eq!(both.at_once(8), 4);
    }
}
