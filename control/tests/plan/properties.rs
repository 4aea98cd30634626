//! What holds for every plan, tried on generated worlds.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::*;
use lattice::{
    model::{
        app::{AppRecord, Follow, Scale, UnitRecord, UnitSpec},
        inventory::{HostRecord, InstanceState},
        placement::{Capacity, Spread},
    },
    wire::{HostId, UnitId},
};
use lattice_control::{Reason, World, explain, plan};
use proptest::{prelude::*, sample::Index};

const ZONES: [Option<&str>; 4] = [Some("a"), Some("b"), Some("c"), None];

fn any_spec() -> impl Strategy<Value = UnitSpec> {
    let exactly = |n| Scale::Follow(Follow { min: n, max: n, in_flight: 1, window_ms: 1 });
    let scale = prop_oneof![
        4 => (0..6u32).prop_map(Scale::Replicas),
        1 => (1..6u32).prop_map(exactly),
        1 => Just(Scale::PerHost)
    ];
    let zones = prop_oneof![2 => Just(vec![]), 1 => prop::sample::subsequence(vec!["a", "b", "c"], 1..3)];
    let address = prop_oneof![3 => Just(None), 1 => Just(Some("0.0.0.0:80")), 1 => Just(Some("0.0.0.0:81"))];
    (scale, zones, address, 0..4).prop_map(|(scale, zones, address, kind)| match kind {
        0 if address.is_none() => program(spec(scale, &zones, None)),
        _ => spec(scale, &zones, address),
    })
}

/// A spec that asks for more than labels of its hosts.
fn demanding_spec() -> impl Strategy<Value = UnitSpec> {
    let zones = || prop::sample::subsequence(vec!["a", "b", "c"], 0..3);
    let skew = prop_oneof![2 => Just(None), 1 => Just(Some(None)), 2 => (1..3u32).prop_map(|most| Some(Some(most)))];
    let apart = prop::sample::subsequence(vec!["one/u", "one/v", "two/u", "three/w"], 0..3);
    (any_spec(), zones(), skew, apart, any::<bool>(), 0..4u64).prop_map(
        |(mut spec, zones, skew, apart, tolerates, memory)| {
            let UnitSpec::Provider(provider) = &mut spec else { return spec };
            let placement = &mut provider.placement;
            if !zones.is_empty() {
                placement.prefer = [("zone".to_owned(), zones.into_iter().map(str::to_owned).collect())].into();
            }
            placement.spread = skew.map(|max_skew| Spread { label: "zone".into(), max_skew });
            placement.apart = apart.into_iter().map(|unit| unit.parse().unwrap()).collect();
            placement.tolerate.extend(tolerates.then(|| "gpu".to_owned()));
            provider.limits.memory_bytes = Some(memory);
            spec
        },
    )
}

fn any_app(name: &'static str) -> impl Strategy<Value = AppRecord> {
    app_of(name, any_spec())
}

fn app_of(name: &'static str, spec: impl Strategy<Value = UnitSpec>) -> impl Strategy<Value = AppRecord> {
    prop::collection::vec(spec, 0..6)
        .prop_map(move |specs| app(name, ["u", "v", "w", "x", "y", "z"].into_iter().zip(specs).collect()))
}

fn any_apps() -> impl Strategy<Value = Vec<AppRecord>> {
    (any_app("one"), any_app("two"), any_app("three")).prop_map(|(a, b, c)| vec![a, b, c])
}

fn any_hosts() -> impl Strategy<Value = BTreeMap<HostId, HostRecord>> {
    prop::collection::vec(prop::sample::select(&ZONES[..]), 0..9).prop_map(|zones| hosts(&zones))
}

fn demanding_apps() -> impl Strategy<Value = Vec<AppRecord>> {
    let app = |name| app_of(name, demanding_spec());
    (app("one"), app("two"), app("three")).prop_map(|(a, b, c)| vec![a, b, c])
}

