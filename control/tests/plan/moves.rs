//! How units move, case by case.

use std::collections::BTreeSet;

use crate::common::*;
use lattice::{
    model::{
        app::{ComponentSpec, Scale, UnitSpec},
        assignment::PlannedUnit,
        inventory::InstanceState,
        signature::Signers,
    },
    wire::{AppName, Digest, HostId, UnitName},
};
use lattice_control::{Plan, World, plan};

fn shop() -> AppName {
    "shop".parse().unwrap()
}

fn name(text: &str) -> UnitName {
    text.parse().unwrap()
}

fn set<const N: usize>(hosts: [usize; N]) -> BTreeSet<HostId> {
    hosts.map(host).into()
}

fn planned(plan: &Plan, unit: &str) -> PlannedUnit {
    plan.reports[&shop()].units[&name(unit)].clone()
}

fn reapply(world: &mut World, unit: &str, spec: UnitSpec) {
    let next = change(&world.apps[&shop()], &name(unit), spec);
    world.apps.insert(shop(), next);
}

fn set_state(world: &mut World, at: usize, state: InstanceState) {
    world.hosts.get_mut(&host(at)).unwrap().instances.iter_mut().for_each(|i| i.state = state);
}

#[test]
fn a_unit_that_must_move_stays_until_the_new_copy_takes_calls() {
    let mut world = world(
        vec![app("shop", vec![("cache", spec(Scale::Replicas(1), &["a"], None))])],
        hosts(&[Some("a"), Some("b")]),
    );
    settle(&mut world);
    reapply(&mut world, "cache", spec(Scale::Replicas(1), &["b"], None));
    let moving = plan(&world);
    assert_eq!(homes(&moving, "shop/cache"), set([0, 1]));
    assert_eq!(planned(&moving, "cache").hosts, [host(1)]);
    let unit = "shop/cache".parse().unwrap();
    let revisions = [0, 1].map(|at| moving.units[&host(at)][&unit].revision);
    assert_eq!(revisions, [1, 1], "another place is no other revision");
    follow(&mut world, &moving);
    set_state(&mut world, 1, InstanceState::Starting);
    assert_eq!(plan(&world).units, moving.units, "not yet");
    set_state(&mut world, 1, InstanceState::Ready);
    assert_eq!(homes(&plan(&world), "shop/cache"), set([1]));
}

#[test]
fn fewer_replicas_keep_those_that_serve() {
    let mut world =
        world(vec![app("shop", vec![("cache", spec(Scale::Replicas(3), &[], None))])], hosts(&[None, None, None]));
    settle(&mut world);
    set_state(&mut world, 0, InstanceState::Failed);
    set_state(&mut world, 2, InstanceState::Failed);
    reapply(&mut world, "cache", spec(Scale::Replicas(1), &[], None));
    assert_eq!(homes(&plan(&world), "shop/cache"), set([1]));
}

#[test]
fn zero_replicas_run_nowhere_and_are_no_problem() {
    let mut world =
        world(vec![app("shop", vec![("cache", spec(Scale::Replicas(2), &[], None))])], hosts(&[None, None]));
    settle(&mut world);
    reapply(&mut world, "cache", spec(Scale::Replicas(0), &[], None));
    let plan = plan(&world);
    assert_eq!(homes(&plan, "shop/cache"), set([]));
    assert_eq!(planned(&plan, "cache"), PlannedUnit::default());
}

#[test]
fn more_replicas_than_hosts_is_one_on_each() {
    let world = world(vec![app("shop", vec![("cache", spec(Scale::Replicas(5), &[], None))])], hosts(&[None, None]));
    let planned = planned(&plan(&world), "cache");
    assert_eq!((planned.wanted, planned.hosts.len(), planned.problem), (2, 2, None));
}

#[test]
fn nowhere_to_go_is_explained() {
    let mut world =
        world(vec![app("shop", vec![("cache", spec(Scale::Replicas(1), &["c"], None))])], hosts(&[Some("a"), None]));
    let told = planned(&plan(&world), "cache");
    assert_eq!((told.wanted, told.hosts.len()), (1, 0));
    assert_eq!(told.problem.unwrap(), "no live host has zone=c; labels of hosts are: NAAAAAAA zone=a, NBBBBBBB none");
    // What runs is not stopped for nothing.
    reapply(&mut world, "cache", spec(Scale::Replicas(1), &["a"], None));
    settle(&mut world);
    reapply(&mut world, "cache", spec(Scale::Replicas(1), &["b", "c"], None));
    let stuck = plan(&world);
    assert_eq!(homes(&stuck, "shop/cache"), set([0]));
    assert_eq!(
        planned(&stuck, "cache").problem.unwrap(),
        "no live host has zone=b or c; labels of hosts are: NAAAAAAA zone=a, NBBBBBBB none; until one has, it stays on \
         NAAAAAAA"
    );
    world.hosts.clear();
    assert_eq!(planned(&plan(&world), "cache").problem.unwrap(), "no host is alive");
}

