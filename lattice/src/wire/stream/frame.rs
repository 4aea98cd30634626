//! Frames: a line of text in a header, and a payload.

use bytes::Bytes;

use crate::wire::{
    error::{CallError, ErrorCode},
    limits::{MAX_ERROR_TEXT, MAX_TRAILERS},
};

/// The version of the stream protocol.
const VERSION: u64 = 1;

/// One message of a stream. See the [module](super) for who sends which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Take {
        credit: u64,
    },
    Credit {
        credit: u64,
    },
    Data {
        offset: u64,
        bytes: Bytes,
    },
    /// From the sender its offset, from the receiver the credit.
    Alive {
        at: u64,
    },
    End {
        length: u64,
        crc: u32,
        trailers: Bytes,
    },
    Done,
    Fail {
        error: CallError,
    },
    Cancel {
        reason: String,
    },
}

/// Why a message is not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamFrameError {
    #[error("header {} is missing", crate::wire::header::STREAM)]
    Missing,
    #[error("\"{0}\" is not a frame of a stream")]
    Form(String),
    #[error("the stream is of protocol version {0}; this process speaks version {VERSION}")]
    Version(u64),
    #[error("trailers of {0} bytes are over the limit of {MAX_TRAILERS} bytes")]
    Trailers(usize),
}

impl Frame {
    /// The value of the header.
    pub fn head(&self) -> String {
        match self {
            Self::Take { credit } => format!("take {VERSION} {credit}"),
            Self::Credit { credit } => format!("credit {credit}"),
            Self::Data { offset, .. } => format!("data {offset}"),
            Self::Alive { at } => format!("alive {at}"),
            Self::End { length, crc, .. } => format!("end {length} {crc:08x}"),
            Self::Done => "done".to_owned(),
            Self::Fail { error } => format!("fail {}", error.code()),
            Self::Cancel { .. } => "cancel".to_owned(),
        }
    }

    /// The payload.
    pub fn payload(self) -> Bytes {
        match self {
            Self::Data { bytes, .. } => bytes,
            Self::End { trailers, .. } => trailers,
            Self::Fail { error } => error.wire_text().into(),
            Self::Cancel { reason } => reason.into(),
            Self::Take { .. } | Self::Credit { .. } | Self::Alive { .. } | Self::Done => Bytes::new(),
        }
    }

    /// The frame's kind, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Take { .. } => "take",
            Self::Credit { .. } => "credit",
            Self::Data { .. } => "data",
            Self::Alive { .. } => "alive",
            Self::End { .. } => "end",
            Self::Done => "done",
            Self::Fail { .. } => "fail",
            Self::Cancel { .. } => "cancel",
        }
    }

    /// The frame of a message. Data and trailers are not copied.
    pub fn parse(head: &str, payload: Bytes) -> Result<Self, StreamFrameError> {
        let wrong = || StreamFrameError::Form(head.chars().take(64).collect());
        let mut words = head.split(' ');
        let kind = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).ok_or_else(wrong);
        let frame = match kind {
            "data" => Self::Data { offset: number()?, bytes: payload },
            "credit" => Self::Credit { credit: number()? },
            "alive" => Self::Alive { at: number()? },
            "take" => match number()? {
                VERSION => Self::Take { credit: number()? },
                other => return Err(StreamFrameError::Version(other)),
            },
            "end" if payload.len() > MAX_TRAILERS => return Err(StreamFrameError::Trailers(payload.len())),
            "end" => {
                let length = number()?;
                let crc = words.next().filter(|word| word.len() == 8).ok_or_else(wrong)?;
                let crc = u32::from_str_radix(crc, 16).map_err(|_| wrong())?;
                Self::End { length, crc, trailers: payload }
            }
            "done" => Self::Done,
            "fail" => {
                let code: ErrorCode = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
                Self::Fail { error: CallError::from_wire(code, &text(&payload)) }
            }
            "cancel" => Self::Cancel { reason: text(&payload) },
            _ => return Err(wrong()),
        };
        if words.next().is_some() { Err(wrong()) } else { Ok(frame) }
    }
}

/// A text of somebody else, at most as long as ours are.
fn text(payload: &Bytes) -> String {
    String::from_utf8_lossy(&payload[..payload.len().min(MAX_ERROR_TEXT)]).into_owned()
}