/// Hosts with little room, with taints, and some to which nothing shall go.
fn narrow_hosts() -> impl Strategy<Value = BTreeMap<HostId, HostRecord>> {
    let room = || (prop::option::of(0..6u64), prop::option::of(0..10u64), 0..6u8);
    (any_hosts(), prop::collection::vec(room(), 9)).prop_map(|(mut hosts, rooms)| {
        for (host, (units, memory_bytes, kind)) in hosts.values_mut().zip(rooms) {
            host.capacity = Capacity { units, memory_bytes, concurrency: None };
            match kind {
                0 => host.cordon = Some("disk".to_owned()),
                1 => drop(host.taints.insert("gpu".to_owned())),
                _ => {}
            }
        }
        hosts
    })
}

/// A world with more rules, in which nothing runs yet.
fn narrow() -> impl Strategy<Value = World> {
    (demanding_apps(), narrow_hosts()).prop_map(|(apps, hosts)| world(apps, hosts))
}

/// A world in which nothing runs yet.
fn fresh() -> impl Strategy<Value = World> {
    (any_apps(), any_hosts()).prop_map(|(apps, hosts)| world(apps, hosts))
}

fn settled() -> impl Strategy<Value = World> {
    settle_all(fresh())
}

fn settle_all(worlds: impl Strategy<Value = World>) -> impl Strategy<Value = World> {
    worlds.prop_map(|mut world| {
        settle(&mut world);
        world
    })
}

