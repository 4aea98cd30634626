//! The receiver's side.

use std::time::Duration;

use bytes::Bytes;
use crc32fast::Hasher;

use super::{StreamError, charge, clocks::Clocks, frame::Frame};

/// What a frame brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    Nothing,
    /// To be handed on; what it takes of the window is given back when the reader has it, see [`Meter`].
    Data(Bytes),
    /// Everything has arrived; answer with [`Frame::Done`].
    End {
        trailers: Bytes,
    },
}

/// Checks what arrives and says when something is due. It does not buffer: data are handed on as they come.
#[derive(Debug)]
pub struct Receiver {
    granted: u64,
    used: u64,
    offset: u64,
    crc: Hasher,
    clocks: Clocks,
}

impl Receiver {
    /// A stream that is taken at `now`, and the frame that takes it.
    pub fn take(window: u64, now: Duration) -> (Self, Frame) {
        let receiver = Self { granted: window, used: 0, offset: 0, crc: Hasher::new(), clocks: Clocks::start(now) };
        (receiver, Frame::Take { credit: window })
    }

    /// The reader has used data, and the sender was or will be told that it may spend `credit` in all.
    pub fn grant(&mut self, credit: u64) {
        self.granted = self.granted.max(credit);
    }

    /// Checks a frame of the sender. After an error nothing more may be asked of the machine.
    pub fn on_frame(&mut self, frame: Frame, now: Duration) -> Result<Arrived, StreamError> {
        self.clocks.hear(now);
        match frame {
            Frame::Data { offset, bytes } => {
                self.expect(offset)?;
                if bytes.is_empty() {
                    return Err(StreamError::Unexpected("data without bytes"));
                }
                self.used = self.used.saturating_add(charge(bytes.len()));
                if self.used > self.granted {
                    return Err(StreamError::Overrun { used: self.used, granted: self.granted });
                }
                self.offset += bytes.len() as u64;
                self.crc.update(&bytes);
                Ok(Arrived::Data(bytes))
            }
            Frame::Alive { at } => self.expect(at).map(|()| Arrived::Nothing),
            Frame::End { length, crc, trailers } => {
                self.expect(length)?;
                if crc != self.crc.clone().finalize() {
                    return Err(StreamError::Checksum);
                }
                Ok(Arrived::End { trailers })
            }
            Frame::Fail { error } => Err(StreamError::Failed(error)),
            other => Err(StreamError::Unexpected(other.name())),
        }
    }

    fn expect(&self, found: u64) -> Result<(), StreamError> {
        if found == self.offset { Ok(()) } else { Err(StreamError::Gap { expected: self.offset, found }) }
    }

    /// What is due at `now`: a sign of life, or the end because there was none from the sender.
    pub fn on_time(&mut self, now: Duration) -> Result<Option<Frame>, StreamError> {
        Ok(self.clocks.due(now)?.then_some(Frame::Alive { at: self.granted }))
    }
}

/// Gives credit back as the reader uses data: a quarter of the window at a time.
#[derive(Debug)]
pub struct Meter {
    window: u64,
    granted: u64,
    used: u64,
}

impl Meter {
    pub fn new(window: u64) -> Self {
        Self { window, granted: window, used: 0 }
    }

    /// The reader has taken a piece of `length` bytes. Gives the new credit when it is time to grant it.
    pub fn used(&mut self, length: usize) -> Option<u64> {
        self.used += charge(length);
        let credit = self.used + self.window;
        if credit - self.granted < self.window / 4 {
            return None;
        }
        self.granted = credit;
        Some(credit)
    }
}
