//! Subscriptions: which messages of a broker go to which component.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::wire::UnitId;

/// Messages under way to a component at a time, when a subscription does not say.
pub const DEFAULT_IN_FLIGHT: u32 = 64;
/// The most that a subscription may have under way.
pub const MAX_IN_FLIGHT: u32 = 4096;
/// How often a durable subscription brings a message, when it does not say.
pub const DEFAULT_DELIVERIES: u32 = 5;
/// How long a durable subscription waits before it brings a message again, in milliseconds, when it does not say. Each
/// further time it waits twice as long.
pub const DEFAULT_BACKOFF_MS: u64 = 1000;
/// Longest subject, in bytes: it fits NATS's control line beside a reply subject.
pub const MAX_SUBJECT: usize = 1024;

/// One subscription of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    pub subject: SubjectPattern,
    pub to: UnitId,
    /// How long the component may take, in milliseconds: its own limit.
    pub timeout_ms: u64,
    /// Messages under way to the component at a time, in one instance of the provider.
    pub in_flight: u32,
    /// How messages are kept until the component has taken them; without it each is brought once, to who listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<DurableSpec>,
}

/// A subscription whose messages are kept until they are done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DurableSpec {
    /// The JetStream stream that keeps them. One that is not there is made.
    pub stream: String,
    /// How often a message is brought at the most.
    pub deliveries: u32,
    /// The pause before it is brought the second time, in milliseconds; then twice as long, and so on.
    pub backoff_ms: u64,
    /// Where a message goes that no delivery got done; without it such a message ends there, and the log says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<Subject>,
}

/// Why a text is not a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("a subject cannot be empty")]
    Empty,
    #[error("`{0}` is longer than {MAX_SUBJECT} bytes")]
    TooLong(String),
    #[error("`{0}` has an empty part between its dots")]
    EmptyPart(String),
    #[error("`{0}` has a space or a control character")]
    Character(String),
    #[error("`{0}` has a wildcard, which only subscriptions may have")]
    Wildcard(String),
    #[error("in `{0}` a `*` is not a part by itself, or a `>` is not the last part by itself")]
    Misplaced(String),
    #[error("`{0}` belongs to NATS or to the lattice itself")]
    Reserved(String),
}

/// What subjects begin with that are not for messages of components: those of NATS's own services and of lattices.
const RESERVED: [&str; 2] = ["$", "lattice."];

fn check(text: &str, wildcards: bool) -> Result<(), SubjectError> {
    let shown = || text.chars().take(128).collect::<String>();
    if text.is_empty() {
        return Err(SubjectError::Empty);
    }
    if text.len() > MAX_SUBJECT {
        return Err(SubjectError::TooLong(shown()));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(SubjectError::Character(shown()));
    }
    let mut parts = text.split('.').peekable();
    while let Some(part) = parts.next() {
        match part {
            "" => return Err(SubjectError::EmptyPart(shown())),
            "*" if wildcards => {}
            ">" if wildcards && parts.peek().is_none() => {}
            part if part.contains(['*', '>']) && wildcards => return Err(SubjectError::Misplaced(shown())),
            part if part.contains(['*', '>']) => return Err(SubjectError::Wildcard(shown())),
            _ => {}
        }
    }
    // `*.x` and `>` would take in what is reserved as well.
    let open = text.starts_with('*') || text.starts_with('>');
    if open || text == "lattice" || RESERVED.iter().any(|reserved| text.starts_with(reserved)) {
        return Err(SubjectError::Reserved(shown()));
    }
    Ok(())
}

macro_rules! subject {
    ($(#[$doc:meta])* $name:ident, $wildcards:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = SubjectError;
            fn from_str(text: &str) -> Result<Self, SubjectError> {
                text.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = SubjectError;
            fn try_from(text: String) -> Result<Self, SubjectError> {
                check(&text, $wildcards)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(subject: $name) -> String {
                subject.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

subject!(
    /// Where a message of a component goes.
    Subject,
    false
);
subject!(
    /// Which subjects a subscription takes: parts between dots, `*` for any one part, `>` at the end for all that follow.
    SubjectPattern,
    true
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_and_patterns() {
        for good in ["orders", "orders.new", "orders.eu-1.NEW_2", "_INBOX.abc.1", "ørders"] {
            assert!(good.parse::<Subject>().is_ok() && good.parse::<SubjectPattern>().is_ok(), "{good}");
        }
        for pattern in ["orders.*", "orders.>", "orders.*.new", "a.*.*.>"] {
            assert!(pattern.parse::<SubjectPattern>().is_ok(), "{pattern}");
            assert!(matches!(pattern.parse::<Subject>(), Err(SubjectError::Wildcard(_))), "{pattern}");
        }
        for bad in ["", ".", "a..b", "a.", ".a", "a b", "a\tb", "a.\r\nPUB", &"x".repeat(MAX_SUBJECT + 1)] {
            assert!(bad.parse::<Subject>().is_err() && bad.parse::<SubjectPattern>().is_err(), "{bad:?}");
        }
        for bad in ["a.>.b", "a*", "a.b>", ">a"] {
            assert!(bad.parse::<SubjectPattern>().is_err(), "{bad}");
        }
        for reserved in ["$JS.API.INFO", "lattice.default.call.a.b.c.d", "lattice", ">", "*.a", "$KV.x"] {
            assert!(matches!(reserved.parse::<SubjectPattern>(), Err(SubjectError::Reserved(_))), "{reserved}");
        }
    }
}
