//! What hosts remember of their logs, for whoever asks: the newest lines of each unit, and of the host itself.

use serde::{Deserialize, Serialize};

use crate::wire::{AppName, UnitId, UnitName};

/// The most that a host answers at once, in lines and in bytes of text; who asks goes on after the last line.
pub const MOST_LINES: usize = 4096;
pub const MOST_TEXT: usize = 512 * 1024;

/// Which lines are wanted; without an app, all that the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppName>,
    /// Of that app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
    /// Only lines with a higher number.
    #[serde(default)]
    pub after: u64,
    /// Only lines that are not older, in microseconds since 1970.
    #[serde(default)]
    pub since_us: u64,
    /// Only the newest, where there are more; else the oldest come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<usize>,
}

impl Query {
    /// Whether it asks for lines of a unit, or of the host itself.
    pub fn asks_for(&self, unit: Option<&UnitId>) -> bool {
        match (&self.app, unit) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(app), Some(unit)) => unit.app == *app && self.unit.as_ref().is_none_or(|name| unit.unit == *name),
        }
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// When the process began, in microseconds since 1970: lines of another one have numbers of their own.
    pub began: u64,
    /// In the order of their numbers.
    pub lines: Vec<Line>,
    /// The number to go on after.
    pub last: u64,
    /// There are more of them now.
    pub more: bool,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its place in the log of the process.
    pub number: u64,
    /// When it was written, by the host's clock, in microseconds since 1970.
    pub at_us: u64,
    pub level: Level,
    /// What it is about; `None` for the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitId>,
    pub source: Source,
    pub text: String,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Who has written a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The component, to its standard output or error, or by `wasi:logging`.
    Guest,
    /// The provider's process.
    Provider,
    /// The host, of the unit or of itself.
    Host,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_an_app_a_unit_or_nothing() {
        let (cart, web): (UnitId, UnitId) = ("shop/cart".parse().unwrap(), "shop/web".parse().unwrap());
        let query = |app: Option<&str>, unit: Option<&str>| Query {
            app: app.map(|app| app.parse().unwrap()),
            unit: unit.map(|unit| unit.parse().unwrap()),
            ..Query::default()
        };
        let asks = |query: Query| [Some(&cart), Some(&web), None].map(|unit| query.asks_for(unit));
        assert_eq!(asks(query(None, None)), [true, true, true]);
        assert_eq!(asks(query(Some("shop"), None)), [true, true, false]);
        assert_eq!(asks(query(Some("shop"), Some("cart"))), [true, false, false]);
        assert_eq!(asks(query(Some("other"), None)), [false, false, false]);
    }
}
