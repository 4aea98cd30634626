//! Whether this host can be sure that nobody has given its units to others. It decides for units that are never to run
//! twice (`offline: stop`); all others go on whatever happens.
//!
//! A controller gives a host up when it has not seen a beat for [`HOST_LOST_AFTER`]. It cannot have seen the last beat that
//! was acknowledged before that was sent, so a host that counts from there is always the first to know. When it is heard
//! again, a controller may still be at giving its units away: only after the same time again, and a look at the
//! assignment, it is sure that what it reads holds.

use std::time::{Duration, Instant};

use lattice_control::HOST_LOST_AFTER;

/// Shorter than what a controller waits for, by more than stopping takes.
const SURE_FOR: Duration = HOST_LOST_AFTER.saturating_sub(Duration::from_millis(500));

#[derive(Debug, Default)]
pub(super) struct Contact {
    /// When the last beat was sent that was acknowledged.
    last: Option<Instant>,
    /// The first of those that came without a gap.
    since: Option<Instant>,
    /// Whether the assignment was read late enough after that.
    confirmed: bool,
}

impl Contact {
    /// A beat that was sent then has been acknowledged.
    pub(super) fn beat(&mut self, sent: Instant) {
        if self.last.is_none_or(|last| sent.saturating_duration_since(last) >= SURE_FOR) {
            (self.since, self.confirmed) = (Some(sent), false);
        }
        self.last = Some(sent);
    }

    /// Whether the assignment has to be read now.
    pub(super) fn asks(&self, now: Instant) -> bool {
        let long = self.since.is_some_and(|since| now.saturating_duration_since(since) >= HOST_LOST_AFTER);
        !self.confirmed && long && !self.is_over(now)
    }

    /// The assignment was read, by a request that was sent then.
    pub(super) fn confirm(&mut self, sent: Instant) {
        self.confirmed |= self.asks(sent);
    }

    /// Whether nobody else can have what this host was given.
    pub(super) fn is_sure(&self, now: Instant) -> bool {
        self.confirmed && !self.is_over(now)
    }

    /// When it may be over, if it is sure now.
    pub(super) fn ends(&self, now: Instant) -> Option<Instant> {
        self.last.filter(|_| self.is_sure(now)).map(|last| last + SURE_FOR)
    }

    fn is_over(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= SURE_FOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_only_after_a_window_and_a_look_and_no_longer_than_a_controller_waits() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut contact = Contact::default();
        assert!(!contact.is_sure(at(0)) && !contact.asks(at(0)));
        for ms in [0, 1000, 2000] {
            contact.beat(at(ms));
            assert!(!contact.asks(at(ms + 1)));
        }
        contact.confirm(at(2900));
        assert!(!contact.is_sure(at(2900)), "read too early");
        contact.beat(at(3000));
        assert!(contact.asks(at(3001)));
        contact.confirm(at(3001));
        assert!(contact.is_sure(at(3001)) && !contact.asks(at(3002)));
        assert_eq!(contact.ends(at(3001)), Some(at(5500)));
        assert!(contact.is_sure(at(5499)) && !contact.is_sure(at(5500)));
        assert!(at(5500) < at(3000) + HOST_LOST_AFTER);
        // Heard again after a gap, it begins anew.
        contact.beat(at(6000));
        assert!(!contact.is_sure(at(6001)) && !contact.asks(at(6001)));
        for ms in [7000, 8000, 9000] {
            contact.beat(at(ms));
        }
        assert!(contact.asks(at(9001)));
        contact.confirm(at(9001));
        assert!(contact.is_sure(at(9002)));
    }
}
