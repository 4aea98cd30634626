//! Calls of a component with all that it called itself, as they are kept in a file and made again without anything else there.
//!
//! A file has a line of JSON for each value: first a [`Heading`], then the [`Episode`]s.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::app::ComponentSpec;
use crate::wire::{CallError, ErrorCode, Interface, UnitId};

/// What was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heading {
    /// Version of this file.
    pub recording: u32,
    pub unit: UnitId,
    /// As it was then: its links, its settings and its environment. Secrets are there by name.
    pub component: ComponentSpec,
}

impl Heading {
    pub const VERSION: u32 = 1;
}

/// One call of the component, and what it called until it had answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Episode {
    pub call: RawCall,
    /// In the order in which they began.
    pub made: Vec<RawCall>,
}

/// A call with all of its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawCall {
    pub from: UnitId,
    pub to: UnitId,
    pub interface: Interface,
    pub function: String,
    /// As they were sent: in postcard, or an HTTP message.
    pub arguments: Raw,
    pub outcome: RawOutcome,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RawOutcome {
    Result(Raw),
    Error {
        /// As on the wire.
        code: String,
        text: String,
    },
}

impl RawOutcome {
    pub fn of(outcome: Result<Bytes, &CallError>) -> Self {
        match outcome {
            Ok(bytes) => Self::Result(Raw(bytes)),
            Err(error) => Self::Error { code: error.code().to_string(), text: error.wire_text() },
        }
    }

    /// What whoever called had.
    pub fn answer(&self) -> Result<Bytes, CallError> {
        match self {
            Self::Result(bytes) => Ok(bytes.0.clone()),
            // One that another release has written.
            Self::Error { code, text } => Err(CallError::from_wire(code.parse().unwrap_or(ErrorCode::Transport), text)),
        }
    }
}

/// Bytes, in base64 where they are a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(pub Bytes);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(|bytes| Self(bytes.into())).map_err(de::Error::custom)
    }
}

/// How a call went when it was made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// `namespace:package/interface.function`, of HTTP requests method and URI.
    pub call: String,
    /// What was otherwise, in words; nothing, when all was as it was recorded.
    pub differences: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_is_read_again() {
        let call = RawCall {
            from: "shop/web".parse().unwrap(),
            to: "shop/cart".parse().unwrap(),
            interface: "acme:pricing/quote@1.0.0".parse().unwrap(),
            function: "price".to_owned(),
            arguments: Raw(Bytes::from_static(&[0, 255])),
            outcome: RawOutcome::of(Err(&CallError::Deadline(std::time::Duration::from_millis(7)))),
        };
        let text = serde_json::to_string(&call).unwrap();
        assert!(text.contains(r#""arguments":"AP8=""#), "{text}");
        let read: RawCall = serde_json::from_str(&text).unwrap();
        assert_eq!(read, call);
        assert_eq!(read.outcome.answer(), Err(CallError::Deadline(std::time::Duration::from_millis(7))));
        assert_eq!(RawOutcome::of(Ok(Bytes::from_static(b"x"))).answer(), Ok(Bytes::from_static(b"x")));
        let strange = RawOutcome::Error { code: "of-tomorrow".to_owned(), text: "why".to_owned() };
        assert_eq!(strange.answer(), Err(CallError::Transport("why".to_owned())));
    }
}
