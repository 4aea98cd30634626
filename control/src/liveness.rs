//! Who is alive, by signs of life and our own clock.
//!
//! A host's beat is a number that grows. What counts is when *we* saw it change: no clocks are compared. Silence
//! means something only while we listened all along, so it is counted from the moment since when we surely did.
//!
//! Mass silence is not mass death: when most hosts fall quiet at once, it is far more likely that something between
//! them and us broke. Then nobody is declared lost for a while, and after that a few at a time.
//!
//! Our own host beats as all do. When we do not hear that, it is we who hear nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lattice::{model::assignment::Holding, wire::HostId};

use crate::{EVICTED_AT_ONCE, Timing};

/// What is known of the hosts. All of them, by name; `burdened` are those that have units assigned: whoever planned
/// before us had not given them up.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    pub(crate) known: BTreeSet<HostId>,
    pub(crate) burdened: BTreeSet<HostId>,
}

/// Hosts of the roll that are in neither set are lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) alive: BTreeSet<HostId>,
    /// Not known to be alive, and not given up.
    pub(crate) silent: BTreeSet<HostId>,
}

pub(crate) struct Liveness {
    me: HostId,
    timing: Timing,
    /// Since when we listen without a gap.
    since: Duration,
    lives: BTreeMap<HostId, Life>,
    /// Since when each is lost. Here are only those that were alive before.
    lost: BTreeMap<HostId, Duration>,
    hold: Option<Hold>,
    synced: bool,
}

/// Most hosts are silent.
struct Hold {
    since: Duration,
    /// Those that were given up since, and when the last ones were.
    evicted: BTreeSet<HostId>,
    last: Option<Duration>,
    quiet: usize,
    of: usize,
}

#[derive(Default)]
struct Life {
    count: Option<u64>,
    changed: Option<Duration>,
}

impl Liveness {
    /// `me` is the host that judges.
    pub(crate) fn new(me: HostId, now: Duration, timing: Timing) -> Self {
        Self { me, timing, since: now, lives: BTreeMap::new(), lost: BTreeMap::new(), hold: None, synced: false }
    }

    /// We heard nothing for a while, for reasons of our own: nobody's silence counts before `now`.
    pub(crate) fn listen_anew(&mut self, now: Duration) {
        self.since = now;
    }

    /// The beats as they are now.
    pub(crate) fn observe(&mut self, now: Duration, beats: &BTreeMap<HostId, u64>) {
        for (host, life) in &mut self.lives {
            // Expired, or taken back. When it is there again, that is a change.
            if !beats.contains_key(host) {
                life.count = None;
            }
        }
        for (host, count) in beats {
            let life = self.lives.entry(host.clone()).or_default();
            // The first state may hold what a dead host left; what comes after it was written while we listened.
            if self.synced && life.count != Some(*count) {
                life.changed = Some(now);
                if self.lost.remove(host).is_some() {
                    tracing::info!(%host, "host is back");
                }
                if let Some(hold) = &mut self.hold {
                    hold.evicted.remove(host);
                }
            }
            life.count = Some(*count);
        }
        self.synced = true;
    }

    /// Whether enough is known to place something new. When we just began to listen, the first host that beats would
    /// get it all.
    pub(crate) fn is_settled(&self, now: Duration) -> bool {
        let mut beating = self.lives.values().filter(|life| life.count.is_some()).peekable();
        let heard = |life: &Life| life.changed.is_some_and(|changed| changed >= self.since);
        (beating.peek().is_some() && beating.all(heard)) || now >= self.since + self.timing.quiet_after()
    }

    fn changed(&self, host: &HostId) -> Option<Duration> {
        self.lives.get(host).and_then(|life| life.changed)
    }

    /// How long `host` has been silent while we listened.
    fn silence(&self, now: Duration, host: &HostId) -> Duration {
        now.saturating_sub(self.changed(host).unwrap_or(self.since).max(self.since))
    }