#[test]
fn programs_go_where_they_may_run() {
    let cache = |zones: &[&str]| program(spec(Scale::Replicas(2), zones, None));
    let apps = vec![app("shop", vec![("cache", cache(&[]))])];
    let mut world = world(apps, hosts(&[Some("a"), Some("a"), Some("b")]));
    assert_eq!(homes(&settle(&mut world), "shop/cache"), set([1]));
    // A label decides among those that may.
    reapply(&mut world, "cache", cache(&["b"]));
    let told = planned(&plan(&world), "cache").problem.unwrap();
    assert!(
        told.starts_with(
            "no live host that runs programs has zone=b; labels of those that run them are: NBBBBBBB zone=a"
        ),
        "{told}"
    );
    world.hosts.get_mut(&host(2)).unwrap().programs = true;
    assert_eq!(homes(&settle(&mut world), "shop/cache"), set([2]));
    // A host that was started again without the right to run it.
    world.hosts.values_mut().for_each(|host| host.programs = false);
    let told = planned(&plan(&world), "cache");
    assert_eq!((told.wanted, told.hosts.len()), (2, 0));
    assert!(
        told.problem.as_ref().unwrap().starts_with("no live host runs programs; start one with --allow-programs"),
        "{told:?}"
    );
}

#[test]
fn what_is_not_signed_goes_only_where_no_signature_is_asked_for() {
    let unit = |bytes: &[u8]| UnitSpec::Component(ComponentSpec::of(Digest::of(bytes)));
    let units =
        vec![("known", unit(b"known")), ("unknown", unit(b"unknown")), ("cache", spec(Scale::Replicas(1), &[], None))];
    let mut world = world(vec![app("shop", units)], hosts(&[None, None]));
    for host in world.hosts.values_mut() {
        host.trusts = ["us", "them"].map(str::to_owned).into();
    }
    world.signers.add(Digest::of(b"known"), "them".to_owned());
    world.signers.add(Digest::of(b"unknown"), "strangers".to_owned());
    let plan = settle(&mut world);
    assert_eq!((homes(&plan, "shop/known").len(), homes(&plan, "shop/cache").len()), (1, 1));
    let told = planned(&plan, "unknown").problem.unwrap();
    assert!(told.contains("NAAAAAAA trusts nobody who has signed sha256:"), "{told}");
    // A host that asks for nothing takes it.
    world.hosts.get_mut(&host(1)).unwrap().trusts.clear();
    assert_eq!(homes(&settle(&mut world), "shop/unknown"), set([1]));
    // What runs stays when signatures are gone.
    world.signers = Signers::default();
    let before = world.assigned.clone();
    assert_eq!(settle(&mut world).units, before);
}

#[test]
fn listeners_on_one_address_go_together_and_move_together() {
    let web = || spec(Scale::Replicas(1), &[], Some("0.0.0.0:8080"));
    let apps = ["shop", "blog", "wiki"].map(|name| app(name, vec![("web", web())])).to_vec();
    let mut world = world(apps, hosts(&[None, None, None]));
    let first = settle(&mut world);
    let at = homes(&first, "shop/web");
    assert_eq!(at.len(), 1);
    for unit in ["blog/web", "wiki/web"] {
        assert_eq!(homes(&first, unit), at);
    }
    world.hosts.remove(at.first().unwrap());
    let second = plan(&world);
    let new = homes(&second, "shop/web");
    assert!(new.is_disjoint(&at) && new.len() == 1);
    for unit in ["blog/web", "wiki/web"] {
        assert_eq!(homes(&second, unit), new);
    }
}

