//! The manifest of wadm, as its users write it.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::model::manifest::Entries;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Application {
    #[serde(rename = "apiVersion")]
    pub(super) _api_version: String,
    pub(super) kind: Spanned<String>,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    #[serde(default)]
    pub(super) components: Vec<Component>,
    /// Where secrets are kept, which is the lattice itself here.
    #[serde(default, rename = "policies")]
    pub(super) _policies: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Component {
    pub(super) name: Spanned<String>,
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) properties: Properties,
    #[serde(default)]
    pub(super) traits: Vec<Trait>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Properties {
    pub(super) image: Option<Spanned<String>>,
    /// A unit of another application.
    pub(super) application: Option<Shared>,
    #[serde(default, rename = "id")]
    pub(super) _id: Option<String>,
    #[serde(default)]
    pub(super) config: Vec<Config>,
    #[serde(default)]
    pub(super) secrets: Vec<Secret>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shared {
    pub(super) name: Spanned<String>,
    pub(super) component: Spanned<String>,
}

/// A named configuration.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) name: Spanned<String>,
    pub(super) properties: Option<Entries<Spanned<Value>>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) name: Spanned<String>,
    pub(super) properties: SecretProperties,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretProperties {
    #[serde(rename = "policy")]
    pub(super) _policy: String,
    pub(super) key: Spanned<String>,
    pub(super) field: Option<Spanned<String>>,
    pub(super) version: Option<Spanned<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trait {
    #[serde(rename = "type")]
    pub(super) kind: Spanned<String>,
    pub(super) properties: TraitProperties,
}

/// What any of the traits has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TraitProperties {
    #[serde(alias = "replicas")]
    pub(super) instances: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) spread: Vec<Spread>,
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) package: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) interfaces: Vec<Spanned<String>>,
    pub(super) name: Option<Spanned<String>>,
    pub(super) source: Option<End>,
    pub(super) target: Option<Target>,
    #[serde(default)]
    pub(super) source_config: Vec<Config>,
    #[serde(default)]
    pub(super) target_config: Vec<Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spread {
    #[serde(rename = "name")]
    pub(super) _name: Option<String>,
    #[serde(default)]
    pub(super) requirements: BTreeMap<String, String>,
    pub(super) weight: Option<Spanned<u32>>,
}

/// What one end of a link is told.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct End {
    #[serde(default)]
    pub(super) config: Vec<Config>,
    #[serde(default)]
    pub(super) secrets: Vec<Secret>,
}

/// Where a link leads: a name, or a mapping with what the other end is told.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Spanned<String>,
    pub(super) end: End,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetOptions {
    name: Spanned<String>,
    #[serde(default)]
    config: Vec<Config>,
    #[serde(default)]
    secrets: Vec<Secret>,
}

enum WrittenTarget {
    Name(String),
    Options(TargetOptions),
}

impl<'de> Deserialize<'de> for WrittenTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TargetVisitor;
        impl<'de> Visitor<'de> for TargetVisitor {
            type Value = WrittenTarget;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a component, or a mapping with `name`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<WrittenTarget, E> {
                Ok(WrittenTarget::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WrittenTarget, A::Error> {
                TargetOptions::deserialize(MapAccessDeserializer::new(map)).map(WrittenTarget::Options)
            }
        }
        deserializer.deserialize_any(TargetVisitor)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(match value {
            WrittenTarget::Name(name) => Self { name: Spanned::new(name, referenced, defined), end: End::default() },
            WrittenTarget::Options(TargetOptions { name, config, secrets }) => {
                Self { name, end: End { config, secrets } }
            }
        })
    }
}
