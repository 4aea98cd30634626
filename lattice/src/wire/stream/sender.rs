//! The sender's side.

use std::time::Duration;

use bytes::Bytes;
use crc32fast::Hasher;

use super::{StreamError, charge, clocks::Clocks, frame::Frame};
use crate::wire::{
    error::CallError,
    limits::{MIN_CHARGE, WINDOW},
};

/// What a frame of the receiver means.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    /// The receiver has everything: the stream is over.
    Done,
}

/// Numbers what is sent, keeps to the credit, and says when something is due.
#[derive(Debug)]
pub struct Sender {
    granted: u64,
    spent: u64,
    offset: u64,
    crc: Hasher,
    clocks: Clocks,
    /// The last frame. It is repeated until the receiver has answered it.
    end: Option<Frame>,
}

impl Sender {
    /// A stream that was taken at `now`, with the credit that came with it.
    pub fn taken(credit: u64, now: Duration) -> Self {
        Self { granted: credit, spent: 0, offset: 0, crc: Hasher::new(), clocks: Clocks::start(now), end: None }
    }

    /// How long the next piece may be, in bytes. 0 while the receiver has granted too little, and after the end.
    pub fn room(&self) -> usize {
        // Whatever a receiver grants, no more than a window is on its way.
        let room = self.granted.saturating_sub(self.spent).min(WINDOW);
        if room < MIN_CHARGE || self.end.is_some() { 0 } else { usize::try_from(room).unwrap_or(usize::MAX) }
    }

    /// The frame for the next piece, of at least one byte and at most [`Sender::room`].
    pub fn data(&mut self, bytes: Bytes, now: Duration) -> Frame {
        debug_assert!(!bytes.is_empty() && bytes.len() <= self.room(), "more than the receiver has room for");
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        self.spent += charge(bytes.len());
        self.crc.update(&bytes);
        self.clocks.speak(now);
        Frame::Data { offset, bytes }
    }

    /// The frame that ends the stream well. The receiver's `done` is then still to come.
    pub fn end(&mut self, trailers: Bytes, now: Duration) -> Frame {
        self.clocks.speak(now);
        let end = Frame::End { length: self.offset, crc: self.crc.clone().finalize(), trailers };
        self.end.insert(end).clone()
    }

    /// The frame that ends the stream with an error. Nothing more is to come.
    pub fn fail(self, error: CallError) -> Frame {
        Frame::Fail { error }
    }

    /// Takes in a frame of the receiver. After an error nothing more may be asked of the machine.
    pub fn on_frame(&mut self, frame: Frame, now: Duration) -> Result<Heard, StreamError> {
        self.clocks.hear(now);
        match frame {
            // A repeated take is as good as the credit in it.
            Frame::Take { credit } | Frame::Credit { credit } | Frame::Alive { at: credit } => {
                self.granted = self.granted.max(credit);
                Ok(Heard::Nothing)
            }
            Frame::Done if self.end.is_some() => Ok(Heard::Done),
            Frame::Cancel { reason } => Err(StreamError::Cancelled(reason)),
            other => Err(StreamError::Unexpected(other.name())),
        }
    }

    /// What is due at `now`: a sign of life, or the end because there was none from the receiver.
    pub fn on_time(&mut self, now: Duration) -> Result<Option<Frame>, StreamError> {
        let due = self.clocks.due(now)?;
        // Signs of life after the end would keep a receiver waiting that has not heard of it.
        Ok(due.then(|| self.end.clone().unwrap_or(Frame::Alive { at: self.offset })))
    }
}
