//! How a new revision comes to its hosts.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;
use lattice::{
    model::{
        app::{AppRecord, Scale, UnitSpec},
        inventory::{Faults, InstanceState},
        rollout::{Portion, Rollout, RolloutFailure, RolloutOrder},
    },
    wire::{AppName, HostId, UnitId},
};
use lattice_control::{Plan, World, plan};
use proptest::prelude::*;

fn shop() -> AppName {
    "shop".parse().unwrap()
}

fn cache() -> UnitId {
    "shop/cache".parse().unwrap()
}

/// The unit, of the `version`th kind.
fn cache_of(version: u32, scale: Scale, rollout: Rollout) -> UnitSpec {
    let mut spec = spec(scale, &[], None);
    let UnitSpec::Provider(provider) = &mut spec else { return spec };
    provider.rollout = rollout;
    provider.config.insert("version".to_owned(), version.into());
    spec
}

/// A lattice whose hosts all run the first revision.
fn running(count: usize, rollout: Rollout) -> World {
    let mut world =
        world(vec![app("shop", vec![("cache", cache_of(1, Scale::PerHost, rollout))])], hosts(&vec![None; count]));
    settle(&mut world);
    assert_eq!(complete(&world), 1);
    world
}

fn apply(world: &mut World, version: u32) {
    let app = &world.apps[&shop()];
    let rollout = *app.units[&cache().unit].spec.rollout();
    let next = change(app, &cache().unit, cache_of(version, Scale::PerHost, rollout));
    world.apps.insert(shop(), next);
}

fn complete(world: &World) -> u64 {
    world.reports[&shop()].rollout.as_ref().map_or(0, |rollout| rollout.complete)
}

fn failed(plan: &Plan) -> Option<String> {
    plan.reports[&shop()].rollout.as_ref().and_then(|r| r.failed.as_ref()).map(RolloutFailure::to_string)
}

/// The revision that each host is given.
fn given(plan: &Plan) -> BTreeMap<HostId, u64> {
    let of = |(host, units): (&HostId, &BTreeMap<UnitId, _>)| {
        let record: &lattice::model::app::UnitRecord = units.get(&cache())?;
        Some((host.clone(), record.revision))
    };
    plan.units.iter().filter_map(of).collect()
}

fn count(plan: &Plan, revision: u64) -> usize {
    given(plan).values().filter(|given| **given == revision).count()
}

fn on_new(world: &mut World, revision: u64, change: impl Fn(&mut lattice::model::inventory::InstanceReport)) {
    let reports = world.hosts.values_mut().flat_map(|host| &mut host.instances);
    reports.filter(|report| report.revision == revision).for_each(change);
}

#[test]
fn a_quarter_of_the_hosts_at_a_time_and_the_next_when_those_serve() {
    let mut world = running(8, Rollout::default());
    apply(&mut world, 2);
    for so_far in [2, 4, 6, 8] {
        let next = plan(&world);
        assert_eq!((count(&next, 2), count(&next, 1)), (so_far, 8 - so_far));
        follow(&mut world, &next);
        on_new(&mut world, 2, |report| report.state = InstanceState::Starting);
        assert_eq!(given(&plan(&world)), given(&next), "not before these serve");
        assert_eq!(complete(&world), 1);
        on_new(&mut world, 2, |report| report.state = InstanceState::Ready);
    }
    settle(&mut world);
    assert_eq!(complete(&world), 2);
}

#[test]
fn a_copy_that_is_young_is_not_done() {
    let mut world = running(4, Rollout { min_ready_ms: 5000, ..Rollout::default() });
    apply(&mut world, 2);
    let first = plan(&world);
    follow(&mut world, &first);
    world.young = given(&first).into_iter().filter(|(_, r)| *r == 2).map(|(host, _)| (cache(), host)).collect();
    assert_eq!(given(&plan(&world)), given(&first));
    world.young.clear();
    assert_eq!(count(&plan(&world), 2), 2);
}

#[test]
fn what_fails_goes_no_further_until_somebody_insists() {
    let mut world = running(4, Rollout { max_errors: 10, ..Rollout::default() });
    apply(&mut world, 2);
    let first = plan(&world);
    follow(&mut world, &first);
    on_new(&mut world, 2, |report| {
        report.faults = Faults { traps: 4, errors: 3, calls: 70, last: Some("boom".into()), ..Faults::default() };
    });
    let fine = plan(&world);
    assert_eq!((count(&fine, 2), failed(&fine)), (2, None), "a tenth may fail");
    on_new(&mut world, 2, |report| report.faults.calls = 69);
    let bad = plan(&world);
    let host = given(&first).into_iter().find(|(_, revision)| *revision == 2).unwrap().0;
    let reason = format!("cache: 7 of 69 calls failed on host {}; the last one: boom", host.short());
    assert_eq!((given(&bad), failed(&bad)), (given(&first), Some(reason)));
    // It stays so, whatever becomes of the copy.
    assign(&mut world, &bad);
    on_new(&mut world, 2, |report| report.faults = Faults::default());
    assert_eq!(plan(&world), bad);
    // A copy that is lost comes back as it was before.
    world.hosts.remove(&host);
    let without = plan(&world);
    assert_eq!((count(&without, 2), count(&without, 1)), (1, 3), "the lost host may have kept it");
    world.apps.get_mut(&shop()).unwrap().order = RolloutOrder::Insist;
    settle(&mut world);
    assert_eq!((complete(&world), failed(&plan(&world))), (2, None));
}

