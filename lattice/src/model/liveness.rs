//! Who is alive, judged by the watcher's own clock: a host lives while its beats change. Clocks of different machines
//! are never compared, and silence counts only while we ourselves were listening.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::wire::HostId;

/// What a watcher knows of beats.
#[derive(Debug, Clone)]
pub struct Liveness {
    window: Duration,
    listening_since: Instant,
    seen: BTreeMap<HostId, (u64, Instant)>,
}

impl Liveness {
    /// A host is lost when it was silent for `window`.
    pub fn new(window: Duration, now: Instant) -> Self {
        Self { window, listening_since: now, seen: BTreeMap::new() }
    }

    /// Takes in the beats as they are now.
    pub fn observe<'a>(&mut self, beats: impl IntoIterator<Item = (&'a HostId, u64)>, now: Instant) {
        for (host, count) in beats {
            match self.seen.get_mut(host) {
                Some((known, _)) if *known == count => {}
                Some(known) => *known = (count, now),
                None => drop(self.seen.insert(host.clone(), (count, now))),
            }
        }
    }

    /// Begins to listen anew, after a time in which beats could not be heard.
    pub fn listen_anew(&mut self, now: Instant) {
        self.listening_since = now;
    }

    /// Of `hosts` those that were silent for the whole window while we listened.
    pub fn lost<'a>(&self, hosts: impl IntoIterator<Item = &'a HostId>, now: Instant) -> BTreeSet<HostId> {
        let silent = |host: &HostId| {
            let last = self.seen.get(host).map_or(self.listening_since, |(_, at)| (*at).max(self.listening_since));
            now.saturating_duration_since(last) >= self.window
        };
        hosts.into_iter().filter(|host| silent(host)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_only_while_we_listen() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let mut liveness = Liveness::new(Duration::from_secs(3), start);
        assert!(liveness.lost([&host], at(2)).is_empty(), "not heard yet, and not long enough");
        assert!(liveness.lost([&host], at(3)).contains(&host), "never heard");
        liveness.observe([(&host, 1)], at(4));
        assert!(liveness.lost([&host], at(6)).is_empty());
        liveness.observe([(&host, 1)], at(7));
        assert!(liveness.lost([&host], at(7)).contains(&host), "the same beat again is no life");
        liveness.listen_anew(at(8));
        assert!(liveness.lost([&host], at(10)).is_empty());
    }
}
