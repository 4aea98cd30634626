//! A provider's typed configuration against the catalog: what `apply` accepts, the provider accepts.

use lattice::model::catalog;
use serde_json::{Map, Value};

use super::Check;
use crate::{Provider, parse_config};

/// Checks that `P` takes exactly the keys that the catalog has for it, with exactly the required ones required. A
/// sample is a good value for each key.
pub fn configuration<P: Provider>(samples: &[(&str, Value)]) -> Check {
    let kind = catalog::find(P::KIND).ok_or_else(|| format!("{} is not in the catalog", P::KIND))?;
    let parse = |config: &Map<String, Value>| parse_config::<P>(config).map(drop).map_err(|e| e.to_string());
    let mut all = Map::new();
    for key in kind.config {
        let sample = samples.iter().find(|(name, _)| *name == key.name);
        let (_, value) = sample.ok_or_else(|| format!("no sample for {}", key.name))?;
        all.insert(key.name.to_owned(), value.clone());
    }
    if all.len() != samples.len() {
        return Err(format!("samples for {} keys, but the catalog has {}", samples.len(), all.len()));
    }
    parse(&all)?;
    for key in kind.config {
        let mut without = all.clone();
        without.remove(key.name);
        if parse(&without).is_err() != key.required {
            return Err(format!("{} is required here or in the catalog, but not in both", key.name));
        }
    }
    all.insert("noSuchKey".to_owned(), Value::Null);
    match parse(&all) {
        Ok(()) => Err("an unknown key is accepted".to_owned()),
        Err(text) if text.contains("noSuchKey") => Ok(()),
        Err(text) => Err(format!("the error does not name the unknown key: {text}")),
    }
}
