//! Where a route or a link leads: to one unit, or to several with a weight each.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_saphyr::Spanned;

/// The units that answer.
#[derive(Debug)]
pub enum Targets {
    One(Spanned<String>),
    /// Each gets its share of the calls.
    Shares(Vec<(Spanned<String>, Spanned<u32>)>),
}

impl Targets {
    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &Spanned<String>> {
        let (one, shares) = match self {
            Self::One(name) => (Some(name), None),
            Self::Shares(shares) => (None, Some(shares)),
        };
        one.into_iter().chain(shares.into_iter().flatten().map(|(name, _)| name))
    }
}

enum Written {
    One(String),
    Shares(Vec<(Spanned<String>, Spanned<u32>)>),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WrittenVisitor;
        impl<'de> Visitor<'de> for WrittenVisitor {
            type Value = Written;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a unit, or a mapping from names to weights")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Written, E> {
                Ok(Written::One(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut shares = Vec::new();
                while let Some(share) = map.next_entry()? {
                    shares.push(share);
                }
                Ok(Written::Shares(shares))
            }
        }
        deserializer.deserialize_any(WrittenVisitor)
    }
}

impl<'de> Deserialize<'de> for Targets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        Ok(match value {
            Written::One(name) => Self::One(Spanned::new(name, referenced, defined)),
            Written::Shares(shares) => Self::Shares(shares),
        })
    }
}
