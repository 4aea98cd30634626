//! What an operator has said of a host while it runs. Each host follows its own orders and tells what came of them in
//! its inventory; nobody else reads them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The value of `orders.<host>`. It outlives the host's process: a host that is started again follows it again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostOrders {
    /// Version of this structure.
    pub version: u32,
    /// Labels beside those that it was started with, or in their place; `None` takes one away.
    #[serde(default)]
    pub labels: BTreeMap<String, Option<String>>,
    /// Taints that it has whatever it was started with, or has not.
    #[serde(default)]
    pub taints: BTreeMap<String, bool>,
    /// Why it gets nothing more.
    #[serde(default)]
    pub cordon: Option<String>,
    /// It gives what it has to others.
    #[serde(default)]
    pub drain: bool,
    /// The process that started at this time ends when others have taken over what they can; one that starts later goes on.
    #[serde(default)]
    pub end: Option<u64>,
}

impl HostOrders {
    pub const VERSION: u32 = 1;

    /// The labels of a host that was started with `labels`.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        for (name, value) in &self.labels {
            match value {
                Some(value) => labels.insert(name.clone(), value.clone()),
                None => labels.remove(name),
            };
        }
        labels
    }

    /// The taints of a host that was started with `taints`.
    pub fn taints(&self, taints: &BTreeSet<String>) -> BTreeSet<String> {
        let mut taints = taints.clone();
        for (name, has) in &self.taints {
            match has {
                true => taints.insert(name.clone()),
                false => taints.remove(name),
            };
        }
        taints
    }

    /// Whether the process that started at `started_ms` shall end.
    pub fn ends(&self, started_ms: u64) -> bool {
        self.end == Some(started_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_later_goes_before_what_it_was_started_with() {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let orders = HostOrders {
            labels: BTreeMap::from([
                ("zone".into(), Some("b".into())),
                ("disk".into(), None),
                ("rack".into(), Some("7".into())),
            ]),
            taints: BTreeMap::from([("gpu".into(), true), ("edge".into(), false)]),
            end: Some(5),
            ..HostOrders::default()
        };
        assert_eq!(orders.labels(&text(&[("zone", "a"), ("disk", "ssd")])), text(&[("rack", "7"), ("zone", "b")]));
        assert_eq!(orders.taints(&["edge".to_owned()].into()), ["gpu".to_owned()].into());
        assert!(orders.ends(5) && !orders.ends(6));
    }
}