    /// The hosts that can be missed: they were there, as far as we or whoever planned before us knew.
    fn counted<'r>(&self, roll: &'r Roll) -> Vec<&'r HostId> {
        let was_there = |host: &&HostId| roll.burdened.contains(*host) || self.changed(host).is_some();
        roll.known.iter().filter(|host| !self.lost.contains_key(*host)).filter(was_there).collect()
    }

    /// Judges every host on the roll.
    pub(crate) fn judge(&mut self, now: Duration, roll: &Roll) -> Verdict {
        let window = self.timing.host_lost_after;
        if self.changed(&self.me).is_some() && self.silence(now, &self.me) >= self.timing.quiet_after() {
            tracing::warn!("this host does not hear its own signs of life: nobody's silence counts");
            self.listen_anew(now);
        }
        self.lost.retain(|host, _| roll.known.contains(host));
        self.lives.retain(|host, life| roll.known.contains(host) || life.count.is_some());
        let counted = self.counted(roll);
        let mut missed: Vec<_> = counted.iter().filter(|host| self.silence(now, host) >= window).collect();
        if missed.is_empty() {
            if self.hold.take().is_some() {
                tracing::info!("no host is missed any more");
            }
        } else {
            missed.sort_by_key(|host| std::cmp::Reverse(self.silence(now, host)));
            missed.truncate(self.may_give_up(now, &counted));
            for host in missed {
                tracing::warn!(%host, silent_for = ?self.silence(now, host), "host is lost; its units move");
                self.lost.insert((*host).clone(), now);
                if let Some(hold) = &mut self.hold {
                    hold.evicted.insert((*host).clone());
                }
            }
        }
        let mut verdict = Verdict::default();
        for host in self.counted(roll) {
            let fresh = self.changed(host).is_some_and(|changed| now.saturating_sub(changed) < window);
            let set = if fresh { &mut verdict.alive } else { &mut verdict.silent };
            set.insert(host.clone());
        }
        verdict
    }

    /// How many may be declared lost now: none when so many are quiet that we rather hold still.
    fn may_give_up(&mut self, now: Duration, counted: &[&HostId]) -> usize {
        let window = self.timing.host_lost_after;
        let gone = match &self.hold {
            // Those count for as long as the others are silent: to give up some of them is no reason to believe in the rest.
            Some(hold) => hold.evicted.len(),
            None => self.lost.values().filter(|since| now.saturating_sub(**since) < window).count(),
        };
        // Beats are not in step. When the first host has been silent for the whole window, others that fell silent
        // with it have missed a beat as well, and so much must do.
        let is_quiet = |host: &&&HostId| self.silence(now, host) >= self.timing.quiet_after();
        let quiet = counted.iter().filter(is_quiet).count() + gone;
        let all = counted.len() + gone;
        if quiet < 2 || quiet * 100 <= all * self.timing.hold_above as usize {
            if self.hold.take().is_none() {
                return usize::MAX;
            }
            // Some are heard again. They do not all come back in the same moment: the rest have a whole window more.
            tracing::info!(quiet, of = all, "hosts are heard again: the others have a moment to follow");
            self.listen_anew(now);
            return 0;
        }
        let limit = self.timing.mass_silence_hold;
        if self.hold.is_none() {
            tracing::warn!(quiet, of = all, hold = ?limit, "most hosts fell silent at once: holding still, nothing moves");
        }
        let begun = Hold { since: now, evicted: BTreeSet::new(), last: None, quiet, of: all };
        let hold = self.hold.get_or_insert(begun);
        (hold.quiet, hold.of) = (quiet, all);
        if now < hold.since + limit || hold.last.is_some_and(|last| now < last + window) {
            return 0;
        }
        let at_once = (all * EVICTED_AT_ONCE as usize).div_ceil(100).max(1);
        tracing::warn!(quiet, of = all, at_once, "most hosts are still silent: giving some of them up");
        hold.last = Some(now);
        at_once
    }

    /// That most hosts are silent, if they are.
    pub(crate) fn holding(&self) -> Option<Holding> {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.hold.as_ref().map(|hold| Holding {
            silent: number(hold.quiet),
            of: number(hold.of),
            given_up: number(hold.evicted.len()),
        })
    }

    /// When the next judgement may differ from the one of `now` though nothing is heard.
    pub(crate) fn next_change(&self, now: Duration, roll: &Roll) -> Option<Duration> {
        let ends = roll
            .known
            .iter()
            .filter(|host| !self.lost.contains_key(*host))
            .map(|host| self.changed(host).unwrap_or(self.since).max(self.since) + self.timing.host_lost_after);
        let end = |hold: &Hold| match hold.last {
            Some(last) => last + self.timing.host_lost_after,
            None => hold.since + self.timing.mass_silence_hold,
        };
        let hold = self.hold.as_ref().map(end);
        let settled = self.since + self.timing.quiet_after();
        ends.chain(hold).chain([settled]).filter(|end| *end > now).min()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
