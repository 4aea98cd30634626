//! Secrets: who names them, and whether they are there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        manifest::{Component, Manifest},
        problem::{Problem, nearest},
        secret::{self, ReferenceError, SecretSource},
    },
    wire::SecretName,
};

/// How a secret is named.
const HELP: &str =
    "write the name of a secret, or `{ file: NAME }` or `{ env: NAME }` for one that hosts have by themselves";

impl Checker<'_> {
    /// What a component may read.
    pub(super) fn granted_secrets(&mut self, component: &Component) -> BTreeMap<String, SecretSource> {
        let mut granted = BTreeMap::new();
        for (name, value) in &component.secrets.0 {
            match secret::source(&value.value) {
                Ok(source) => drop(granted.insert(name.value.clone(), source)),
                Err(error) => self.bad_reference(value, &error),
            }
        }
        granted
    }

    /// Every `{ secret: ... }` in a setting of a provider.
    pub(super) fn secret_references(&mut self, at: &Spanned<Value>, value: &Value) {
        match (secret::reference(value), value) {
            (Some(Ok(_)), _) => {}
            (Some(Err(error)), _) => self.bad_reference(at, &error),
            (None, Value::Object(map)) => map.values().for_each(|value| self.secret_references(at, value)),
            (None, Value::Array(list)) => list.iter().for_each(|value| self.secret_references(at, value)),
            _ => {}
        }
    }

    fn bad_reference(&mut self, at: &Spanned<Value>, error: &ReferenceError) {
        self.problems.push(Problem::at(at, error.to_string()).help(HELP));
    }
}

/// The secrets that the manifest names and the lattice does not have. `known` are the app's own.
pub fn missing_secrets(manifest: &Manifest, known: &BTreeSet<String>) -> Vec<Problem> {
    let app = &manifest.metadata.name.value;
    let of_components = manifest.spec.components.0.iter().flat_map(|(_, component)| &component.secrets.0);
    let of_components = of_components.filter_map(|(_, value)| Some((value, secret::source(&value.value).ok()?)));
    let of_providers = manifest.spec.providers.0.iter().flat_map(|(_, provider)| &provider.config.0);
    let of_providers = of_providers.flat_map(|(key, value)| {
        let alone = serde_json::Map::from_iter([(key.value.clone(), value.value.clone())]);
        secret::references(&alone).into_iter().map(move |source| (value, source))
    });
    let missing = of_components.chain(of_providers).filter_map(|(at, source)| match source {
        SecretSource::Lattice(name) if !known.contains(name.as_str()) => Some((at, name)),
        _ => None,
    });
    let problem = |(at, name): (&Spanned<Value>, SecretName)| {
        let put = format!("put it there with `lattice-ctl secrets put {app}/{name}`");
        let help = match nearest(name.as_str(), known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`? Else {put}"),
            None => put,
        };
        Problem::at(at, format!("the lattice has no secret `{name}` of app {app}")).help(help)
    };
    missing.map(problem).collect()
}
