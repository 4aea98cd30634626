//! `placement:` of a unit.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use crate::model::placement::{Labels, Offline};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Placement {
    #[serde(default)]
    pub require: Labels,
    #[serde(default)]
    pub prefer: Labels,
    pub spread: Option<Spread>,
    /// Units of this app by name, of others as `app/unit`.
    #[serde(default)]
    pub apart: Vec<Spanned<String>>,
    /// Taints of hosts.
    #[serde(default)]
    pub tolerate: Vec<String>,
    /// `keep` or `stop`: what becomes of a copy whose host is cut off.
    #[serde(default)]
    pub offline: Offline,
}

/// The name of a label, or a mapping with options.
#[derive(Debug)]
pub struct Spread {
    pub by: String,
    pub max_skew: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    by: String,
    max_skew: Option<Spanned<u32>>,
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SpreadVisitor;
        impl<'de> Visitor<'de> for SpreadVisitor {
            type Value = Spread;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a label, or a mapping with `by`")
            }
            fn visit_str<E: de::Error>(self, label: &str) -> Result<Spread, E> {
                Ok(Spread { by: label.to_owned(), max_skew: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Spread, A::Error> {
                let Options { by, max_skew } = Options::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Spread { by, max_skew })
            }
        }
        deserializer.deserialize_any(SpreadVisitor)
    }
}
