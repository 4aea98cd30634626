//! How a call can fail. Each failure has a code on the wire, so that it is the same error on both sides.

use std::{fmt, str::FromStr, time::Duration};

use super::limits::MAX_ERROR_TEXT;

/// A call that did not come back with a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody serves the target now. The call was certainly not started.
    #[error("no instance of {0} answers")]
    NoInstance(String),
    /// The target is at its concurrency limit. The call was certainly not started.
    #[error("{0} is at its concurrency limit")]
    Overloaded(String),
    /// No answer in time. The call may have run.
    #[error("no answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The connection failed under the call. It may have run.
    #[error("the connection failed: {0}")]
    Transport(String),
    /// The callee trapped or broke its contract.
    #[error("the callee failed: {0}")]
    Trap(String),
    /// The message is larger than the lattice carries.
    #[error("{what} of {size} bytes is over the limit of {limit} bytes")]
    TooLarge { what: String, size: u64, limit: u64 },
    /// The message, its function or its types are not what the callee expects.
    #[error("bad message: {0}")]
    BadMessage(String),
    /// The callee serves no such interface or function.
    #[error("not served here: {0}")]
    NotServed(String),
    /// The session that the call belongs to has ended: its host is gone, its lease ran out, or its instance failed.
    #[error("the instance that held this resource is gone: {0}")]
    Gone(String),
    /// The caller may not do this.
    #[error("not allowed: {0}")]
    Denied(String),
}

/// The code of a [`CallError`] in the `lattice-status` header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    NoInstance,
    Overloaded,
    Deadline,
    Transport,
    Trap,
    TooLarge,
    BadMessage,
    NotServed,
    Gone,
    Denied,
}

const CODES: [(ErrorCode, &str); 10] = [
    (ErrorCode::NoInstance, "no-instance"),
    (ErrorCode::Overloaded, "overloaded"),
    (ErrorCode::Deadline, "deadline"),
    (ErrorCode::Transport, "transport"),
    (ErrorCode::Trap, "trap"),
    (ErrorCode::TooLarge, "too-large"),
    (ErrorCode::BadMessage, "bad-message"),
    (ErrorCode::NotServed, "not-served"),
    (ErrorCode::Gone, "gone"),
    (ErrorCode::Denied, "denied"),
];

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CODES.iter().find(|(code, _)| code == self).map_or("", |(_, text)| text))
    }
}

impl FromStr for ErrorCode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        CODES.iter().find(|(_, t)| *t == text).map(|(code, _)| *code).ok_or(())
    }
}

impl CallError {
    /// Whether the callee certainly did not begin, so that the call may go to another instance.
    pub fn certainly_not_started(&self) -> bool {
        matches!(self, Self::NoInstance(_) | Self::Overloaded(_))
    }

    /// The code that stands for this error on the wire.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoInstance(_) => ErrorCode::NoInstance,
            Self::Overloaded(_) => ErrorCode::Overloaded,
            Self::Deadline(_) => ErrorCode::Deadline,
            Self::Transport(_) => ErrorCode::Transport,
            Self::Trap(_) => ErrorCode::Trap,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::BadMessage(_) => ErrorCode::BadMessage,
            Self::NotServed(_) => ErrorCode::NotServed,
            Self::Gone(_) => ErrorCode::Gone,
            Self::Denied(_) => ErrorCode::Denied,
        }
    }

    /// The text that goes with the code. `TooLarge` and `Deadline` carry their numbers in it.
    pub fn wire_text(&self) -> String {
        let mut text = match self {
            Self::NoInstance(t) | Self::Overloaded(t) | Self::Transport(t) | Self::Trap(t) => t.clone(),
            Self::BadMessage(t) | Self::NotServed(t) | Self::Gone(t) | Self::Denied(t) => t.clone(),
            Self::Deadline(after) => after.as_millis().to_string(),
            Self::TooLarge { what, size, limit } => format!("{size} {limit} {what}"),
        };
        if text.len() > MAX_ERROR_TEXT {
            let cut = (0..=MAX_ERROR_TEXT).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            text.truncate(cut);
        }
        text
    }

    /// The error that `code` and `text` stand for.
    pub fn from_wire(code: ErrorCode, text: &str) -> Self {
        let text: String = text.chars().take(MAX_ERROR_TEXT).collect();
        match code {
            ErrorCode::NoInstance => Self::NoInstance(text),
            ErrorCode::Overloaded => Self::Overloaded(text),
            ErrorCode::Deadline => Self::Deadline(Duration::from_millis(text.parse().unwrap_or(0))),
            ErrorCode::Transport => Self::Transport(text),
            ErrorCode::Trap => Self::Trap(text),
            ErrorCode::TooLarge => {
                let mut parts = text.splitn(3, ' ');
                let mut number = || parts.next().and_then(|p| p.parse().ok()).unwrap_or(0);
                let (size, limit) = (number(), number());
                Self::TooLarge { what: parts.next().unwrap_or("a message").to_owned(), size, limit }
            }
            ErrorCode::BadMessage => Self::BadMessage(text),
            ErrorCode::NotServed => Self::NotServed(text),
            ErrorCode::Gone => Self::Gone(text),
            ErrorCode::Denied => Self::Denied(text),
        }
    }
}

impl From<super::codec::CodecError> for CallError {
    fn from(error: super::codec::CodecError) -> Self {
        Self::BadMessage(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_comes_back_the_same() {
        let all = [
            CallError::NoInstance("app/unit".into()),
            CallError::Overloaded("app/unit".into()),
            CallError::Deadline(Duration::from_millis(250)),
            CallError::Transport("gone".into()),
            CallError::Trap("unreachable".into()),
            CallError::TooLarge { what: "a response body".into(), size: 10, limit: 5 },
            CallError::BadMessage("short".into()),
            CallError::NotServed("a:b/c".into()),
            CallError::Gone("app/unit".into()),
            CallError::Denied("no link".into()),
        ];
        assert_eq!(all.len(), CODES.len());
        for error in all {
            let code: ErrorCode = error.code().to_string().parse().unwrap();
            assert_eq!(CallError::from_wire(code, &error.wire_text()), error);
        }
    }
}
