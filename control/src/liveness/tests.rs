use super::*;

fn host(at: usize) -> HostId {
    let letter = char::from(b'A' + at as u8);
    format!("N{}", letter.to_string().repeat(55)).parse().unwrap()
}

/// A second by second story: each host beats (at its own phase) while `beats` says so.
struct Story {
    liveness: Liveness,
    counts: BTreeMap<HostId, u64>,
    roll: Roll,
    now: Duration,
}

impl Story {
    fn new(hosts: usize) -> Self {
        let known: BTreeSet<_> = (0..hosts).map(host).collect();
        let roll = Roll { burdened: known.clone(), known };
        let counts = (0..hosts).map(|at| (host(at), 7)).collect();
        Self { liveness: Liveness::new(host(0), Duration::ZERO, Timing::default()), counts, roll, now: Duration::ZERO }
    }

    /// Lets `ms` pass, in steps of 50 ms, and returns the verdict at the end.
    fn pass(&mut self, ms: u64, beating: &[usize]) -> Verdict {
        let mut verdict = Verdict::default();
        for _ in 0..ms / 50 {
            self.now += Duration::from_millis(50);
            for at in beating {
                if (self.now.as_millis() as u64 + 150 * *at as u64).is_multiple_of(1000) {
                    *self.counts.get_mut(&host(*at)).unwrap() += 1;
                }
            }
            self.liveness.observe(self.now, &self.counts);
            verdict = self.liveness.judge(self.now, &self.roll);
        }
        verdict
    }

    fn lost(&self, verdict: &Verdict) -> Vec<HostId> {
        self.roll.known.iter().filter(|h| !verdict.alive.contains(h) && !verdict.silent.contains(h)).cloned().collect()
    }
}

#[test]
fn one_of_two_is_lost_within_the_window() {
    let mut story = Story::new(2);
    assert_eq!(story.pass(2000, &[0, 1]).alive.len(), 2);
    let verdict = story.pass(2000, &[0]);
    assert_eq!(story.lost(&verdict), []);
    let verdict = story.pass(1100, &[0]);
    assert_eq!(story.lost(&verdict), [host(1)]);
    let verdict = story.pass(1000, &[0, 1]);
    assert_eq!(verdict.alive.len(), 2);
}

#[test]
fn nobody_is_lost_before_a_full_window_of_listening() {
    let mut story = Story::new(2);
    let verdict = story.pass(2900, &[0]);
    assert_eq!(story.lost(&verdict), []);
    assert!(verdict.silent.contains(&host(1)), "what a dead host left is no sign of life");
    let verdict = story.pass(100, &[0]);
    assert_eq!(story.lost(&verdict), [host(1)]);
    // The same after a gap.
    let mut story = Story::new(2);
    story.pass(2000, &[0, 1]);
    story.now += Duration::from_secs(60);
    story.liveness.listen_anew(story.now);
    let verdict = story.pass(2900, &[0]);
    assert_eq!(story.lost(&verdict), []);
    let verdict = story.pass(100, &[0]);
    assert_eq!(story.lost(&verdict), [host(1)]);
}

#[test]
fn who_does_not_hear_himself_gives_nobody_up() {
    let mut story = Story::new(5);
    story.pass(3000, &[0, 1, 2, 3, 4]);
    let verdict = story.pass(60_000, &[]);
    assert_eq!(story.lost(&verdict), []);
    assert!(!story.liveness.is_settled(story.now), "nothing is placed by who hears nothing");
    // When he does, those are lost that are still silent a whole window later.
    let verdict = story.pass(2900, &[0, 1, 2, 3]);
    assert_eq!(story.lost(&verdict), []);
    let verdict = story.pass(2000, &[0, 1, 2, 3]);
    assert_eq!(story.lost(&verdict), [host(4)]);
}

