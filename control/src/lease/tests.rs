use super::*;

fn host(letter: char) -> HostId {
    format!("N{}", letter.to_string().repeat(55)).parse().unwrap()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_lease_that_stands_still_is_taken_over_with_the_next_term() {
    let mut b = Candidate::new(host('B'), Timing::default());
    let theirs = Lease { version: 1, holder: host('A'), term: 7, renewals: 3 };
    b.see(ms(100), Some((&theirs, 5)));
    assert_eq!(b.decide(ms(100)), LeaseAction::Wait { until: ms(3100) });
    // A renewal begins the wait anew; the same revision seen again does not.
    let renewed = Lease { renewals: 4, ..theirs };
    b.see(ms(1100), Some((&renewed, 6)));
    b.see(ms(2000), Some((&renewed, 6)));
    assert_eq!(b.decide(ms(4099)), LeaseAction::Wait { until: ms(4100) });
    let LeaseAction::Acquire { lease, over } = b.decide(ms(4100)) else { panic!("it may take over") };
    assert_eq!((lease.term, over), (8, Some(6)));
}

#[test]
fn a_restarted_host_does_not_take_its_old_lease_for_its_own() {
    let mut again = Candidate::new(host('A'), Timing::default());
    let old = Lease { version: 1, holder: host('A'), term: 7, renewals: 3 };
    again.see(ms(0), Some((&old, 5)));
    assert_eq!(again.decide(ms(1)), LeaseAction::Wait { until: ms(3000) });
}

#[test]
fn a_write_without_an_answer_does_not_prolong_the_hold_and_is_recognised() {
    let mut a = Candidate::new(host('A'), Timing::default());
    a.see(ms(0), None);
    let LeaseAction::Acquire { lease, over: None } = a.decide(ms(0)) else { panic!("nobody holds it") };
    a.wrote(ms(50), ms(0), lease.clone(), Some(1));
    assert_eq!(a.holds(ms(2499)), Some((1, ms(2500))));
    assert_eq!(a.holds(ms(2500)), None);
    let LeaseAction::Renew { lease: second, over: 1 } = a.decide(ms(1000)) else { panic!("time to renew") };
    a.wrote(ms(2000), ms(1000), second.clone(), None);
    assert_eq!(a.holds(ms(2600)), None);
    // It had happened.
    a.learn(ms(2100), Some((&second, 2)));
    let LeaseAction::Renew { lease: third, over: 2 } = a.decide(ms(2300)) else { panic!("it is ours") };
    a.wrote(ms(2310), ms(2300), third, Some(3));
    assert_eq!(a.holds(ms(4700)), Some((1, ms(4800))));
}

#[test]
fn terms_go_on_when_the_lease_is_gone() {
    let mut a = Candidate::new(host('A'), Timing::default());
    a.know_term(41);
    a.see(ms(0), None);
    assert!(matches!(a.decide(ms(0)), LeaseAction::Acquire { lease: Lease { term: 42, .. }, over: None }));
}

/// Candidates, a store with revisions, and a network that delays and loses answers and requests.
mod model {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, Copy)]
    struct Fate {
        request: u64,
        answer: u64,
        lost: bool,
        watch: u64,
    }

    enum Event {
        Step(usize),
        Arrive { who: usize, sent: u64, lease: Lease, over: Option<u64>, fate: Fate },
        Answer { who: usize, sent: u64, lease: Lease, revision: Option<u64> },
        Timeout { who: usize, sent: u64, lease: Lease },
        Watched { who: usize, lease: Lease, revision: u64, fate: Fate },
    }

    struct Run {
        candidates: Vec<Candidate>,
        /// The write without an answer of each, by when it was sent.
        waits: Vec<Option<u64>>,
        /// What each watch showed last: views never go back.
        shown: Vec<u64>,
        stopped: Vec<std::ops::Range<u64>>,
        store: Option<(Lease, u64)>,
        queue: BTreeMap<(u64, u64), Event>,
        fates: std::iter::Cycle<std::vec::IntoIter<Fate>>,
        sequence: u64,
        terms: Vec<u64>,
    }

    impl Run {
        fn at(&mut self, time: u64, event: Event) {
            self.sequence += 1;
            self.queue.insert((time, self.sequence), event);
        }

        /// A stopped process does everything when it goes on.
        fn awake(&self, who: usize, now: u64) -> Option<u64> {
            self.stopped.get(who).filter(|stop| stop.contains(&now)).map(|stop| stop.end)
        }

        fn step(&mut self, now: u64, who: usize) {
            if self.waits[who].is_some() {
                return;
            }
            let (lease, over) = match self.candidates[who].decide(ms(now)) {
                LeaseAction::Wait { until } => {
                    return self.at((until.as_millis() as u64).max(now + 1), Event::Step(who));
                }
                LeaseAction::Acquire { lease, over } => (lease, over),
                LeaseAction::Renew { lease, over } => (lease, Some(over)),
            };
            let fate = self.fates.next().unwrap();
            self.waits[who] = Some(now);
            self.at(now + fate.request, Event::Arrive { who, sent: now, lease: lease.clone(), over, fate });
            self.at(now + 1000, Event::Timeout { who, sent: now, lease });
        }

        fn arrive(&mut self, now: u64, who: usize, sent: u64, lease: Lease, over: Option<u64>, fate: Fate) {
            let current = self.store.as_ref().map(|(_, revision)| *revision);
            let revision = (current == over).then(|| current.unwrap_or(0) + 1);
            if let Some(revision) = revision {
                if self.store.as_ref().is_none_or(|(old, _)| old.term != lease.term) {
                    self.terms.push(lease.term);
                }
                self.store = Some((lease.clone(), revision));
                for watcher in 0..self.candidates.len() {
                    let fate = self.fates.next().unwrap();
                    self.at(now + fate.watch, Event::Watched { who: watcher, lease: lease.clone(), revision, fate });
                }
            }
            if !fate.lost {
                self.at(now + fate.answer, Event::Answer { who, sent, lease, revision });
            }
        }

        fn ended(&mut self, now: u64, who: usize, sent: u64, lease: Lease, revision: Option<u64>, conflict: bool) {
            if self.waits[who] != Some(sent) {
                return;
            }
            self.waits[who] = None;
            self.candidates[who].wrote(ms(now), ms(sent), lease, revision);
            if let Some(revision) = revision {
                self.shown[who] = self.shown[who].max(revision);
            }
            if conflict {
                let store = self.store.clone();
                self.candidates[who].learn(ms(now), store.as_ref().map(|(lease, revision)| (lease, *revision)));
            }
            self.at(now, Event::Step(who));
        }

        fn handle(&mut self, now: u64, event: Event) {
            let who = match &event {
                Event::Arrive { .. } => None,
                Event::Step(who) => Some(*who),
                Event::Answer { who, .. } | Event::Timeout { who, .. } | Event::Watched { who, .. } => Some(*who),
            };
            if let Some(later) = who.and_then(|who| self.awake(who, now)) {
                return self.at(later, event);
            }
            match event {
                Event::Step(who) => self.step(now, who),
                Event::Arrive { who, sent, lease, over, fate } => self.arrive(now, who, sent, lease, over, fate),
                Event::Answer { who, sent, lease, revision } => {
                    self.ended(now, who, sent, lease, revision, revision.is_none());
                }
                Event::Timeout { who, sent, lease } => self.ended(now, who, sent, lease, None, false),
                Event::Watched { who, lease, revision, fate } => {
                    if fate.lost {
                        // The watch broke; it shows the newest when it is back.
                        let newest = self.store.clone().unwrap();
                        let fate = Fate { lost: false, ..fate };
                        let event = Event::Watched { who, lease: newest.0, revision: newest.1, fate };
                        return self.at(now + 1 + fate.answer, event);
                    }
                    if revision > self.shown[who] {
                        self.shown[who] = revision;
                        self.candidates[who].see(ms(now), Some((&lease, revision)));
                        self.at(now, Event::Step(who));
                    }
                }
            }
        }
    }

    fn fate() -> impl Strategy<Value = Fate> {
        let delay = || prop_oneof![4 => 0..30u64, 2 => 0..900u64, 1 => 0..5000u64];
        (delay(), delay(), prop::bool::weighted(0.1), delay()).prop_map(|(request, answer, lost, watch)| Fate {
            request,
            answer,
            lost,
            watch,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn never_two_at_a_time(
            fates in prop::collection::vec(fate(), 50..200),
            stops in prop::collection::vec((0..40_000u64, 1..8_000u64), 3),
            count in 2..4usize,
        ) {
            let candidates: Vec<_> =
                "ABC".chars().take(count).map(|c| Candidate::new(host(c), Timing::default())).collect();
            let mut run = Run {
                waits: vec![None; count],
                shown: vec![0; count],
                candidates,
                stopped: stops.into_iter().map(|(from, long)| from..from + long).collect(),
                store: None,
                queue: BTreeMap::new(),
                fates: fates.into_iter().cycle(),
                sequence: 0,
                terms: Vec::new(),
            };
            (0..count).for_each(|who| run.at(who as u64, Event::Step(who)));
            while let Some(((now, _), event)) = run.queue.pop_first() {
                if now > 60_000 {
                    break;
                }
                run.handle(now, event);
                let holders = run.candidates.iter().filter(|c| c.holds(ms(now)).is_some()).count();
                prop_assert!(holders <= 1, "{} hold the lease at {} ms", holders, now);
            }
            prop_assert!(run.terms.is_sorted_by(|a, b| a < b), "terms {:?}", run.terms);
            prop_assert!(!run.terms.is_empty());
        }
    }
}
