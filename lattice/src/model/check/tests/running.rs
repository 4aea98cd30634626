//! `replicas:`, `rollout:` and `health:`: how many copies there are, how they change, and whether they are well.

use super::*;
use crate::model::{
    app::{Follow, Scale, UnitSpec},
    health::Probe,
    rollout::{OnFailure, Portion},
    shape::{FunctionShape, InterfaceShape},
};

fn with(more: &str) -> String {
    let replicas = if more.starts_with("replicas") { "" } else { "      replicas: 2\n" };
    GOOD.replace("      replicas: 2\n", &format!("{replicas}      {more}\n"))
}

/// The component, which exports `acme:cart/health` as well.
fn checked(more: &str) -> Result<ComponentSpec, Vec<String>> {
    let mut facts = facts();
    let cart = facts.get_mut("cart").unwrap();
    let function = |signature: &str| FunctionShape { signature: signature.to_owned(), ..FunctionShape::default() };
    let functions = BTreeMap::from([
        ("check".to_owned(), function("func() -> result<_, string>")),
        ("deep".to_owned(), function("func(level: u8)")),
    ]);
    cart.export_shapes.insert("acme:cart/health@1.0.0".parse().unwrap(), InterfaceShape { functions });
    let source = with(more);
    let manifest = parse(&source).map_err(|problem| vec![show(&problem)])?;
    let app = check(&manifest, &facts, []).map_err(|problems| problems.iter().map(show).collect::<Vec<_>>())?;
    let cart: UnitName = "cart".parse().unwrap();
    match &app.units[&cart] {
        UnitSpec::Component(component) => Ok(component.clone()),
        UnitSpec::Provider(_) => panic!("cart is a component"),
    }
}

#[test]
fn a_rollout_has_defaults_and_all_of_it_can_be_said() {
    assert!(checked("rollout: {}").unwrap().rollout.is_default());
    let said = checked(
        "rollout: { maxSurge: 2, maxUnavailable: 10%, minReady: 15s, deadline: 2m, maxErrors: 5%, onFailure: rollback }",
    );
    let said = said.unwrap().rollout;
    assert_eq!((said.max_surge, said.max_unavailable), (Portion::Copies(2), Portion::Percent(10)));
    assert_eq!((said.min_ready_ms, said.deadline_ms, said.max_errors), (15_000, 120_000, 5));
    assert_eq!(said.on_failure, OnFailure::Rollback);
    assert!(checked("rollout: { maxUnavailable: 1 }").unwrap().rollout.is_in_place());
}

#[test]
fn a_rollout_that_cannot_be_is_refused() {
    for (more, problem) in [
        (
            "rollout: { maxSurge: 0 }",
            "10:28: with no surge and nothing unavailable no copy could ever change / allow one of them",
        ),
        (
            "rollout: { maxSurge: 120% }",
            "10:28: this is neither a number of copies nor a part of them / write a whole number",
        ),
        ("rollout: { maxSurge: lots }", "10:28: this is neither a number of copies"),
        ("rollout: { maxErrors: 5 }", "10:29: `5` is no percentage / write a whole one"),
        ("rollout: { minReady: soon }", "10:28: `soon` is not a time"),
        (
            "rollout: { minReady: 1m, deadline: 1m }",
            "10:42: the deadline is over before a copy has been ready for `minReady`",
        ),
        ("rollout: { onFailure: panic }", "10:29: unknown value `panic` / "),
        ("rollout: { minRaedy: 1s }", "10:18: unknown key `minRaedy` / did you mean `minReady`?"),
    ] {
        let found = checked(more).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with(problem), "{more}: {found:#?}");
    }
}

#[test]
fn a_component_is_asked_by_a_path_or_by_a_function() {
    let health = checked("health: { path: /healthz, every: 1s }").unwrap().health.unwrap();
    assert_eq!((health.probe, health.every_ms, health.timeout_ms), (Probe::Path("/healthz".into()), 1000, 1000));
    // The version is the one that it has.
    let health = checked("health: { call: acme:cart/health.check, timeout: 200ms }").unwrap().health.unwrap();
    assert_eq!((health.probe.to_string().as_str(), health.timeout_ms), ("acme:cart/health@1.0.0.check", 200));
}

#[test]
fn a_question_that_it_cannot_answer_is_refused() {
    for (more, problem) in [
        ("health: { path: healthz }", "10:23: `healthz` is no path / write `path: /healthz`"),
        ("health: { path: /a, call: acme:cart/health.check }", "10:23: `cart` is asked in two ways / keep"),
        ("health: {}", "7:5: `cart` is not asked anything / write"),
        ("health: { call: check }", "10:23: `check` names no function"),
        (
            "health: { call: acme:cart/haelth.check }",
            "10:23: the component exports no interface acme:cart/haelth / known are `acme:cart/health@1.0.0`",
        ),
        (
            "health: { call: acme:cart/health.chekc }",
            "10:23: acme:cart/health@1.0.0 has no function `chekc` / did you mean `check`?",
        ),
        ("health: { call: acme:cart/health.deep }", "10:23: `deep` takes parameters: func(level: u8)"),
    ] {
        let found = checked(more).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with(problem), "{more}: {found:#?}");
    }
}

#[test]
fn copies_follow_the_load_within_bounds() {
    let scale = |more: &str| checked(&format!("replicas: {{ {more} }}")).unwrap().scale;
    let follow = Follow { min: 1, max: 10, in_flight: 20, window_ms: 60_000 };
    assert_eq!(scale("max: 10, inFlight: 20"), Scale::Follow(follow));
    let sleeps = scale("min: 0, max: 10, inFlight: 20, window: 5m");
    assert_eq!(sleeps, Scale::Follow(Follow { min: 0, window_ms: 300_000, ..follow }));
    assert!(sleeps.may_sleep());
    assert_eq!([0, 1, 19_999, 20_000, 20_001, u64::MAX].map(|load| follow.needs(load)), [1, 1, 1, 1, 2, 10]);
    for (more, problem) in [
        ("replicas: { max: 10 }", "9:19: `inFlight` is missing / add `inFlight:` here"),
        ("replicas: { max: 10, inFlight: 0 }", "9:38: a copy for 0 calls"),
        ("replicas: { min: 3, max: 2, inFlight: 1 }", "9:32: at most 2 copies, and at least 3"),
        ("replicas: { min: 0, max: 0, inFlight: 1 }", "9:32: at most 0 copies"),
        ("replicas: { max: 10001, inFlight: 1 }", "9:24: 10001 replicas / 10000 is the most"),
        ("replicas: { max: 2, inFlight: 1, window: 0s }", "9:48: `0s` is not a time"),
        ("replicas: { maxx: 2, inFlight: 1 }", "9:19: unknown key `maxx` / did you mean `max`?"),
        ("replicas: many", "9:17: `many` is no number of copies / write a whole number"),
        ("replicas: -1", "9:17: `-1` is no number of copies"),
        ("replicas: 1.5", "9:17: `1.5` is no number of copies"),
        ("replicas: 10001", "9:17: 10001 replicas / 10000 is the most"),
    ] {
        let found = checked(more).unwrap_err();
        assert!(found.len() == 1 && found[0].starts_with(problem), "{more}: {found:#?}");
    }
}
