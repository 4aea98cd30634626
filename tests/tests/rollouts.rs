//! New revisions: a few hosts at a time, held and taken back when they are bad.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load,
    lattice::{SETTLE, head, image},
    load::failures,
    places::free_address,
};

/// A listener on the host in zone a, and three copies of a component on the others.
fn app(address: SocketAddr, image: &str, rollout: &str) -> String {
    format!(
        "{}  components:\n    page: {{ image: {image}, replicas: 3, placement: {{ require: {{ zone: [b, c, d] }} }}, rollout: {{ \
         {rollout} }} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, placement: {{ require: {{ \
         zone: [a] }} }}, routes: {{ /: page }} }}\n",
        head("shop"),
    )
}

/// How many copies of a revision there are, once there are as many.
fn wait_for(lattice: &Lattice, revision: u64, copies: usize) {
    let there = || lattice.try_status("shop").filter(|status| status.of_revision("page", revision) == copies);
    lattice.wait(&format!("{copies} copies of revision {revision}"), SETTLE, there);
}

#[test]
fn a_good_revision_comes_host_by_host_and_no_request_is_lost() {
    let lattice = Lattice::start(4);
    let address = free_address();
    let rollout = "maxSurge: 1, minReady: 2s";
    lattice.apply(&app(address, &image("hello"), rollout));
    let load = Load::start(address, "/", 6);
    load.wait_for(200);
    let begun = Instant::now();
    lattice.write("app.yaml", app(address, &image("trap"), rollout));
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]).code, Some(0));
    let mut seen = vec![0];
    let done = || {
        let status = lattice.try_status("shop")?;
        let count = status.of_revision("page", 2);
        let on_the_way = status.instances("page").iter().filter(|i| i.revision == 2 && i.state != "ready").count();
        assert!(on_the_way <= 1, "one at a time");
        // Of a host whose sign of life is late nothing is shown.
        if seen.last().is_some_and(|most| *most < count) {
            seen.push(count);
        }
        status.ready().then_some(status)
    };
    let status = lattice.wait("the new revision everywhere", SETTLE, done);
    assert!(begun.elapsed() >= Duration::from_secs(6), "each has to be ready for two seconds, the last one, too");
    assert_eq!((status.rollout().as_str(), status.complete()), ("complete", Some(2)));
    assert_eq!(seen, [0, 1, 2, 3]);

    // Back again, at once: it has run everywhere before.
    let output = lattice.ctl(&["rollback", "shop"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    load.wait_for(200);
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());
    // While it was under way, both answered, in no order.
    let bodies: Vec<_> = answers.iter().map(|answer| answer.outcome.clone().unwrap()).collect();
    let turns = bodies.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns > 20, "{turns} times another revision answered");
}

#[test]
fn a_bad_revision_is_taken_back_and_the_copies_that_it_never_reached_go_on() {
    let lattice = Lattice::start(4);
    let address = free_address();
    let rollout = "maxSurge: 1, minReady: 20s, maxErrors: 20%, onFailure: rollback";
    lattice.apply(&app(address, &image("hello"), "minReady: 0s, onFailure: rollback"));
    let before = lattice.wait_ready("shop").instances("page");
    // The new component panics at this path.
    let load = Load::start(address, "/trap", 4);
    load.wait_for(100);
    let output = lattice.try_apply(&app(address, &image("trap"), rollout));
    assert_eq!(output.code, Some(7), "{}", output.all());
    let told = "revision 2 was replaced by revision 3 (rolled back to 1, as 2 failed: page: ";
    assert!(output.stderr.contains(told) && output.stderr.contains("calls failed on host"), "{}", output.all());
    let after = lattice.wait_ready("shop");
    assert_eq!((after.of_revision("page", 1), after.complete()), (3, Some(3)));
    let kept = after.instances("page").iter().filter(|now| before.iter().any(|then| then.id == now.id)).count();
    assert!(kept >= 2, "one host at a time had it: {before:?}, {after:?}");
    load.wait_for(100);
    let answers = load.finish();
    let bad: usize = failures(&answers).iter().map(|(_, times)| times).sum();
    assert!(bad >= 5 && bad < answers.len() / 2, "{bad} of {} failed", answers.len());
    let history = lattice.ctl(&["history", "shop"]).stdout;
    assert!(history.contains("rolled back to 1, as 2 failed"), "{history}");
}

#[test]
fn a_rollout_is_paused_held_when_it_fails_and_insisted_on() {
    let lattice = Lattice::start(4);
    let address = free_address();
    lattice.apply(&app(address, &image("hello"), ""));
    lattice.write("app.yaml", app(address, &image("trap"), "maxSurge: 1, minReady: 15s, maxErrors: 1%"));
    assert_eq!(lattice.ctl(&["apply", "-f", "app.yaml", "--no-wait"]).code, Some(0));
    wait_for(&lattice, 2, 1);
    let output = lattice.ctl(&["rollout", "pause", "shop"]);
    assert!(output.stdout.contains("the rollout of revision 2 is paused"), "{}", output.all());
    std::thread::sleep(Duration::from_secs(17));
    let output = lattice.ctl(&["rollout", "status", "shop"]);
    let (first, rest) = output.stdout.split_once('\n').unwrap();
    assert_eq!(first, "app shop: revision 2: paused; revision 1 ran everywhere", "{}", output.all());
    assert!(rest.contains("page  2         1/3      1/3    2"), "{rest}");
    // Whoever waits is told.
    let output = lattice.ctl(&["apply", "-f", "app.yaml"]);
    assert_eq!(output.code, Some(5), "{}", output.all());
    assert!(output.stderr.contains("its rollout is paused") && output.stderr.contains("rollout resume shop"));

    let load = Load::start(address, "/trap", 2);
    let output = lattice.ctl(&["rollout", "resume", "shop", "--timeout", "2m"]);
    drop(load);
    assert_eq!(output.code, Some(5), "{}", output.all());
    assert!(output.stderr.contains("its rollout has failed: page: "), "{}", output.all());
    let held = lattice.status("shop");
    assert!(held.rollout() == "failed" && held.of_revision("page", 1) >= 1, "{held:?}");
    let line = lattice.ctl(&["status", "shop"]).stdout;
    assert!(line.contains("\nrollout failed: page: "), "{line}");

    let output = lattice.ctl(&["rollout", "resume", "shop", "--timeout", "3m"]);
    assert_eq!(output.code, Some(0), "{}", output.all());
    let status = lattice.status("shop");
    assert_eq!((status.of_revision("page", 2), status.complete()), (3, Some(2)));
    let output = lattice.ctl(&["rollout", "pause", "shop"]);
    assert!(output.code == Some(1) && output.stderr.contains("has run everywhere already"), "{}", output.all());
}

#[test]
fn without_a_surge_the_old_copy_ends_before_the_new_one_starts() {
    let mut lattice = Lattice::start(1);
    let app = |image: &str| {
        let image = self::image(image);
        format!("{}  components:\n    page: {{ image: {image}, rollout: {{ maxUnavailable: 1 }} }}\n", head("shop"))
    };
    lattice.apply(&app("hello"));
    lattice.apply(&app("trap"));
    let log = lattice.host("a").log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text} in {log}"));
    assert!(at("draining unit=shop/page revision=1") < at("starting unit=shop/page revision=2"), "{log}");
}
