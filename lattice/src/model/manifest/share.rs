//! `share:` of a unit: `all`, an app, a list of apps, or a mapping with options.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

/// With whom a unit is shared.
#[derive(Debug)]
pub struct Share {
    pub with: Sharers,
    pub data: Option<Spanned<Data>>,
}

/// The apps that may link to it.
#[derive(Debug)]
pub enum Sharers {
    All,
    Apps(Vec<Spanned<String>>),
}

/// Whose the buckets and containers of a store are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// Each app has its own.
    Own,
    Common,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    with: Sharers,
    data: Option<Spanned<Data>>,
}

enum Written {
    Name(String),
    Apps(Vec<Spanned<String>>),
    Options(Options),
}

/// Whether a mapping may stand here.
struct WrittenVisitor {
    mapping: bool,
}

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, the name of an app, or a list of apps")?;
        if self.mapping { f.write_str(", or a mapping with `with`") } else { Ok(()) }
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Written, E> {
        Ok(Written::Name(name.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        let mut apps = Vec::new();
        while let Some(app) = seq.next_element()? {
            apps.push(app);
        }
        Ok(Written::Apps(apps))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
        if !self.mapping {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        }
        Options::deserialize(MapAccessDeserializer::new(map)).map(Written::Options)
    }
}

struct Names(Written);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor { mapping: false }).map(Names)
    }
}

struct Any(Written);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor { mapping: true }).map(Any)
    }
}

impl Share {
    fn written<E: de::Error>(Spanned { value, referenced, defined }: Spanned<Written>) -> Result<Self, E> {
        let with = match value {
            Written::Options(Options { with, data }) => return Ok(Self { with, data }),
            Written::Name(all) if all == "all" => Sharers::All,
            Written::Name(app) => Sharers::Apps(vec![Spanned::new(app, referenced, defined)]),
            Written::Apps(apps) if apps.is_empty() => {
                return Err(de::Error::custom("an empty list of apps: name one, write `all`, or remove `share`"));
            }
            Written::Apps(apps) => Sharers::Apps(apps),
        };
        Ok(Self { with, data: None })
    }
}

impl<'de> Deserialize<'de> for Sharers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Names(value), referenced, defined } = Spanned::deserialize(deserializer)?;
        Share::written(Spanned::new(value, referenced, defined)).map(|share| share.with)
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Any(value), referenced, defined } = Spanned::deserialize(deserializer)?;
        Share::written(Spanned::new(value, referenced, defined))
    }
}
