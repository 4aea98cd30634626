//! Who plans: the state machine of the lease. It reads no clock; times are durations since any fixed moment of the
//! candidate's own monotonic clock, and no two clocks are ever compared.
//!
//! Why two candidates never both hold it. A holder counts `step_down` from the moment *before* it sent its newest
//! successful renewal; another sees that renewal only after it was sent, waits `takeover` from then, and takes over
//! by a write that fails if the lease was renewed meanwhile. As `step_down < takeover`, the first has stopped by then.
//! A write without an answer may have happened: it never prolongs the hold, and is recognised when it is seen.
//! No lease at all means that nobody holds it: a holder deletes it only after it stopped acting.

use std::time::Duration;

use lattice::{model::assignment::Lease, wire::HostId};
use tokio::time::Instant;

use crate::Timing;

/// Version of the lease's structure.
const VERSION: u32 = 1;

/// The lease is ours until then; renewals move it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    pub term: u64,
    pub until: Instant,
}

impl Holding {
    /// Whether it is certain now that nobody else holds the lease.
    pub fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }
}

/// A lease as the candidate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub lease: Lease,
    pub revision: u64,
    /// When this revision was first seen.
    pub since: Duration,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseAction {
    /// Write `lease` over that revision, or where none is.
    Acquire { lease: Lease, over: Option<u64> },
    /// Write `lease` over that revision.
    Renew { lease: Lease, over: u64 },
    /// Nothing before then, unless the lease changes.
    Wait { until: Duration },
}

/// One that wants to plan.
#[derive(Debug, Clone)]
pub struct Candidate {
    me: HostId,
    timing: Timing,
    seen: Option<Seen>,
    /// The newest lease that this candidate wrote, or tried to.
    mine: Option<Lease>,
    /// When the newest write that certainly succeeded was sent.
    renewed: Option<Duration>,
    /// Not to write before then.
    next: Duration,
    highest_term: u64,
}

/// What a candidate does when it sees `seen`, of which `mine` is the newest that it wrote or tried to write.
/// A lease with our name that is not `mine` belongs to an earlier process of this host, which may still act.
pub fn decide(now: Duration, seen: Option<&Seen>, mine: Option<&Lease>, me: &HostId, timing: &Timing) -> LeaseAction {
    let lease = |term, renewals| Lease { version: VERSION, holder: me.clone(), term, renewals };
    match seen {
        None => LeaseAction::Acquire { lease: lease(1, 0), over: None },
        Some(seen) if is_mine(&seen.lease, mine) => {
            LeaseAction::Renew { lease: lease(seen.lease.term, seen.lease.renewals + 1), over: seen.revision }
        }
        Some(seen) if now >= seen.since + timing.takeover => {
            LeaseAction::Acquire { lease: lease(seen.lease.term + 1, 0), over: Some(seen.revision) }
        }
        Some(seen) => LeaseAction::Wait { until: seen.since + timing.takeover },
    }
}

fn is_mine(lease: &Lease, mine: Option<&Lease>) -> bool {
    mine.is_some_and(|m| (&m.holder, m.term) == (&lease.holder, lease.term) && lease.renewals <= m.renewals)
}

impl Candidate {
    pub fn new(me: HostId, timing: Timing) -> Self {
        Self { me, timing, seen: None, mine: None, renewed: None, next: Duration::ZERO, highest_term: 0 }
    }

    /// The next term will be higher than `term`. For when the lease is gone and what it left is still there.
    pub fn know_term(&mut self, term: u64) {
        self.highest_term = self.highest_term.max(term);
    }

    /// The lease was seen in a live view, which may lag behind our own writes but never goes back.
    pub fn see(&mut self, now: Duration, lease: Option<(&Lease, u64)>) {
        let ahead = self.seen.as_ref().map_or(0, |seen| seen.revision);
        match lease {
            Some((_, revision)) if revision < ahead => {}
            None if self.is_ahead() => {}
            lease => self.learn(now, lease),
        }
    }

    /// Whether the newest thing known is our own write. Should the lease be gone after it, the next write says so.
    fn is_ahead(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| Some(&seen.lease) == self.mine.as_ref())
    }

    /// The lease is certainly so.
    pub fn learn(&mut self, now: Duration, lease: Option<(&Lease, u64)>) {
        let Some((lease, revision)) = lease else {
            (self.seen, self.renewed) = (None, None);
            return;
        };
        self.know_term(lease.term);
        if !is_mine(lease, self.mine.as_ref()) {
            self.renewed = None;
        }
        if self.seen.as_ref().is_none_or(|seen| seen.revision != revision) {
            self.seen = Some(Seen { lease: lease.clone(), revision, since: now });
        }
    }

    /// What to do now.
    pub fn decide(&self, now: Duration) -> LeaseAction {
        let action = decide(now, self.seen.as_ref(), self.mine.as_ref(), &self.me, &self.timing);
        match action {
            LeaseAction::Wait { until } => LeaseAction::Wait { until: until.max(self.next) },
            _ if now < self.next => LeaseAction::Wait { until: self.next },
            LeaseAction::Acquire { mut lease, over } => {
                lease.term = lease.term.max(self.highest_term + 1);
                LeaseAction::Acquire { lease, over }
            }
            LeaseAction::Renew { lease, over } if lease.term < self.highest_term => {
                LeaseAction::Renew { lease: Lease { term: self.highest_term + 1, renewals: 0, ..lease }, over }
            }
            renew => renew,
        }
    }

    /// `lease` was sent at `sent`; now it is written at `revision`, or it is not known whether it is written.
    pub fn wrote(&mut self, now: Duration, sent: Duration, lease: Lease, revision: Option<u64>) {
        match revision {
            Some(revision) => {
                self.know_term(lease.term);
                self.seen = Some(Seen { lease: lease.clone(), revision, since: now });
                self.renewed = Some(sent);
                self.next = sent + self.timing.renew;
            }
            None => self.next = now + self.timing.renew / 4,
        }
        self.mine = Some(lease);
    }

    /// Since when the lease is late, as far as that is known: it may be taken over, by us as well. That may be in the future.
    pub fn late_from(&self) -> Duration {
        match &self.seen {
            Some(seen) if !is_mine(&seen.lease, self.mine.as_ref()) => seen.since + self.timing.late,
            _ => Duration::ZERO,
        }
    }

    /// The term that is held now, and until when.
    pub fn holds(&self, now: Duration) -> Option<(u64, Duration)> {
        let until = self.renewed? + self.timing.step_down;
        let term = self.mine.as_ref()?.term;
        (now < until).then_some((term, until))
    }

    /// The revision at which to delete the lease when one that holds it stops acting.
    pub fn release(&self, now: Duration) -> Option<u64> {
        self.holds(now).and(self.seen.as_ref()).map(|seen| seen.revision)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
