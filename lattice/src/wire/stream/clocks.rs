//! What each end keeps of time: when it last heard the other one, and when it last spoke.

use std::time::Duration;

use super::StreamError;
use crate::wire::limits::{KEEP_ALIVE, SILENCE};

#[derive(Debug)]
pub(super) struct Clocks {
    heard: Duration,
    spoke: Duration,
}

impl Clocks {
    /// Both were heard at `now`.
    pub(super) fn start(now: Duration) -> Self {
        Self { heard: now, spoke: now }
    }

    /// The other end said something.
    pub(super) fn hear(&mut self, now: Duration) {
        self.heard = now;
    }

    /// This end said something.
    pub(super) fn speak(&mut self, now: Duration) {
        self.spoke = now;
    }

    /// Whether this end must say something now, which then counts as said; the stream's end when the other one was
    /// silent for too long.
    pub(super) fn due(&mut self, now: Duration) -> Result<bool, StreamError> {
        if now.saturating_sub(self.heard) >= SILENCE {
            return Err(StreamError::Silent);
        }
        let due = now.saturating_sub(self.spoke) >= KEEP_ALIVE;
        if due {
            self.speak(now);
        }
        Ok(due)
    }
}
