//! Calls that somebody looks at: who asks for those of a unit is shown them for as long as they ask.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recording::RawCall;
use crate::wire::{AppName, UnitId, UnitName};

/// A host shows calls for so long after it was asked, and no longer.
pub const SHOWS: Duration = Duration::from_secs(5);
/// The most that a host keeps to be asked for.
pub const MOST_CALLS: usize = 1000;
/// The longest value that is shown, in bytes of JSON; of a longer one there is its length.
pub const MOST_TEXT: usize = 4096;
/// The longest call that is shown with all of its bytes, how many of these a host keeps, and how many are in an answer.
pub const MOST_RAW: usize = 1 << 20;
pub const MOST_KEPT: usize = 64 << 20;
pub const MOST_TOLD: usize = 8 << 20;

/// Which calls are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    /// From or to a unit of this app.
    pub app: AppName,
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// Of so many calls one is shown.
    #[serde(default = "one")]
    pub sample: u32,
    /// With all bytes, and such that it can be told which calls belong together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

fn one() -> u32 {
    1
}

impl Query {
    /// Whether it asks for calls of this way.
    pub fn asks_for(&self, from: &UnitId, to: &UnitId) -> bool {
        let is = |unit: &UnitId| unit.app == self.app && self.unit.as_ref().is_none_or(|name| unit.unit == *name);
        is(from) || is(to)
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// When the process began, in microseconds since 1970: calls of another one have numbers of their own.
    pub began: u64,
    /// In the order of their ends.
    pub calls: Vec<Call>,
    /// The number to go on after.
    pub last: u64,
}

/// A call that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Call {
    pub number: u64,
    /// When it began, by the host's clock, in microseconds since 1970.
    pub at_us: u64,
    pub took_us: u64,
    pub from: UnitId,
    pub to: UnitId,
    /// `namespace:package/interface@version`, or `$root`.
    pub interface: String,
    pub function: String,
    pub way: Way,
    /// The arguments; of an HTTP request its method and URI.
    pub arguments: Value,
    pub outcome: Outcome,
    /// The trace that it belongs to, where that is recorded. Of calls that are asked for as a whole it is always there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The whole of it, where that was asked for, is not too long, and has neither streams nor resources in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<RawCall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Inside the process.
    Local,
    /// Over NATS.
    Lattice,
}

/// A value, as far as it can be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Value {
    Json(serde_json::Value),
    /// It is too long, or of a type that is not known here: its length on the wire.
    Bytes(usize),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// What was returned, also where that is an error of the function's own. Of an HTTP response its status.
    Result(Value),
    /// The call itself has failed.
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_looked_at_from_either_end() {
        let [web, cart, other]: [UnitId; 3] = ["shop/web", "shop/cart", "bank/x"].map(|unit| unit.parse().unwrap());
        let query = |unit: Option<&str>| Query {
            app: "shop".parse().unwrap(),
            unit: unit.map(|unit| unit.parse().unwrap()),
            sample: 1,
            whole: false,
        };
        assert!(query(None).asks_for(&web, &cart) && query(None).asks_for(&other, &cart));
        assert!(query(Some("cart")).asks_for(&web, &cart) && query(Some("web")).asks_for(&web, &cart));
        assert!(!query(Some("web")).asks_for(&other, &cart) && !query(None).asks_for(&other, &other));
        let read: Query = serde_json::from_str(r#"{"app":"shop"}"#).unwrap();
        assert_eq!(read, query(None));
    }
}