#[test]
fn mass_silence_holds_and_then_gives_up() {
    let mut story = Story::new(5);
    story.pass(3000, &[0, 1, 2, 3, 4]);
    let verdict = story.pass(16_000, &[0, 1]);
    assert_eq!(story.lost(&verdict), [], "three of five at once");
    assert_eq!(verdict.silent.len(), 3);
    assert_eq!(story.liveness.holding(), Some(Holding { silent: 3, of: 5, given_up: 0 }));
    for given_up in 1..=3 {
        let verdict = story.pass(3000, &[0, 1]);
        assert_eq!(story.lost(&verdict).len(), given_up, "in the end they are given up, one after the other");
    }
    story.pass(100, &[0, 1]);
    assert_eq!(story.liveness.holding(), None, "nobody is missed any more");
    let verdict = story.pass(2000, &[0, 1, 2, 3, 4]);
    assert_eq!(verdict.alive.len(), 5);
}

#[test]
fn a_large_fleet_is_given_up_by_the_tenth_and_not_when_it_comes_back() {
    let mut story = Story::new(26);
    let all: Vec<_> = (0..26).collect();
    story.pass(3000, &all);
    let verdict = story.pass(21_900, &all[..8]);
    assert_eq!(story.lost(&verdict).len(), 6, "three at a time, twice");
    // The rest comes back, and nobody else is given up.
    let verdict = story.pass(10_000, &all[..20]);
    assert_eq!(story.liveness.holding(), None);
    let known_dead = all[20..].iter().map(|at| host(*at)).collect::<Vec<_>>();
    assert!(verdict.alive.len() == 20 && story.lost(&verdict) == known_dead, "{:?}", story.lost(&verdict));
}

#[test]
fn what_is_most_can_be_said() {
    let mut story = Story::new(5);
    story.liveness.timing.hold_above = 80;
    story.pass(3000, &[0, 1, 2, 3, 4]);
    let verdict = story.pass(4100, &[0]);
    assert_eq!(story.lost(&verdict).len(), 4, "four of five are no more than 80 percent");
    let mut story = Story::new(5);
    story.liveness.timing.hold_above = 20;
    story.pass(3000, &[0, 1, 2, 3, 4]);
    let verdict = story.pass(4100, &[0, 1, 2]);
    assert_eq!(story.lost(&verdict), []);
}

#[test]
fn those_that_come_back_end_the_hold() {
    let mut story = Story::new(5);
    story.pass(3000, &[0, 1, 2, 3, 4]);
    story.pass(6000, &[0, 1]);
    let verdict = story.pass(2900, &[0, 1, 2, 3]);
    assert_eq!(story.lost(&verdict), [], "it may come back a little later than the others");
    let verdict = story.pass(1100, &[0, 1, 2, 3]);
    assert_eq!(story.lost(&verdict), [host(4)], "one of five is no mass");
}

#[test]
fn two_of_five_are_lost_at_once() {
    let mut story = Story::new(5);
    story.pass(3000, &[0, 1, 2, 3, 4]);
    let verdict = story.pass(4100, &[0, 1, 2]);
    assert_eq!(story.lost(&verdict), [host(3), host(4)]);
}

#[test]
fn the_long_dead_do_not_count_as_a_mass() {
    let mut story = Story::new(6);
    // Four were given up by the controller before; the fifth held the lease and died with it.
    story.roll.burdened = BTreeSet::from([host(0), host(1)]);
    let verdict = story.pass(3000, &[0]);
    assert_eq!(story.lost(&verdict).len(), 5);
    assert_eq!(verdict.alive, BTreeSet::from([host(0)]));
}

#[test]
fn nothing_is_placed_before_those_that_beat_are_known() {
    let mut story = Story::new(3);
    story.pass(700, &[0, 1, 2]);
    assert!(!story.liveness.is_settled(story.now), "the first has not beaten yet");
    story.pass(300, &[0, 1, 2]);
    assert!(story.liveness.is_settled(story.now));
    let mut story = Story::new(3);
    story.pass(1500, &[0]);
    assert!(story.liveness.is_settled(story.now), "not for ever");
}
