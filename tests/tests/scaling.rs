//! Components whose number of copies follows the calls under way.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
};

/// A component that calls a library, which has so many copies, behind a listener in the first zone.
fn app(address: SocketAddr, replicas: &str) -> String {
    let here = "placement: { require: { zone: [a] } }";
    format!(
        "{}  components:\n    caller: {{ image: {}, links: {{ test:library: library }}, {here} }}\n    library: {{ image: {}, replicas: \
         {{ {replicas} }} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, {here}, routes: {{ \
         /: caller }} }}\n",
        head("calls"),
        image("caller"),
        image("library"),
    )
}

/// Waits until there are so many copies and no others.
fn wait_for(lattice: &Lattice, copies: usize) {
    let there = || {
        let status = lattice.try_status("calls")?;
        (status.instances("library").len() == copies && status.ready()).then_some(())
    };
    lattice.wait(&format!("{copies} copies"), SETTLE, there);
}

#[test]
fn there_are_as_many_copies_as_the_calls_under_way_need() {
    let lattice = Lattice::start(3);
    let address = free_address();
    lattice.apply(&app(address, "min: 1, max: 3, inFlight: 4, window: 3s"));
    wait_for(&lattice, 1);
    // Five at a time need two copies, and twelve more need all that there may be.
    let few = Load::start(address, "/sleep?ms=200", 5);
    wait_for(&lattice, 2);
    let many = Load::start(address, "/sleep?ms=200", 12);
    wait_for(&lattice, 3);
    let why = lattice.ctl(&["why", "calls/library"]);
    assert!(why.stdout.contains("1 to 3, one for each 4 calls in flight"), "{}", why.all());
    let mut answers = many.finish();
    wait_for(&lattice, 2);
    answers.extend(few.finish());
    wait_for(&lattice, 1);
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    // What the numbers do is no new revision.
    assert_eq!(lattice.status("calls").complete(), Some(1));
}

#[test]
fn nothing_runs_while_nobody_calls_and_the_first_call_waits_for_a_start() {
    let mut lattice = Lattice::start(2);
    let address = free_address();
    let manifest = app(address, "min: 0, max: 2, inFlight: 100, window: 1s");
    lattice.apply(&manifest);
    let starts = |lattice: &mut Lattice| {
        let logs = [lattice.host("a").log(), lattice.host("b").log()];
        logs.iter().map(|log| log.matches("ready unit=calls/library").count()).sum::<usize>()
    };
    wait_for(&lattice, 0);
    assert_eq!(starts(&mut lattice), 1, "what is new is tried once");
    let asleep = lattice.ctl(&["why", "calls/library"]);
    assert!(asleep.stdout.contains("asleep until it is called"), "{}", asleep.all());
    assert!(lattice.apply(&manifest).contains("unchanged"));
    // Many call in the same moment: all of them wait for one start.
    let began = Instant::now();
    let call = move || (get(address, "/all").unwrap(), Instant::now());
    let calls: Vec<_> = (0..20).map(|_| thread::spawn(call)).collect();
    let mut ends = Vec::new();
    for call in calls {
        let (answer, end) = call.join().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "all the same\n"));
        ends.push(end);
    }
    let apart = ends.iter().max().zip(ends.iter().min()).map(|(last, first)| last.duration_since(*first)).unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "a start took {took:?}, which is nearly what a call may take");
    wait_for(&lattice, 0);
    // Where the machine has let some of them through so late that the copy was not needed any more, those needed another one.
    let late = apart > Duration::from_secs(1);
    let starts_now = starts(&mut lattice);
    assert!(
        starts_now == 2 || late,
        "all of them have waited for one start, and there were {starts_now}; they ended {apart:?} apart"
    );

    // Also when the host that plans has just died.
    if lattice.controller() == "b" {
        lattice.host("b").kill();
    }
    assert_eq!(get(address, "/all").unwrap().status, 200);
}

#[test]
fn what_has_no_copies_for_another_reason_is_told_at_once() {
    let lattice = Lattice::start(1);
    let address = free_address();
    lattice.apply(&app(address, "min: 0, max: 2, inFlight: 100, window: 1s"));
    wait_for(&lattice, 0);
    let scaled = lattice.ctl(&["scale", "calls/library", "0"]);
    assert_eq!(scaled.code, Some(0), "{}", scaled.all());
    // What was known of it may be two seconds old.
    thread::sleep(Duration::from_secs(3));
    let began = Instant::now();
    let answer = get(address, "/all").unwrap();
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert!(began.elapsed() < Duration::from_secs(2), "it took {:?}", began.elapsed());
}
