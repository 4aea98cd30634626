//! Apps that may have so much and no more.

use lattice::{
    model::{app::Scale, quota::Quota},
    wire::UnitName,
};
use lattice_control::{World, explain, plan};

use crate::common::*;

fn with_quota(quota: Quota) -> World {
    let units = vec![("a", spec(Scale::Replicas(3), &[], None)), ("b", spec(Scale::Replicas(3), &[], None))];
    let other = vec![("c", spec(Scale::PerHost, &[], None))];
    let mut world = world(vec![app("shop", units), app("blog", other)], hosts(&[None; 4]));
    world.quotas.insert("shop".to_owned(), quota);
    world
}

fn copies(world: &World, app: &str) -> usize {
    plan(world).units.values().flatten().filter(|(unit, _)| unit.app.as_str() == app).count()
}

#[test]
fn an_app_gets_what_its_quota_allows_and_is_told_what_it_lacks() {
    let mut world = with_quota(Quota { copies: Some(4), ..Quota::default() });
    settle(&mut world);
    assert_eq!((copies(&world, "shop"), copies(&world, "blog")), (4, 4));
    let planned = &plan(&world).reports[&"shop".parse().unwrap()];
    let unit = |name: &str| &planned.units[&name.parse::<UnitName>().unwrap()];
    assert_eq!((unit("a").wanted, unit("a").problem.as_deref()), (3, None));
    let problem = unit("b").problem.as_deref();
    assert_eq!(problem, Some("1 of 3 copies have a place: the app's quota of 4 copies is used up"));
    let explained = explain(&world, |unit| unit.unit.as_str() == "b");
    assert_eq!(explained.values().next().unwrap().planned.problem.as_deref(), problem);
    // More is given at once, and what is there stays when it is lowered.
    world.quotas.insert("shop".to_owned(), Quota { copies: Some(6), ..Quota::default() });
    settle(&mut world);
    assert_eq!(copies(&world, "shop"), 6);
    world.quotas.insert("shop".to_owned(), Quota { copies: Some(1), ..Quota::default() });
    settle(&mut world);
    assert_eq!(copies(&world, "shop"), 6);
}

#[test]
fn without_one_of_its_own_it_has_the_one_of_all() {
    let mut world = with_quota(Quota::default());
    world.quotas.insert(Quota::DEFAULT.to_owned(), Quota { copies: Some(2), ..Quota::default() });
    settle(&mut world);
    assert_eq!((copies(&world, "shop"), copies(&world, "blog")), (6, 2), "its own has no bound");
}
