//! The links of one interface: one unit's name, a mapping with options, or a list of both.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use crate::model::app::{DEFAULT_LINK, Transport};

/// What one key under `links:` leads to.
#[derive(Debug)]
pub struct Links(pub Vec<Link>);

/// One link.
#[derive(Debug)]
pub struct Link {
    pub to: Spanned<String>,
    /// What the component chooses it by; `default` when absent.
    pub name: Option<Spanned<String>>,
    pub transport: Option<Spanned<Transport>>,
    pub deadline: Option<Spanned<String>>,
    /// Functions that may be called again; `*` for all.
    pub idempotent: Vec<Spanned<String>>,
    /// Of a link to an HTTP client: where requests may go.
    pub allow: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Link {
    /// The name, given or not.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or(DEFAULT_LINK, |name| &name.value)
    }

    pub fn transport(&self) -> Transport {
        self.transport.as_ref().map_or(Transport::Auto, |transport| transport.value)
    }

    pub(in crate::model) fn to(unit: Spanned<String>) -> Self {
        Self { to: unit, name: None, transport: None, deadline: None, idempotent: Vec::new(), allow: None }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    to: Spanned<String>,
    name: Option<Spanned<String>>,
    transport: Option<Spanned<Transport>>,
    deadline: Option<Spanned<String>>,
    #[serde(default)]
    idempotent: Names,
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

impl From<Options> for Link {
    fn from(options: Options) -> Self {
        let Options { to, name, transport, deadline, idempotent, allow } = options;
        Self { to, name, transport, deadline, idempotent: idempotent.0, allow }
    }
}

/// What stands in the place of a link. A name's own place is that of the whole value.
enum Written {
    Name(String),
    Options(Box<Options>),
    List(Vec<Link>),
}

/// Whether a list may stand here.
struct WrittenVisitor {
    list: bool,
}

impl<'de> Visitor<'de> for WrittenVisitor {
    type Value = Written;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a unit, or a mapping with `to`")?;
        if self.list { f.write_str(", or a list of them") } else { Ok(()) }
    }
    fn visit_str<E: de::Error>(self, name: &str) -> Result<Written, E> {
        Ok(Written::Name(name.to_owned()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
        Options::deserialize(MapAccessDeserializer::new(map)).map(|options| Written::Options(Box::new(options)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Written, A::Error> {
        if !self.list {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        let mut links = Vec::new();
        while let Some(link) = seq.next_element()? {
            links.push(link);
        }
        Ok(Written::List(links))
    }
}

struct One(Written);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor { list: false }).map(One)
    }
}

struct Many(Written);

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor { list: true }).map(Many)
    }
}

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: One(written), referenced, defined } = Spanned::deserialize(deserializer)?;
        match written {
            Written::Name(name) => Ok(Link::to(Spanned::new(name, referenced, defined))),
            Written::Options(options) => Ok((*options).into()),
            Written::List(_) => Err(de::Error::custom("a list inside a list")),
        }
    }
}

impl<'de> Deserialize<'de> for Links {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Many(written), referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(Links(match written {
            Written::Name(name) => vec![Link::to(Spanned::new(name, referenced, defined))],
            Written::Options(options) => vec![(*options).into()],
            Written::List(links) => links,
        }))
    }
}

/// One name, or a list of them.
#[derive(Default)]
struct Names(Vec<Spanned<String>>);

enum WrittenNames {
    One(String),
    Many(Vec<Spanned<String>>),
}

impl<'de> Deserialize<'de> for WrittenNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = WrittenNames;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of functions, or \"*\"")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<WrittenNames, E> {
                Ok(WrittenNames::One(name.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<WrittenNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(WrittenNames::Many(names))
            }
        }
        deserializer.deserialize_any(NamesVisitor)
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(Names(match value {
            WrittenNames::One(name) => vec![Spanned::new(name, referenced, defined)],
            WrittenNames::Many(names) => names,
        }))
    }
}
