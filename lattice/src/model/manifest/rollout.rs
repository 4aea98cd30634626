//! `rollout:` of a unit.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::resolve_duration;
use crate::model::{
    problem::Problem,
    rollout::{self, OnFailure, Portion},
};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// `2` or `25%`: hosts that may run the old copy and the new one beside each other at a time.
    pub max_surge: Option<Spanned<serde_json::Value>>,
    /// `2` or `25%`: hosts that may run neither at a time, where no surge is allowed.
    pub max_unavailable: Option<Spanned<serde_json::Value>>,
    /// How long a new copy must have taken calls before others follow.
    pub min_ready: Option<Spanned<String>>,
    /// How long there may be no progress.
    pub deadline: Option<Spanned<String>>,
    /// `5%`: how many of the calls of a new copy may fail.
    pub max_errors: Option<Spanned<String>>,
    /// `hold` or `rollback`.
    pub on_failure: Option<OnFailure>,
}

/// More than a year: a number that is meant seriously is below it.
const LONGEST_MS: u64 = 400 * 24 * 3_600_000;

impl Rollout {
    /// The policy with the defaults filled in, or what is wrong with it.
    pub(in crate::model) fn resolve(&self, problems: &mut Vec<Problem>) -> rollout::Rollout {
        let default = rollout::Rollout::default();
        let mut time = |text: &Option<Spanned<String>>, default: u64| match text {
            // A copy that must have been ready for no time is one that is ready.
            Some(text) if text.value == "0s" => 0,
            Some(text) => match resolve_duration(text, problems) {
                Some(ms) if ms > LONGEST_MS => {
                    problems.push(Problem::at(text, format!("`{}` is too long", text.value)).help("write less"));
                    default
                }
                ms => ms.unwrap_or(default),
            },
            None => default,
        };
        let (min_ready_ms, deadline_ms) =
            (time(&self.min_ready, default.min_ready_ms), time(&self.deadline, default.deadline_ms));
        if let Some(deadline) = self.deadline.as_ref().filter(|_| deadline_ms <= min_ready_ms) {
            let problem = Problem::at(deadline, "the deadline is over before a copy has been ready for `minReady`");
            problems.push(problem.help("write a longer deadline, or a shorter `minReady`"));
        }
        let max_surge = portion(self.max_surge.as_ref(), problems);
        let max_unavailable = portion(self.max_unavailable.as_ref(), problems);
        let resolved = rollout::Rollout {
            // Who says what may be away does not want more than there is now.
            max_surge: max_surge.unwrap_or(match max_unavailable {
                Some(portion) if !portion.is_zero() => Portion::Copies(0),
                _ => default.max_surge,
            }),
            max_unavailable: max_unavailable.unwrap_or(default.max_unavailable),
            min_ready_ms,
            deadline_ms,
            max_errors: self.max_errors.as_ref().and_then(|text| percent(text, problems)).unwrap_or(default.max_errors),
            on_failure: self.on_failure.unwrap_or_default(),
        };
        if let Some(surge) = &self.max_surge
            && resolved.max_surge.is_zero()
            && resolved.max_unavailable.is_zero()
        {
            let problem = Problem::at(surge, "with no surge and nothing unavailable no copy could ever change");
            problems.push(problem.help("allow one of them: `maxSurge: 1` or `maxUnavailable: 1`"));
        }
        resolved
    }
}

fn portion(value: Option<&Spanned<serde_json::Value>>, problems: &mut Vec<Problem>) -> Option<Portion> {
    let value = value?;
    let portion = match &value.value {
        serde_json::Value::Number(number) => number.as_u64().and_then(|n| n.try_into().ok()).map(Portion::Copies),
        serde_json::Value::String(text) => whole_percent(text).map(Portion::Percent),
        _ => None,
    };
    if portion.is_none() {
        let problem = Problem::at(value, "this is neither a number of copies nor a part of them");
        problems.push(problem.help("write a whole number, or a percentage from 0% to 100%, as in `25%`"));
    }
    portion
}

fn percent(text: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<u32> {
    let percent = whole_percent(&text.value);
    if percent.is_none() {
        let problem = Problem::at(text, format!("`{}` is no percentage", text.value));
        problems.push(problem.help("write a whole one from 0% to 100%, as in `5%`"));
    }
    percent
}

fn whole_percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)
}
