//! How a component is asked whether it is well.

use serde_saphyr::Spanned;

use super::{Checker, ComponentFacts};
use crate::{
    model::{
        health::{HealthSpec, Probe},
        manifest::{Health, resolve_duration},
        problem::{Problem, suggest},
    },
    wire::Interface,
};

/// Between two questions, and for an answer, where nothing is said.
const EVERY_MS: u64 = 10_000;
const TIMEOUT_MS: u64 = 1_000;

const HELP: &str = "write `path: /healthz`, or `call: namespace:package/interface.function`";

impl Checker<'_> {
    pub(super) fn health(
        &mut self,
        key: &Spanned<String>,
        health: Option<&Health>,
        facts: Option<&ComponentFacts>,
    ) -> Option<HealthSpec> {
        let health = health?;
        let mut time = |text: &Option<Spanned<String>>, default| {
            text.as_ref().and_then(|text| resolve_duration(text, &mut self.problems)).unwrap_or(default)
        };
        let (every_ms, timeout_ms) = (time(&health.every, EVERY_MS), time(&health.timeout, TIMEOUT_MS));
        let probe = match (&health.path, &health.call) {
            (Some(path), None) => self.probed_path(path, facts),
            (None, Some(call)) => self.probed_call(call, facts),
            (Some(one), Some(_)) => {
                let problem = Problem::at(one, format!("`{}` is asked in two ways", key.value));
                self.problems.push(problem.help("keep `path` or `call`"));
                None
            }
            (None, None) => {
                self.problems.push(Problem::at(key, format!("`{}` is not asked anything", key.value)).help(HELP));
                None
            }
        };
        Some(HealthSpec { probe: probe?, every_ms, timeout_ms })
    }

    fn probed_path(&mut self, path: &Spanned<String>, facts: Option<&ComponentFacts>) -> Option<Probe> {
        let parsed = path.value.parse::<http::Uri>();
        if !path.value.starts_with('/') || parsed.is_err() {
            self.problems.push(Problem::at(path, format!("`{}` is no path", path.value)).help(HELP));
            return None;
        }
        let is_http =
            |export: &Interface| matches!(export.unversioned(), "wasi:http/incoming-handler" | "wasi:http/handler");
        if facts.is_some_and(|facts| !facts.exports.iter().any(is_http)) {
            let problem = Problem::at(path, "the component answers no HTTP requests");
            self.problems.push(problem.help("ask a function: `call: namespace:package/interface.function`"));
        }
        Some(Probe::Path(path.value.clone()))
    }

    fn probed_call(&mut self, call: &Spanned<String>, facts: Option<&ComponentFacts>) -> Option<Probe> {
        let parsed = call.value.rsplit_once('.').and_then(|(interface, function)| {
            interface.parse::<Interface>().ok().map(|interface| (interface, function.to_owned()))
        });
        let Some((interface, function)) = parsed else {
            self.problems.push(Problem::at(call, format!("`{}` names no function", call.value)).help(HELP));
            return None;
        };
        if let Some(facts) = facts {
            let found = facts.export_shapes.iter().find(|(export, _)| export.matches(&interface.to_string()));
            let Some((export, shape)) = found else {
                let problem = Problem::at(call, format!("the component exports no interface {interface}"));
                let known: Vec<_> = facts.export_shapes.keys().map(ToString::to_string).collect();
                self.problems.push(problem.help(suggest(&interface.to_string(), known.iter().map(String::as_str))));
                return None;
            };
            match shape.functions.get(&function) {
                None => {
                    let problem = Problem::at(call, format!("{export} has no function `{function}`"));
                    let known = shape.functions.keys().map(String::as_str);
                    self.problems.push(problem.help(suggest(&function, known)));
                }
                Some(shape) if !shape.signature.starts_with("func()") => {
                    let problem = Problem::at(call, format!("`{function}` takes parameters: {}", shape.signature));
                    self.problems.push(problem.help("name a function without any"));
                }
                Some(_) => return Some(Probe::Call { interface: export.clone(), function }),
            }
            return None;
        }
        Some(Probe::Call { interface, function })
    }
}
