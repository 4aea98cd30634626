//! `replicas:` of a unit: a number, or `{ min, max, inFlight }`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;

use super::resolve_duration;
use crate::model::{
    problem::Problem,
    scale::{Follow, MAX_REPLICAS, Scale, WINDOW_MS},
};

/// How many copies there shall be.
#[derive(Debug)]
pub enum Replicas {
    Fixed(u32),
    Follow(Box<Written>),
    /// Something else, as it was written.
    Wrong(String),
}

impl Replicas {
    /// Whether there may be none while nobody calls.
    pub(in crate::model) fn may_sleep(&self) -> bool {
        matches!(self, Self::Follow(written) if written.min.as_ref().is_some_and(|min| min.value == 0))
    }
}

/// A number of copies that follows the calls under way.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Written {
    /// 1 when absent; 0 for none while nobody calls.
    pub min: Option<Spanned<u32>>,
    pub max: Spanned<u32>,
    /// Calls under way that one copy is for.
    pub in_flight: Spanned<u32>,
    /// How long a copy stays that is not needed.
    pub window: Option<Spanned<String>>,
}

impl<'de> Deserialize<'de> for Replicas {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ReplicasVisitor;
        impl<'de> Visitor<'de> for ReplicasVisitor {
            type Value = Replicas;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of copies, or a mapping with `min`, `max` and `inFlight`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Replicas, E> {
                // Greater numbers are too great whatever they are.
                Ok(Replicas::Fixed(u32::try_from(number).unwrap_or(u32::MAX)))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Replicas, E> {
                Ok(Replicas::Wrong(number.to_string()))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Replicas, E> {
                Ok(Replicas::Wrong(number.to_string()))
            }
            fn visit_bool<E: de::Error>(self, word: bool) -> Result<Replicas, E> {
                Ok(Replicas::Wrong(word.to_string()))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Replicas, E> {
                Ok(Replicas::Wrong(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Replicas, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Replicas::Follow(Box::new(written)))
            }
        }
        deserializer.deserialize_any(ReplicasVisitor)
    }
}

/// The number of copies, or what is wrong with it.
pub(in crate::model) fn resolve(
    replicas: Option<&Spanned<Replicas>>,
    per_host: Option<&Spanned<u32>>,
    problems: &mut Vec<Problem>,
) -> Scale {
    match (replicas, per_host) {
        (Some(replicas), Some(_)) => {
            let problem = Problem::at(replicas, "`replicas` and `perHost` exclude each other");
            problems.push(problem.help("keep one of them"));
            Scale::PerHost
        }
        (None, Some(one)) => {
            if one.value != 1 {
                let problem = Problem::at(one, format!("perHost is {}", one.value));
                problems.push(problem.help("write `perHost: 1`: one instance serves many calls at a time"));
            }
            Scale::PerHost
        }
        (Some(replicas), None) => match &replicas.value {
            Replicas::Fixed(number) => {
                if *number > MAX_REPLICAS {
                    let problem = Problem::at(replicas, format!("{number} replicas"));
                    problems.push(problem.help(format!("{MAX_REPLICAS} is the most")));
                }
                Scale::Replicas(*number)
            }
            Replicas::Follow(written) => Scale::Follow(follow(written, problems)),
            Replicas::Wrong(text) => {
                let problem = Problem::at(replicas, format!("`{text}` is no number of copies"));
                problems.push(problem.help("write a whole number, such as 2, or `{ min: 1, max: 10, inFlight: 20 }`"));
                Scale::Replicas(1)
            }
        },
        (None, None) => Scale::Replicas(1),
    }
}

fn follow(written: &Written, problems: &mut Vec<Problem>) -> Follow {
    let Written { min, max, in_flight, window } = written;
    let least = min.as_ref().map_or(1, |min| min.value);
    if max.value > MAX_REPLICAS {
        let problem = Problem::at(max, format!("{} replicas", max.value));
        problems.push(problem.help(format!("{MAX_REPLICAS} is the most")));
    }
    if max.value < least.max(1) {
        let problem = Problem::at(max, format!("at most {} copies, and at least {least}", max.value));
        problems.push(problem.help("write a `max` that is at least `min`, and not 0"));
    }
    if in_flight.value == 0 {
        let problem = Problem::at(in_flight, "a copy for 0 calls would need no end of copies");
        problems.push(problem.help("write how many calls under way one copy is for, at least 1"));
    }
    let window = window.as_ref().and_then(|window| resolve_duration(window, problems));
    Follow { min: least, max: max.value, in_flight: in_flight.value, window_ms: window.unwrap_or(WINDOW_MS) }
}
