//! Units whose number of copies follows their load.

use lattice::{
    model::app::{Follow, Scale},
    wire::UnitId,
};
use lattice_control::{World, plan};

use crate::common::*;

fn cache() -> UnitId {
    "shop/cache".parse().unwrap()
}

fn following(min: u32, max: u32) -> World {
    let scale = Scale::Follow(Follow { min, max, in_flight: 10, window_ms: 60_000 });
    world(vec![app("shop", vec![("cache", spec(scale, &[], None))])], hosts(&[None; 6]))
}

/// How many copies there are when there shall be as many, and everything has settled.
fn copies(world: &mut World, scale: u32) -> usize {
    world.scales.insert(cache(), scale);
    homes(&settle(world), "shop/cache").len()
}

#[test]
fn there_are_as_many_as_the_load_needs_within_bounds() {
    let mut world = following(1, 4);
    assert_eq!([2, 4, 9, 3, 0].map(|scale| copies(&mut world, scale)), [2, 4, 4, 3, 1]);
}

#[test]
fn those_that_stay_do_not_move() {
    let mut world = following(0, 6);
    assert_eq!(copies(&mut world, 5), 5);
    let five = homes(&plan(&world), "shop/cache");
    assert_eq!(copies(&mut world, 2), 2);
    let two = homes(&plan(&world), "shop/cache");
    assert!(two.is_subset(&five));
    assert_eq!(copies(&mut world, 4), 4);
    assert!(two.is_subset(&homes(&plan(&world), "shop/cache")));
}

#[test]
fn without_a_word_of_the_load_there_are_as_many_as_before() {
    let mut world = following(0, 6);
    let new = plan(&world);
    assert_eq!(homes(&new, "shop/cache").len(), 1, "a new unit is tried");
    assert_eq!(copies(&mut world, 3), 3);
    world.scales.clear();
    assert_eq!(homes(&plan(&world), "shop/cache").len(), 3);
}

#[test]
fn what_sleeps_is_as_it_should_be() {
    let mut world = following(0, 6);
    assert_eq!(copies(&mut world, 1), 1);
    assert_eq!(copies(&mut world, 0), 0);
    let planned = &plan(&world).reports[&cache().app];
    assert_eq!(planned.units[&cache().unit].problem, None);
    assert_eq!(planned.rollout.as_ref().unwrap().complete, 1, "it has run");
    assert_eq!(copies(&mut world, 1), 1);
}