#[test]
fn a_listener_lets_go_when_its_successor_cannot_start() {
    let address = Some("127.0.0.1:8080");
    let mut world = world(
        vec![app("shop", vec![("web", spec(Scale::Replicas(1), &["a"], address))])],
        hosts(&[Some("a"), Some("b")]),
    );
    settle(&mut world);
    reapply(&mut world, "web", spec(Scale::Replicas(1), &["b"], address));
    let moving = plan(&world);
    follow(&mut world, &moving);
    set_state(&mut world, 1, InstanceState::Starting);
    assert_eq!(homes(&plan(&world), "shop/web"), set([0, 1]));
    // Both hosts are on one machine: the address is in use.
    set_state(&mut world, 1, InstanceState::Failed);
    assert_eq!(homes(&plan(&world), "shop/web"), set([1]));
}

#[test]
fn load_is_spread() {
    let names: Vec<_> = (0..40).map(|at| format!("u{at}")).collect();
    let units = names.iter().map(|name| (name.as_str(), spec(Scale::Replicas(1), &[], None))).collect();
    let world = world(vec![app("shop", units)], hosts(&[None; 5]));
    let plan = plan(&world);
    assert!(plan.units.values().all(|units| units.len() == 8), "{:?}", plan.units.values().map(|u| u.len()));
}

#[test]
fn a_changed_spec_stays_where_it_is() {
    let mut world = world(vec![app("shop", vec![("web", spec(Scale::Replicas(1), &[], None))])], hosts(&[None; 4]));
    let before = settle(&mut world);
    reapply(&mut world, "web", spec(Scale::Replicas(1), &[], Some("127.0.0.1:1")));
    let after = plan(&world);
    assert_eq!(homes(&after, "shop/web"), homes(&before, "shop/web"));
    assert!(after.units.values().flat_map(|units| units.values()).all(|unit| unit.revision == 2));
}

#[test]
fn a_host_that_leaves_keeps_its_units_until_others_have_them_and_gets_no_more() {
    let units = vec![("one", spec(Scale::Replicas(1), &[], None)), ("pinned", spec(Scale::Replicas(1), &["a"], None))];
    let mut world = world(vec![app("shop", units)], hosts(&[Some("a")]));
    settle(&mut world);
    world.hosts.insert(host(1), record(1, Some("b")));
    world.hosts.get_mut(&host(0)).unwrap().leaving = true;
    let moving = plan(&world);
    assert_eq!(homes(&moving, "shop/one"), set([0, 1]), "the new copy is made before the old one goes");
    assert_eq!(planned(&moving, "one").hosts, [host(1)]);
    assert_eq!(homes(&moving, "shop/pinned"), set([0]), "with no host to go to, it goes on");
    settle(&mut world);
    assert_eq!(homes(&plan(&world), "shop/one"), set([1]));
    world.apps.insert("more".parse().unwrap(), app("more", vec![("two", spec(Scale::PerHost, &[], None))]));
    assert_eq!(homes(&plan(&world), "more/two"), set([1]));
}

#[test]
fn what_is_fused_runs_nowhere_by_itself_once_the_whole_serves() {
    let apart =
        vec![("caller", component("shop", &[])), ("middle", component("shop", &[])), ("part", component("shop", &[]))];
    let mut world = world(vec![app("shop", apart)], hosts(&[None, None]));
    let before = settle(&mut world);
    reapply(&mut world, "middle", component("shop", &["part"]));
    reapply(&mut world, "caller", component("shop", &["middle"]));
    let fusing = plan(&world);
    for part in ["middle", "part"] {
        let unit = format!("shop/{part}");
        assert_eq!(homes(&fusing, &unit), homes(&before, &unit), "the old caller still calls it");
        assert_eq!(planned(&fusing, part), PlannedUnit::default());
    }
    follow(&mut world, &fusing);
    let starting = |world: &mut World, state| {
        let caller = "shop/caller".parse().unwrap();
        let instances = world.hosts.values_mut().flat_map(|host| &mut host.instances);
        instances.filter(|instance| instance.unit == caller).for_each(|instance| instance.state = state);
    };
    starting(&mut world, InstanceState::Starting);
    assert_eq!(plan(&world).units, fusing.units, "not yet");
    starting(&mut world, InstanceState::Ready);
    let fused = plan(&world);
    assert!(homes(&fused, "shop/part").is_empty() && homes(&fused, "shop/middle").is_empty());
    assert_eq!(homes(&fused, "shop/caller").len(), 1);
    // Apart again, each runs by itself.
    settle(&mut world);
    reapply(&mut world, "caller", component("shop", &[]));
    reapply(&mut world, "middle", component("shop", &[]));
    assert_eq!(homes(&settle(&mut world), "shop/part").len(), 1);
}
