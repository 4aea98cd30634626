//! Streams: bytes of any length from one process to another, in bounded memory, with an explicit end.
//!
//! A process *offers* a stream and hands its [`Ticket`](super::Ticket) out, in a header or a payload. Another one
//! *takes* it. Frames are NATS messages to `lattice.<lattice>.stream.<process>.<stream>`, an end of the stream each;
//! what a frame is stands in its header `lattice-stream`, and only data, trailers and error texts in its payload:
//!
//! ```text
//! receiver -> sender                                  sender -> receiver
//! take 1 <credit>    with the receiver's end          data <offset>          payload: the bytes
//!                    as the reply subject             alive <offset>
//! credit <credit>                                     end <length> <crc32>   payload: trailers, at most 16 KiB
//! alive <credit>                                      fail <code>            payload: the error's text
//! cancel             payload: why
//! done
//! ```
//!
//! - All numbers are decimal and counted from the stream's beginning, except the checksum: CRC-32 (IEEE) of all bytes,
//!   eight hexadecimal digits. The `1` of `take` is the version of this protocol.
//! - *Credit* is what the sender may spend in all; each grant names the new sum, so a repeated or late one does no
//!   harm, and `alive` repairs a lost one. A data frame costs its length, and at least 1 KiB.
//! - `data` and `alive` name the offset at which the sender is. Anything but the expected one means that a frame was
//!   lost, repeated or overtaken, and ends the stream with an error on both sides.
//! - `done` answers a good `end`, which is repeated until then in place of `alive`. Without it the sender does not
//!   count the stream as received.
//! - Each side says something every 2 s once the stream was taken, and is gone for the other after 6 s of silence.
//! - `take` and `data` carry the own end as their reply subject: the server answers there when nobody listens.
//!
//! The two state machines here do no I/O and read no clock: time comes in as a [`Duration`](std::time::Duration) since
//! any fixed point.

mod clocks;
mod frame;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use frame::{Frame, StreamFrameError};
pub use receiver::{Arrived, Meter, Receiver};
pub use sender::{Heard, Sender};

use super::{error::CallError, limits::MIN_CHARGE};

/// Why a stream did not come to a good end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    #[error("the stream is broken: {found} where {expected} was due; frames were lost, repeated or overtaken")]
    Gap { expected: u64, found: u64 },
    #[error("the stream is broken: its bytes do not have the checksum that the sender names")]
    Checksum,
    #[error("the stream is broken: {used} bytes were sent of {granted} that were allowed")]
    Overrun { used: u64, granted: u64 },
    #[error("the other end of the stream was silent for {} s", super::limits::SILENCE.as_secs())]
    Silent,
    #[error("nobody is at the other end of the stream")]
    Nobody,
    /// The sender's source failed.
    #[error(transparent)]
    Failed(CallError),
    /// The receiver wants no more.
    #[error("the receiver gave the stream up: {0}")]
    Cancelled(String),
    #[error("bad frame: {0}")]
    Frame(#[from] StreamFrameError),
    #[error("the frame `{0}` is not due here")]
    Unexpected(&'static str),
}

impl From<StreamError> for CallError {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Failed(error) => error,
            other => Self::Transport(other.to_string()),
        }
    }
}

/// What a data frame of `length` bytes takes of the window.
fn charge(length: usize) -> u64 {
    (length as u64).max(MIN_CHARGE)
}
