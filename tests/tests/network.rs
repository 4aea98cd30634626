//! Machines whose cable is pulled: nothing comes through, and nobody is told.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    machines::Machines,
};

/// The cable is out for so long.
const CUT: Duration = Duration::from_secs(30);
/// No caller waits longer: a call's deadline, and what a busy machine adds.
const LONGEST: Duration = Duration::from_secs(15);

#[test]
fn a_machine_whose_cable_is_pulled_is_replaced_and_what_must_not_run_twice_never_does() {
    let machines = Machines::new(&["a", "b", "c"]);
    machines.at_hub(|| pull(&machines));
}

fn pull(machines: &Machines) {
    let url = |zone: &str, nats: &_| machines.url(zone, nats);
    let lattice = Lattice::start_all(3, || machines.nats(), url, |host| machines.place(host));
    // The machine with the host that plans is the one that is lost; users come in by another one.
    let lost = lattice.controller();
    let front = ["a", "b", "c"].into_iter().find(|zone| *zone != lost).unwrap();
    let door = |name: &str, address: SocketAddr, placement: &str, more: &str| {
        format!(
            "{}  components:\n    page: {{ image: {}{more} }}\n  providers:\n    web: {{ use: http-server, config: {{ address: \"{address}\" }}, \
             routes: {{ /: page }}, placement: {{ {placement} }} }}\n",
            head(name),
            image("hello"),
        )
    };
    // The copies are where they will be missed: on the machine that will be lost, and on one of the others.
    lattice.apply(&door("shop", machines.listen(0), &format!("require: {{ zone: [{front}] }}"), ", replicas: 2"));
    let single = format!("prefer: {{ zone: [{lost}] }}, offline: stop");
    lattice.apply(&door("single", machines.listen(1), &single, &format!(", placement: {{ {single} }}")));
    let place = |app: &str, unit: &str| {
        let status = lattice.try_status(app)?;
        let host = status.hosts(unit).first().cloned()?;
        lattice.hosts.iter().find(|known| known.id() == host).map(|host| host.zone.clone())
    };
    assert_eq!(place("single", "web").as_deref(), Some(lost.as_str()));
    let runs_on =
        |zone: &str| machines.on(zone, || get(machines.address(zone, 1), "/").is_ok_and(|answer| answer.status == 200));
    assert!(runs_on(&lost));
    let load = Load::start(machines.address(front, 0), "/", 4);
    load.wait_for(100);

    machines.cut(&lost);
    let cut = Instant::now();
    // At no moment both: the lost one has ended it before anybody else begins.
    let others: Vec<_> = ["a", "b", "c"].into_iter().filter(|zone| *zone != lost).collect();
    let mut moved = None;
    while cut.elapsed() < CUT || (moved.is_none() && cut.elapsed() < SETTLE) {
        let elsewhere = others.iter().any(|zone| runs_on(zone));
        assert!(
            !(elsewhere && machines.are_apart() && runs_on(&lost)),
            "it ran twice, {:?} after the cut",
            cut.elapsed()
        );
        if elsewhere && moved.is_none() {
            moved = Some(cut.elapsed());
        }
        thread::sleep(Duration::from_millis(100));
    }
    let moved = moved.unwrap_or_else(|| lattice.fail("what was to be kept from running twice runs nowhere"));
    assert!(moved < Duration::from_secs(10), "it was elsewhere only {moved:?} after the cut");
    let status = lattice.wait_ready("shop");
    let id = |zone: &str| lattice.hosts.iter().find(|host| host.zone == zone).unwrap().id();
    assert!(!status.hosts("page").contains(&id(&lost)));
    assert_eq!(status.instances("page").len(), 2);

    machines.mend(&lost);
    lattice.wait("the host that was lost", SETTLE, || {
        let hosts = lattice.ctl(&["get", "hosts", "-o", "json"]);
        let hosts: serde_json::Value = serde_json::from_str(&hosts.stdout).ok()?;
        hosts.as_array()?.iter().all(|host| host["alive"] == true).then_some(())
    });
    for app in ["shop", "single"] {
        lattice.wait_ready(app);
    }
    assert_eq!(lattice.status("single").instances("web").len(), 1);
    assert_eq!(lattice.status("shop").instances("page").len(), 2);
    load.wait_for(100);

    // Calls that were on their way to the machine have nobody to answer them; all others are answered.
    let answers = load.finish();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.outcome.is_err()).collect();
    assert!(failed.len() <= 8, "{} of {} requests failed: {:?}", failed.len(), answers.len(), failed.first());
    let late = failed.iter().filter(|answer| answer.at > cut + moved + LONGEST).count();
    assert_eq!(late, 0, "{failed:?}");
    let slowest = answers.iter().map(|answer| answer.took).max().unwrap();
    assert!(slowest < LONGEST, "a caller waited for {slowest:?}");
}
