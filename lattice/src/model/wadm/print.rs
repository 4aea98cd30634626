//! A manifest of ours as text, as far as one of wadm can become it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use crate::model::{
    app::DEFAULT_LINK,
    manifest::{Component, Entries, Link, Manifest, Placement, Provider, Replicas, Share, Targets},
};

/// The manifest as YAML.
///
/// # Errors
/// The reason, when a value cannot be written so.
pub fn print(manifest: &Manifest) -> Result<String, String> {
    let components = entries(&manifest.spec.components, component);
    let providers = entries(&manifest.spec.providers, provider);
    let mut metadata = Map::from_iter([("name".to_owned(), manifest.metadata.name.value.clone().into())]);
    put(&mut metadata, "labels", json!(manifest.metadata.labels));
    let mut spec = Map::new();
    put(&mut spec, "components", components);
    put(&mut spec, "providers", providers);
    let head = "apiVersion: lattice/v1\nkind: App\n";
    let body = BTreeMap::from([("metadata", Value::Object(metadata)), ("spec", Value::Object(spec))]);
    serde_saphyr::to_string(&body).map(|body| format!("{head}{body}")).map_err(|error| error.to_string())
}

/// Adds what says something.
fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    let says_nothing = match &value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    if !says_nothing {
        map.insert(key.to_owned(), value);
    }
}

fn entries<T>(entries: &Entries<T>, value: impl Fn(&T) -> Value) -> Value {
    entries.0.iter().map(|(key, entry)| (key.value.clone(), value(entry))).collect::<Map<_, _>>().into()
}

fn component(component: &Component) -> Value {
    let mut map = Map::from_iter([("image".to_owned(), component.image.value.clone().into())]);
    scale(&mut map, component.replicas.as_ref(), component.per_host.as_ref(), &component.placement);
    put(&mut map, "config", entries(&component.config, |value| value.value.clone()));
    put(&mut map, "secrets", entries(&component.secrets, |value| value.value.clone()));
    let links = entries(&component.links, |links| match links.0.as_slice() {
        [one] => link(one),
        many => many.iter().map(link).collect(),
    });
    put(&mut map, "links", links);
    put(&mut map, "share", share(component.share.as_ref()));
    map.into()
}

fn link(link: &Link) -> Value {
    let mut map = Map::new();
    if link.name() != DEFAULT_LINK {
        map.insert("name".to_owned(), link.name().into());
    }
    let allow =
        link.allow.as_ref().map(|allow| allow.value.iter().map(|origin| origin.value.as_str()).collect::<Vec<_>>());
    put(&mut map, "allow", json!(allow));
    if map.is_empty() {
        return link.to.value.clone().into();
    }
    map.insert("to".to_owned(), link.to.value.clone().into());
    map.into()
}

fn provider(provider: &Provider) -> Value {
    let mut map = Map::new();
    put(&mut map, "use", json!(provider.kind.as_ref().map(|kind| &kind.value)));
    scale(&mut map, provider.replicas.as_ref(), provider.per_host.as_ref(), &provider.placement);
    put(&mut map, "config", entries(&provider.config, |value| value.value.clone()));
    let routes = entries(&provider.routes, |targets| match targets {
        Targets::One(to) => to.value.clone().into(),
        Targets::Shares(shares) => {
            shares.iter().map(|(to, share)| (to.value.clone(), share.value.into())).collect::<Map<_, _>>().into()
        }
    });
    put(&mut map, "routes", routes);
    put(
        &mut map,
        "subscriptions",
        entries(&provider.subscriptions, |subscription| subscription.to.value.clone().into()),
    );
    put(&mut map, "share", share(provider.share.as_ref()));
    map.into()
}

fn scale(
    map: &mut Map<String, Value>,
    replicas: Option<&Spanned<Replicas>>,
    per_host: Option<&Spanned<u32>>,
    placement: &Placement,
) {
    let fixed = replicas.and_then(|replicas| match replicas.value {
        Replicas::Fixed(count) => Some(count).filter(|count| *count != 1),
        // wadm has nothing else.
        Replicas::Follow(_) | Replicas::Wrong(_) => None,
    });
    put(map, "replicas", json!(fixed));
    put(map, "perHost", json!(per_host.map(|count| count.value)));
    let mut places = Map::new();
    put(&mut places, "require", json!(placement.require));
    put(&mut places, "spread", json!(placement.spread.as_ref().map(|spread| &spread.by)));
    put(map, "placement", places.into());
}

fn share(share: Option<&Share>) -> Value {
    if share.is_some() { "all".into() } else { Value::Null }
}
