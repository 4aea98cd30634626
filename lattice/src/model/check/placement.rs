//! Where units may be: what can be said of it without knowing the hosts.

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        manifest,
        placement::{Placement, Spread},
        problem::Problem,
    },
    wire::{AppName, UnitId},
};

impl Checker<'_> {
    /// The placement of the unit `key`.
    pub(super) fn place(&mut self, app: &AppName, key: &Spanned<String>, placement: &manifest::Placement) -> Placement {
        for (word, labels) in [("require", &placement.require), ("prefer", &placement.prefer)] {
            if let Some((label, _)) = labels.iter().find(|(_, values)| values.is_empty()) {
                let problem = Problem::at(key, format!("`{}` {word}s the label {label} to have no value", key.value));
                self.problems.push(problem.help(format!("write `{label}: [value]`")));
            }
        }
        let spread = placement.spread.as_ref().map(|spread| Spread {
            label: spread.by.clone(),
            max_skew: spread.max_skew.as_ref().map(|skew| {
                if skew.value == 0 {
                    let problem = Problem::at(skew, "a skew of 0 would allow no copy but the first");
                    self.problems.push(problem.help("write at least 1"));
                }
                skew.value
            }),
        });
        Placement {
            require: placement.require.clone(),
            prefer: placement.prefer.clone(),
            spread,
            apart: placement.apart.iter().filter_map(|other| self.kept_apart(app, key, other)).collect(),
            tolerate: placement.tolerate.iter().cloned().collect(),
            offline: placement.offline,
        }
    }

    /// A unit that is not to be on one host with the unit `key`. Those of other apps need not be there yet.
    fn kept_apart(&mut self, app: &AppName, key: &Spanned<String>, other: &Spanned<String>) -> Option<UnitId> {
        if other.value == key.value {
            let problem = Problem::at(other, format!("`{}` cannot be apart from itself", key.value));
            self.problems.push(problem.help("remove it: a host has at most one copy of a unit"));
            return None;
        }
        match other.value.split_once('/') {
            Some((owner, _)) if owner != app.as_str() => {
                let parsed: Result<UnitId, _> = other.value.parse();
                parsed.map_err(|error| self.problems.push(Problem::at(other, error.to_string()))).ok()
            }
            _ => self.target(app, other),
        }
    }
}