/// A world in the middle of things: it was settled with other apps, hosts were lost and fell silent, and what is
/// assigned is in any state.
fn messy() -> impl Strategy<Value = World> {
    let fates = prop::collection::vec(0..6u8, 9);
    let states = prop::collection::vec(0..5u8, 1..40);
    let settled = prop_oneof![settled(), settle_all(narrow())];
    let apps = prop_oneof![any_apps(), demanding_apps()];
    (settled, apps, fates, states).prop_map(|(mut world, apps, fates, states)| {
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
                1 => drop(world.hosts.remove(&id).map(|host| world.silent.insert(id, host.labels))),
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

fn takes(host: &HostRecord, unit: &UnitRecord) -> bool {
    let tolerated = &unit.spec.placement().tolerate;
    host.cordon.is_none() && host.taints.iter().all(|taint| tolerated.contains(taint))
}

/// The hosts that may be given copies of `unit`, if they have room.
fn takers_of<'w>(world: &'w World, unit: &'w UnitRecord) -> impl Iterator<Item = &'w HostRecord> {
    allowed(world, unit).map(|host| &world.hosts[host]).filter(|host| takes(host, unit))
}

/// What the units of a host ask for, and whether that is more than it has.
fn is_crowded(world: &World, host: &HostRecord, units: &BTreeSet<UnitId>) -> bool {
    let record = |unit: &UnitId| &world.apps[&unit.app].units[&unit.unit];
    let memory: u64 = units.iter().map(|unit| record(unit).spec.demand().memory_bytes).sum();
    let beside = |unit: &UnitId| {
        let mut apart = record(unit).spec.placement().apart.iter();
        apart.any(|other| other != unit && units.contains(other))
    };
    host.capacity.units.is_some_and(|most| units.len() as u64 > most)
        || host.capacity.memory_bytes.is_some_and(|most| memory > most)
        || units.iter().any(beside)
}

/// How uneven `on` is over the zones in which the unit may be.
fn skew(world: &World, unit: &UnitRecord, on: &BTreeSet<HostId>) -> u64 {
    let zone = |host: &HostRecord| host.labels.get("zone").cloned().unwrap_or_default();
    let mut counts: BTreeMap<_, u64> = takers_of(world, unit).map(|host| (zone(host), 0)).collect();
    on.iter().for_each(|host| *counts.entry(zone(&world.hosts[host])).or_default() += 1);
    counts.values().max().unwrap_or(&0) - counts.values().min().unwrap_or(&0)
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
                Scale::Replicas(n) | Scale::Follow(Follow { max: n, .. }) => may.len().min(n as usize),
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
    fn rules_hold_for_what_is_placed(world in narrow()) {
        let plan = plan(&world);
        for (host, units) in &plan.units {
            let host = &world.hosts[host];
            prop_assert!(!is_crowded(&world, host, &units.keys().cloned().collect()), "{}", host.host);
            prop_assert!(units.values().all(|unit| takes(host, unit)), "{} is cordoned or tainted", host.host);
        }
        for (id, unit) in all_units(&world) {
            let on = homes(&plan, &id.to_string());
            let planned = &plan.reports[&id.app].units[&id.unit];
            prop_assert_eq!(planned.problem.is_some(), planned.wanted as usize > on.len());
            let possible = takers_of(&world, unit).count();
            let wanted = match unit.spec.scale() {
                Scale::Replicas(n) | Scale::Follow(Follow { max: n, .. }) if on.is_empty() => n as usize,
                Scale::PerHost if on.is_empty() => 1,
                Scale::Replicas(n) | Scale::Follow(Follow { max: n, .. }) => possible.min(n as usize),
                Scale::PerHost => possible,
            };
            prop_assert_eq!(planned.wanted as usize, wanted);
            if let Some(most) = unit.spec.placement().spread.as_ref().and_then(|spread| spread.max_skew) {
                prop_assert!(skew(&world, unit, &on) <= u64::from(most), "{id} on {on:?}");
            }
        }
    }

    #[test]
    fn spreading_is_as_even_as_it_can_be(world in fresh(), unit in any::<Index>()) {
        let mut world = world;
        let specs = world.apps.values_mut().flat_map(|app| app.units.values_mut()).map(|unit| &mut unit.spec);
        for spec in specs {
            let UnitSpec::Provider(provider) = spec else { continue };
            provider.placement.spread = Some(Spread { label: "zone".into(), max_skew: None });
        }
        let plan = plan(&world);
        let all: Vec<_> = all_units(&world).filter(|(_, unit)| unit.spec.listens_on().is_none()).collect();
        prop_assume!(!all.is_empty());
        let (id, unit) = &all[unit.index(all.len())];
        let on = homes(&plan, &id.to_string());
        let zone = |host: &HostRecord| host.labels.get("zone").cloned().unwrap_or_default();
        let in_zone = |name: &str| on.iter().filter(|host| zone(&world.hosts[*host]) == name).count();
        for free in takers_of(&world, unit).filter(|host| !on.contains(&host.host)) {
            let fullest = on.iter().map(|host| in_zone(&zone(&world.hosts[host]))).max().unwrap_or(0);
            prop_assert!(in_zone(&zone(free)) + 1 >= fullest, "{} would be better", free.host);
        }
    }

    #[test]
    fn hosts_that_shrink_are_relieved_where_there_is_room(mut world in settle_all(narrow()), roomy in any::<bool>()) {
        if roomy {
            let new = record(world.hosts.len(), None);
            world.hosts.insert(new.host.clone(), HostRecord { programs: true, ..new });
        }
        for host in world.hosts.values_mut().filter(|host| host.capacity.units.is_some()) {
            host.capacity.units = Some(1);
        }
        let plan = settle(&mut world);
        for host in world.hosts.values() {
            let units: BTreeSet<_> = plan.units[&host.host].keys().cloned().collect();
            if !is_crowded(&world, host, &units) {
                continue;
            }
            // Somebody has to stay because no other host takes it, or because it would be too uneven without it.
            let stuck = units.iter().any(|unit| {
                let spread = &world.apps[&unit.app].units[&unit.unit].spec.placement().spread;
                if spread.as_ref().is_some_and(|spread| spread.max_skew.is_some()) {
                    return true;
                }
                let reasons = explain(&world, |other| other == unit).remove(unit).unwrap().hosts;
                reasons.iter().all(|(_, reason)| !matches!(reason, Reason::Enough | Reason::Placed))
            });
            prop_assert!(stuck, "{} keeps {units:?}", host.host);
        }
    }

    #[test]
    fn the_explanation_is_that_of_the_plan(world in messy()) {
        let plan = plan(&world);
        let mut all = explain(&world, |_| true);
        for (id, _) in all_units(&world) {
            let explained = all.remove(&id).unwrap();
            prop_assert_eq!(&explained.planned, &plan.reports[&id.app].units[&id.unit]);
            let fewer = explained.planned.wanted as usize > explained.planned.hosts.len();
            for (host, reason) in &explained.hosts {
                let runs = plan.units[host].contains_key(&id);
                let says = match reason {
                    Reason::Stays | Reason::Placed | Reason::LeavesLater(_) => true,
                    Reason::Silent { runs } => *runs,
                    Reason::Refused(_) | Reason::Enough => false,
                };
                prop_assert_eq!(runs, says, "{} on {}: {:?}", id, host, reason);
                prop_assert!(!fewer || *reason != Reason::Enough, "{} would have room for {}", host, id);
            }
        }
        prop_assert!(explain(&world, |unit| unit.app.as_str() == "none").is_empty());
    }

    #[test]
    fn a_plan_that_is_followed_does_not_change(world in messy()) {
        let first = plan(&world);
        let mut next = world.clone();
        assign(&mut next, &first);
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
        // Only what has not enough places to go to may stay where it is not wanted.
        let found: BTreeSet<_> = pairs(&plan).into_iter().filter(|(host, _)| world.hosts.contains_key(host)).collect();
        prop_assert!(reported.is_subset(&found));
        prop_assert!(found.difference(&reported).all(|(_, unit)| unplaced.contains(unit)));
        for (id, unit) in all_units(&world) {
            let may: BTreeSet<_> = allowed(&world, unit).cloned().collect();
            let planned = &plan.reports[&id.app].units[&id.unit].hosts;
            prop_assert!(unplaced.contains(&id) || planned.iter().all(|host| may.contains(host)));
        }
    }

    #[test]
    fn every_planned_copy_is_assigned_at_the_newest_revision_or_waits_for_its_turn(world in messy()) {
        let plan = plan(&world);
        prop_assert_eq!(plan.reports.keys().collect::<Vec<_>>(), world.apps.keys().collect::<Vec<_>>());
        for (id, unit) in all_units(&world) {
            for host in &plan.reports[&id.app].units[&id.unit].hosts {
                let given = &plan.units[host][&id];
                let there = world.assigned.values().any(|units| units.get(&id) == Some(given));
                prop_assert!(given == unit || (given.revision != unit.revision && there), "{given:?} for {unit:?}");
            }
        }
        let known: BTreeSet<_> = all_units(&world).map(|(id, _)| id).collect();
        for (host, unit) in pairs(&plan) {
            prop_assert!(known.contains(&unit), "{unit} is not wanted");
            let before = world.assigned.get(&host).is_some_and(|units| units.contains_key(&unit));
            prop_assert!(before || !world.silent.contains_key(&host), "a silent host gets {unit}");
            let planned = &plan.reports[&unit.app].units[&unit.unit];
            prop_assert!(before || planned.hosts.contains(&host));
        }
        for host in world.assigned.keys().filter(|h| !world.hosts.contains_key(*h) && !world.silent.contains_key(*h)) {
            for unit in plan.units[host].keys() {
                let planned = &plan.reports[&unit.app].units[&unit.unit];
                let enough = match world.apps[&unit.app].units[&unit.unit].spec.scale() {
                    Scale::Replicas(n) | Scale::Follow(Follow { max: n, .. }) => planned.hosts.len() >= n as usize,
                    Scale::PerHost => false,
                };
                prop_assert!(!enough, "{host} is lost and keeps {unit}, of which there is enough");
            }
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
                Scale::Replicas(n) | Scale::Follow(Follow { max: n, .. }) => prop_assert!(had < n as usize),
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
        // Back again, it goes on with what it had, as far as nobody else has it.
        let mut back = world.clone();
        assign(&mut back, &after);
        let returned = plan(&back);
        for (unit, record) in &after.units[&lost] {
            prop_assert_eq!(returned.units[&lost].get(unit), Some(record));
        }
    }

    #[test]
    fn silence_moves_nothing(world in settled(), silent in prop::collection::vec(any::<bool>(), 9)) {
        let before = plan(&world);
        let mut quiet = world.clone();
        for id in world.hosts.keys().zip(silent).filter(|(_, silent)| *silent).map(|(id, _)| id) {
            let host = quiet.hosts.remove(id).unwrap();
            quiet.silent.insert(id.clone(), host.labels);
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
