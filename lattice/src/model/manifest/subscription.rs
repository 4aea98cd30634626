//! Where a subscription leads: to one component, by its name or with options.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

/// One subscription.
#[derive(Debug)]
pub struct Subscription {
    pub to: Spanned<String>,
    /// Messages under way to the component at a time.
    pub in_flight: Option<Spanned<u32>>,
    /// The stream that keeps the messages until they are done.
    pub stream: Option<Spanned<String>>,
    pub deliveries: Option<Spanned<u32>>,
    pub backoff: Option<Spanned<String>>,
    pub dead_letter: Option<Spanned<String>>,
}

impl Subscription {
    pub(in crate::model) fn to(unit: Spanned<String>) -> Self {
        Self { to: unit, in_flight: None, stream: None, deliveries: None, backoff: None, dead_letter: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    to: Spanned<String>,
    in_flight: Option<Spanned<u32>>,
    stream: Option<Spanned<String>>,
    deliveries: Option<Spanned<u32>>,
    backoff: Option<Spanned<String>>,
    dead_letter: Option<Spanned<String>>,
}

impl From<Options> for Subscription {
    fn from(options: Options) -> Self {
        let Options { to, in_flight, stream, deliveries, backoff, dead_letter } = options;
        Self { to, in_flight, stream, deliveries, backoff, dead_letter }
    }
}

enum Written {
    Name(String),
    Options(Box<Options>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WrittenVisitor;
        impl<'de> Visitor<'de> for WrittenVisitor {
            type Value = Written;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a component, or a mapping with `to`")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Written, E> {
                Ok(Written::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Options::deserialize(MapAccessDeserializer::new(map)).map(|options| Written::Options(Box::new(options)))
            }
        }
        deserializer.deserialize_any(WrittenVisitor)
    }
}

impl<'de> Deserialize<'de> for Subscription {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(match value {
            Written::Name(name) => Self::to(Spanned::new(name, referenced, defined)),
            Written::Options(options) => (*options).into(),
        })
    }
}
