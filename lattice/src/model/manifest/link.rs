//! The links of one interface: one unit's name, a mapping with options, or a list of both.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use super::targets::Targets;
use crate::model::app::{DEFAULT_LINK, Transport};

/// What one key under `links:` leads to.
#[derive(Debug)]
pub struct Links(pub Vec<Link>);

/// One link. One with several targets is written once and is as many, of one name and with a weight each.
#[derive(Debug, Clone)]
pub struct Link {
    pub to: Spanned<String>,
    /// Its share of the calls, of the sum of all weights of its name.
    pub weight: Option<Spanned<u32>>,
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
        Self {
            to: unit,
            weight: None,
            name: None,
            transport: None,
            deadline: None,
            idempotent: Vec::new(),
            allow: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    to: Targets,
    name: Option<Spanned<String>>,
    transport: Option<Spanned<Transport>>,
    deadline: Option<Spanned<String>>,
    #[serde(default)]
    idempotent: Names,
    allow: Option<Spanned<Vec<Spanned<String>>>>,
}

impl Options {
    fn links(self) -> Vec<Link> {
        let Options { to, name, transport, deadline, idempotent, allow } = self;
        let link = |to, weight| {
            let (name, deadline, idempotent, allow) =
                (name.clone(), deadline.clone(), idempotent.0.clone(), allow.clone());
            Link { to, weight, name, transport: transport.clone(), deadline, idempotent, allow }
        };
        match to {
            Targets::One(to) => vec![link(to, None)],
            Targets::Shares(shares) => shares.into_iter().map(|(to, weight)| link(to, Some(weight))).collect(),
        }
    }
}

/// What stands in the place of a link. A name's own place is that of the whole value.
enum Written {
    Name(String),
    Options(Box<Options>),
    List(Vec<Item>),
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

impl Written {
    fn links(Spanned { value, referenced, defined }: Spanned<Self>) -> Vec<Link> {
        match value {
            Written::Name(name) => vec![Link::to(Spanned::new(name, referenced, defined))],
            Written::Options(options) => options.links(),
            Written::List(list) => list.into_iter().flat_map(|Item(links)| links).collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WrittenVisitor { list: true })
    }
}

/// What stands in a list of links, where no list can stand.
struct Item(Vec<Link>);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Single(Written);
        impl<'de> Deserialize<'de> for Single {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(WrittenVisitor { list: false }).map(Single)
            }
        }
        let Spanned { value: Single(value), referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(Item(Written::links(Spanned::new(value, referenced, defined))))
    }
}

impl<'de> Deserialize<'de> for Links {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(|written| Links(Written::links(written)))
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