#[test]
fn a_new_copy_is_of_the_revision_before_while_a_rollout_is_held() {
    let mut world = running(3, Rollout::default());
    apply(&mut world, 2);
    world.apps.get_mut(&shop()).unwrap().order = RolloutOrder::Pause;
    assert_eq!(count(&plan(&world), 2), 0);
    world.hosts.insert(host(3), record(3, None));
    let next = plan(&world);
    assert_eq!((count(&next, 1), count(&next, 2)), (4, 0));
    // And a host that has to be left is left.
    follow(&mut world, &next);
    world.hosts.get_mut(&host(0)).unwrap().leaving = true;
    settle(&mut world);
    assert_eq!(given(&plan(&world)), (1..4).map(|at| (host(at), 1)).collect());
    world.apps.get_mut(&shop()).unwrap().order = RolloutOrder::Proceed;
    settle(&mut world);
    assert_eq!(given(&plan(&world)), (1..4).map(|at| (host(at), 2)).collect());
}

#[test]
fn without_progress_it_fails_and_says_what_it_waits_for() {
    let mut world = running(4, Rollout::default());
    apply(&mut world, 2);
    let first = plan(&world);
    follow(&mut world, &first);
    on_new(&mut world, 2, |report| {
        (report.state, report.reason) = (InstanceState::Failed, Some("no such table".into()))
    });
    world.late = [cache()].into();
    let late = plan(&world);
    assert!(failed(&late).unwrap().starts_with("cache: no progress for 600s: failed on host N"), "{:?}", failed(&late));
    assert!(failed(&late).unwrap().ends_with(": no such table"));
}

#[test]
fn what_ran_everywhere_before_comes_back_everywhere_at_once() {
    let mut world = running(8, Rollout::default());
    let first = world.apps[&shop()].clone();
    apply(&mut world, 2);
    let half = plan(&world);
    follow(&mut world, &half);
    let back: AppRecord = world.apps[&shop()].back_to(&first).unwrap();
    assert_eq!((back.revision, back.units[&cache().unit].revision), (3, 1));
    world.apps.insert(shop(), back);
    assert_eq!(count(&plan(&world), 1), 8);
    settle(&mut world);
    assert_eq!(complete(&world), 3);
    assert_eq!(world.apps[&shop()].back_to(&first), None, "it is so already");
}

#[test]
fn more_copies_are_no_rollout() {
    let mut world = world(
        vec![app("shop", vec![("cache", cache_of(1, Scale::Replicas(1), Rollout::default()))])],
        hosts(&[None; 6]),
    );
    settle(&mut world);
    let next = change(&world.apps[&shop()], &cache().unit, cache_of(1, Scale::Replicas(6), Rollout::default()));
    world.apps.insert(shop(), next);
    assert_eq!(count(&plan(&world), 1), 6);
}

proptest! {
    /// At no time more copies change than may, every host keeps a copy, and in the end all have the newest.
    #[test]
    fn a_rollout_is_bounded_and_comes_to_its_end(
        count in 1..9usize,
        surge in prop_oneof![(0..4u32).prop_map(Portion::Copies), (0..101u32).prop_map(Portion::Percent)],
        away in prop_oneof![(0..4u32).prop_map(Portion::Copies), (0..101u32).prop_map(Portion::Percent)],
        ready in prop::collection::vec(any::<bool>(), 1..40),
    ) {
        let rollout = Rollout { max_surge: surge, max_unavailable: away, ..Rollout::default() };
        let mut world = running(count, rollout);
        apply(&mut world, 2);
        let mut ready = ready.into_iter().chain([true]).cycle();
        for _ in 0..400 {
            let next = plan(&world);
            prop_assert_eq!(given(&next).len(), count);
            let served = |world: &World, host: &HostId| world.hosts[host].instances.iter().any(|i| {
                i.revision == 2 && i.state == InstanceState::Ready
            });
            let changing = given(&next).into_iter().filter(|(host, r)| *r == 2 && !served(&world, host)).count();
            prop_assert!(changing <= rollout.at_once(count), "{changing} at a time");
            let before: BTreeSet<_> = world.hosts.keys().filter(|host| served(&world, host)).cloned().collect();
            follow(&mut world, &next);
            for host in world.hosts.values_mut() {
                let served = before.contains(&host.host);
                for report in host.instances.iter_mut().filter(|report| report.revision == 2 && !served) {
                    report.state = if ready.next().unwrap() { InstanceState::Ready } else { InstanceState::Starting };
                }
            }
            if complete(&world) == 2 {
                break;
            }
        }
        prop_assert_eq!(complete(&world), 2);
    }
}
