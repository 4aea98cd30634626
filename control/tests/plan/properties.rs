//! What holds for every plan, tried on generated worlds.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;
use lattice::{
    model::{
        app::{AppRecord, Scale, UnitRecord, UnitSpec},
        inventory::{HostRecord, InstanceState},
    },
    wire::{HostId, UnitId},
};
use lattice_control::{World, plan};
use proptest::{prelude::*, sample::Index};

const ZONES: [Option<&str>; 4] = [Some("a"), Some("b"), Some("c"), None];

fn any_spec() -> impl Strategy<Value = UnitSpec> {
    let scale = prop_oneof![4 => (0..6u32).prop_map(Scale::Replicas), 1 => Just(Scale::PerHost)];
    let zones = prop_oneof![2 => Just(vec![]), 1 => prop::sample::subsequence(vec!["a", "b", "c"], 1..3)];
    let address = prop_oneof![3 => Just(None), 1 => Just(Some("0.0.0.0:80")), 1 => Just(Some("0.0.0.0:81"))];
    (scale, zones, address, 0..4).prop_map(|(scale, zones, address, kind)| match kind {
        0 if address.is_none() => program(spec(scale, &zones, None)),
        _ => spec(scale, &zones, address),
    })
}

fn any_app(name: &'static str) -> impl Strategy<Value = AppRecord> {
    prop::collection::vec(any_spec(), 0..6)
        .prop_map(move |specs| app(name, ["u", "v", "w", "x", "y", "z"].into_iter().zip(specs).collect()))
}

fn any_apps() -> impl Strategy<Value = Vec<AppRecord>> {
    (any_app("one"), any_app("two"), any_app("three")).prop_map(|(a, b, c)| vec![a, b, c])
}

fn any_hosts() -> impl Strategy<Value = BTreeMap<HostId, HostRecord>> {
    prop::collection::vec(prop::sample::select(&ZONES[..]), 0..9).prop_map(|zones| hosts(&zones))
}

/// A world in which nothing runs yet.
fn fresh() -> impl Strategy<Value = World> {
    (any_apps(), any_hosts()).prop_map(|(apps, hosts)| world(apps, hosts))
}

fn settled() -> impl Strategy<Value = World> {
    fresh().prop_map(|mut world| {
        settle(&mut world);
        world
    })
}

/// A world in the middle of things: it was settled with other apps, hosts were lost and fell silent, and what is
/// assigned is in any state.
fn messy() -> impl Strategy<Value = World> {
    let fates = prop::collection::vec(0..6u8, 9);
    let states = prop::collection::vec(0..5u8, 1..40);
    (settled(), any_apps(), fates, states).prop_map(|(mut world, apps, fates, states)| {
        let mut states = states.into_iter().cycle();
        for app in apps {
            let old = world.apps.remove(&app.name).unwrap();
            let specs = app.units.iter().map(|(name, unit)| (name.clone(), unit.spec.clone())).collect();
            let next =
                AppRecord::next(app.name.clone(), Some(&old), String::new(), BTreeMap::new(), specs, BTreeMap::new());
            world.apps.insert(app.name.clone(), next.unwrap_or(old));
        }
        for (at, fate) in fates.into_iter().enumerate() {
            let id = host(at);
            match fate {
                0 => drop(world.hosts.remove(&id)),
                1 if world.hosts.remove(&id).is_some() => drop(world.silent.insert(id)),
                _ => {}
            }
        }
        for instance in world.hosts.values_mut().flat_map(|host| &mut host.instances) {
            instance.state = match states.next().unwrap() {
                0 => InstanceState::Starting,
                1 => InstanceState::Failed,
                2 => InstanceState::Degraded,
                _ => InstanceState::Ready,
            };
        }
        world
    })
}

fn allowed<'w>(world: &'w World, unit: &'w UnitRecord) -> impl Iterator<Item = &'w HostId> {
    let require = &unit.spec.placement().require;
    let fits = move |host: &HostRecord| require.iter().all(|(k, v)| host.labels.get(k).is_some_and(|l| v.contains(l)));
    let runs = |host: &HostRecord| host.programs || unit.spec.program().is_none();
    world.hosts.values().filter(move |host| fits(host) && runs(host)).map(|host| &host.host)
}

