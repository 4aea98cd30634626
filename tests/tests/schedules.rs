//! Components that are called by the clock.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::time::Instant;

use lattice_tests::{
    Lattice,
    lattice::{SETTLE, head, image},
};

/// A command that does `act` once a second, as often as there are hosts for clock and command.
fn beat(act: &str, options: &str) -> String {
    format!(
        "{}  components:\n    main: {{ image: {}, perHost: 1, env: {{ ACT: {act} }} }}\n  providers:\n    clock: {{ use: cron, \
         perHost: 1, schedules: {{ beat: {{ every: 1s, to: main{options} }} }} }}\n",
        head("beat"),
        image("cli")
    )
}

/// How often the hosts have logged `text`.
fn logged(lattice: &Lattice, text: &str) -> usize {
    lattice.hosts.iter().map(|host| host.log().lines().filter(|line| line.contains(text)).count()).sum()
}

#[test]
fn a_call_is_made_once_in_the_whole_lattice_also_while_hosts_die() {
    let mut lattice = Lattice::start(3);
    lattice.apply(&beat("args here-it-is", ""));
    let calls = |lattice: &Lattice| logged(lattice, "here-it-is");
    lattice.wait("the first call", SETTLE, || (calls(&lattice) > 0).then_some(()));
    let (begun, before) = (Instant::now(), calls(&lattice));
    lattice.wait("more calls", SETTLE, || (calls(&lattice) >= before + 4).then_some(()));
    // The one that plans, and another one: the calls go on with the one that is left.
    for _ in 0..2 {
        let victim = lattice.controller();
        lattice.host(&victim).kill();
        let so_far = calls(&lattice);
        lattice.wait("calls after a host has died", SETTLE, || (calls(&lattice) >= so_far + 3).then_some(()));
    }
    let (made, seconds) = (calls(&lattice) - before, begun.elapsed().as_secs_f64());
    assert!(made as f64 <= seconds + 2.0, "{made} calls in {seconds} s");
    println!("{made} calls in {seconds:.1} s, during which two of three hosts were killed");
}

#[test]
fn what_went_wrong_is_logged_and_what_cannot_be_called_is_refused() {
    let lattice = Lattice::start(1);
    let refused = lattice.try_apply(&beat("fail", ", call: wasi:cli/run.walk"));
    assert_eq!(refused.code, Some(3));
    assert!(refused.stderr.contains("has no function `walk`"), "{}", refused.stderr);
    lattice.apply(&beat("fail", ", missed: once"));
    let failed = || (logged(&lattice, "a call by the clock failed") >= 2).then_some(());
    lattice.wait("failures in the log", SETTLE, failed);
    assert!(logged(&lattice, "error=it returned an error") >= 2, "{}", lattice.hosts[0].log_tail());
    assert_eq!(lattice.ctl(&["delete", "beat"]).code, Some(0));
    let after = logged(&lattice, "a call by the clock failed");
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert_eq!(logged(&lattice, "a call by the clock failed"), after, "nothing is called any more");
}
