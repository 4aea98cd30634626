//! Where work belongs in a trace: the W3C trace context, in the form of the header `traceparent`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::id::IdError;

/// A span of a trace, as those know it that are begun in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceContext {
    /// Not zero, as the span is not.
    trace: [u8; 16],
    span: [u8; 8],
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// `None` where one of the ids is zero: that is no id.
    pub fn new(trace: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, sampled })
    }

    /// Of the same trace.
    pub fn with_span(self, span: [u8; 8]) -> Option<Self> {
        Self::new(self.trace, span, self.sampled)
    }

    /// The trace's id, as users see it: 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace)
    }

    /// The span's id: 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex(&self.span)
    }
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // To write into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of as many pairs of lower-case digits.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

impl FromStr for TraceContext {
    type Err = IdError;

    /// Of a later version it reads what this one knows, as the standard wants it.
    fn from_str(text: &str) -> Result<Self, IdError> {
        let read = || {
            let mut parts = text.split('-');
            let [version] = bytes::<1>(parts.next()?)?;
            let (trace, span) = (bytes(parts.next()?)?, bytes(parts.next()?)?);
            let [flags] = bytes::<1>(parts.next()?)?;
            match (version, parts.next()) {
                (0xff, _) | (0, Some(_)) => None,
                _ => Self::new(trace, span, flags & 1 == 1),
            }
        };
        read().ok_or_else(|| IdError::Malformed {
            text: text.chars().take(64).collect(),
            expected: "a W3C trace context, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        })
    }
}

impl TryFrom<String> for TraceContext {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<TraceContext> for String {
    fn from(context: TraceContext) -> Self {
        context.to_string()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), u8::from(self.sampled))
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_read_as_it_is_written() {
        let context: TraceContext = KNOWN.parse().unwrap();
        assert_eq!((context.to_string().as_str(), context.sampled), (KNOWN, true));
        assert_eq!(
            (context.trace_id().as_str(), context.span_id().as_str()),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
        );
        let later: TraceContext = KNOWN.replacen("00-", "cc-", 1).replace("-01", "-02-more").parse().unwrap();
        assert!(!later.sampled, "of the flags only the lowest is known");
    }

    #[test]
    fn what_is_none_is_refused() {
        let wrong = [
            "",
            "00",
            &KNOWN[1..],
            &KNOWN.to_uppercase(),
            &KNOWN.replace("-01", "-01-more"),
            &KNOWN.replacen("00-", "ff-", 1),
            &KNOWN.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &KNOWN.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &KNOWN.replace("4bf9", "é9"),
        ];
        for text in wrong {
            let error = text.parse::<TraceContext>().unwrap_err();
            assert!(error.to_string().contains("is not a W3C trace context"), "{text}: {error}");
        }
    }
}