fn all_units(world: &World) -> impl Iterator<Item = (UnitId, &UnitRecord)> {
    world.apps.values().flat_map(AppRecord::unit_ids)
}

/// The live hosts on which calls to `unit` are taken, by any revision of it.
fn takers(world: &World, unit: &UnitId) -> BTreeSet<HostId> {
    let takes = |host: &&HostRecord| host.instances.iter().any(|i| i.unit == *unit && i.state.takes_calls());
    world.hosts.values().filter(takes).map(|host| host.host.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_fresh_plan_puts_the_right_number_on_allowed_hosts(world in fresh()) {
        let plan = plan(&world);
        for (id, unit) in all_units(&world) {
            let may: BTreeSet<_> = allowed(&world, unit).cloned().collect();
            let on = homes(&plan, &id.to_string());
            let many = match unit.spec.scale() {
                Scale::Replicas(n) => may.len().min(n as usize),
                Scale::PerHost => may.len(),
            };
            prop_assert!(on.is_subset(&may), "{id} on {on:?}");
            prop_assert_eq!(on.len(), many);
            let planned = &plan.reports[&id.app].units[&id.unit];
            prop_assert_eq!(&planned.hosts, &on.into_iter().collect::<Vec<_>>());
            let nowhere = many == 0 && unit.spec.scale() != Scale::Replicas(0);
            prop_assert_eq!(planned.problem.is_some(), nowhere);
            prop_assert_eq!(planned.wanted as usize > many, nowhere);
        }
    }

    #[test]
    fn a_plan_that_is_followed_does_not_change(world in messy()) {
        let first = plan(&world);
        let mut next = world.clone();
        next.assigned = first.units.clone();
        prop_assert_eq!(plan(&next), first);
    }

    #[test]
    fn everything_settles_on_exactly_the_reported_hosts(mut world in messy()) {
        world.silent.clear();
        let plan = settle(&mut world);
        let mut reported = BTreeSet::new();
        let mut unplaced = BTreeSet::new();
        for (app, report) in &plan.reports {
            for (name, planned) in &report.units {
                let unit = UnitId::new(app.clone(), name.clone());
                reported.extend(planned.hosts.iter().map(|host| (host.clone(), unit.clone())));
                if planned.problem.is_some() {
                    unplaced.insert(unit);
                }
            }
        }
        // Only what has nowhere to go may stay where it is not wanted.
        let found: BTreeSet<_> = pairs(&plan).into_iter().filter(|(_, unit)| !unplaced.contains(unit)).collect();
        prop_assert_eq!(found, reported);
        for (id, unit) in all_units(&world) {
            let may: BTreeSet<_> = allowed(&world, unit).cloned().collect();
            prop_assert!(unplaced.contains(&id) || homes(&plan, &id.to_string()).is_subset(&may));
        }
    }

    #[test]
    fn every_planned_copy_is_assigned_at_the_newest_revision(world in messy()) {
        let plan = plan(&world);
        prop_assert_eq!(plan.reports.keys().collect::<Vec<_>>(), world.apps.keys().collect::<Vec<_>>());
        for (id, unit) in all_units(&world) {
            for host in &plan.reports[&id.app].units[&id.unit].hosts {
                prop_assert_eq!(&plan.units[host][&id], unit);
            }
        }
        let known: BTreeSet<_> = all_units(&world).map(|(id, _)| id).collect();
        for (host, unit) in pairs(&plan) {
            prop_assert!(known.contains(&unit), "{unit} is not wanted");
            prop_assert!(world.hosts.contains_key(&host) || world.silent.contains(&host), "{host} is lost");
            let before = world.assigned.get(&host).is_some_and(|units| units.contains_key(&unit));
            prop_assert!(before || !world.silent.contains(&host), "a silent host gets {unit}");
            let planned = &plan.reports[&unit.app].units[&unit.unit];
            prop_assert!(before || planned.hosts.contains(&host));
        }
        for host in world.assigned.keys().filter(|h| !world.hosts.contains_key(*h) && !world.silent.contains(*h)) {
            prop_assert!(plan.units[host].is_empty());
        }
    }

    #[test]
    fn what_takes_calls_goes_on_until_others_do(world in messy()) {
        let plan = plan(&world);
        for (id, unit) in all_units(&world) {
            let takers = takers(&world, &id);
            let moves = takers.is_empty() || unit.spec.scale() == Scale::Replicas(0) || unit.spec.listens_on().is_some();
            // A host that was lost and is not in the inventories cannot take calls; the others go on.
            prop_assert!(moves || homes(&plan, &id.to_string()).intersection(&takers).next().is_some(), "{id} stops");
        }
    }

    #[test]
    fn a_new_host_takes_only_what_is_short(world in settled(), zone in prop::sample::select(&ZONES[..])) {
        let before = plan(&world);
        let mut grown = world.clone();
        let new = record(world.hosts.len(), zone);
        grown.hosts.insert(new.host.clone(), new.clone());
        let after = plan(&grown);
        prop_assert!(pairs(&before).is_subset(&pairs(&after)), "a unit moved");
        for unit in after.units[&new.host].keys() {
            let record = &grown.apps[&unit.app].units[&unit.unit];
            let had = homes(&before, &unit.to_string()).len();
            match record.spec.scale() {
                Scale::Replicas(n) => prop_assert!(had < n as usize),
                Scale::PerHost => {}
            }
        }
    }

    #[test]
    fn losing_a_host_moves_only_its_units(world in settled(), which in any::<Index>()) {
        prop_assume!(!world.hosts.is_empty());
        let before = plan(&world);
        let lost = world.hosts.keys().nth(which.index(world.hosts.len())).unwrap().clone();
        let mut shrunk = world.clone();
        shrunk.hosts.remove(&lost);
        let after = plan(&shrunk);
        let (before_pairs, after_pairs) = (pairs(&before), pairs(&after));
        for (host, unit) in &before_pairs {
            prop_assert!(*host == lost || after_pairs.contains(&(host.clone(), unit.clone())), "{unit} left {host}");
        }
        for (_, unit) in after_pairs.difference(&before_pairs) {
            prop_assert!(before.units[&lost].contains_key(unit), "{unit} was not there");
        }
        prop_assert!(after.units[&lost].is_empty());
    }

    #[test]
    fn silence_moves_nothing(world in settled(), silent in prop::collection::vec(any::<bool>(), 9)) {
        let before = plan(&world);
        let mut quiet = world.clone();
        for id in world.hosts.keys().zip(silent).filter(|(_, silent)| *silent).map(|(id, _)| id) {
            quiet.hosts.remove(id);
            quiet.silent.insert(id.clone());
        }
        prop_assert_eq!(plan(&quiet).units, before.units);
    }

    #[test]
    fn an_app_that_cannot_be_read_goes_on(world in settled(), which in any::<Index>()) {
        let before = plan(&world);
        let app = world.apps.keys().nth(which.index(world.apps.len())).unwrap().clone();
        let mut blind = world.clone();
        blind.apps.remove(&app);
        blind.unreadable.insert(app.clone());
        let after = plan(&blind);
        prop_assert_eq!(after.units, before.units);
        prop_assert!(!after.reports.contains_key(&app));
    }

    #[test]
    fn the_order_of_lists_means_nothing(world in messy()) {
        let mut other = world.clone();
        other.hosts.values_mut().for_each(|host| host.instances.reverse());
        for unit in other.apps.values_mut().flat_map(|app| app.units.values_mut()) {
            let UnitSpec::Provider(provider) = &mut unit.spec else { continue };
            provider.placement.require.values_mut().for_each(|zones| zones.reverse());
        }
        let (a, b) = (plan(&world), plan(&other));
        prop_assert_eq!(pairs(&a), pairs(&b));
        let hosts = |plan: &lattice_control::Plan| -> Vec<_> {
            plan.reports.values().flat_map(|r| r.units.values().map(|u| (u.wanted, u.hosts.clone()))).collect()
        };
        prop_assert_eq!(hosts(&a), hosts(&b));
    }
}
