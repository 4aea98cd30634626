//! Versions beside each other: what a release has written is understood by the next one, and the other way round.
//!
//! `records/<release>.json` has values of every table as a release wrote them, and stays as it is: a change of a record must go on reading
//! them. A new release adds a file of its own, which `LATTICE_RECORD=1 cargo test -p lattice --test skew` writes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use lattice::{
    model::{
        app::{AppRecord, ComponentSpec, LinkSpec, LinkTarget, ProviderSpec, Scale, UnitRecord, UnitSpec},
        assignment::{Assignment, ControlReport, Holding, Lease, PlanReport, PlannedUnit},
        health::{HealthSpec, Probe},
        inventory::{Beat, Faults, HostRecord, InstanceReport, InstanceState},
        orders::HostOrders,
        placement::{Capacity, Offline, Spread},
        rollout::{RolloutFailure, RolloutReport},
        scale::{Follow, Load},
        schedule::Tick,
        secret::{SealedSecret, SecretSource},
        signature::Signature,
    },
    wire::{Digest, HostId},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Reads and writes one kind of value again.
type Again = fn(&Value) -> Result<Value, String>;

fn again<T: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_value(value.clone()).map_err(|error| error.to_string())?;
    serde_json::to_value(read).map_err(|error| error.to_string())
}

/// Every table of the store.
const TABLES: [(&str, Again); 12] = [
    ("apps", again::<AppRecord>),
    ("history", again::<AppRecord>),
    ("assignments", again::<Assignment>),
    ("hosts", again::<HostRecord>),
    ("beats", again::<Beat>),
    ("plans", again::<PlanReport>),
    ("control", again::<ControlReport>),
    ("leases", again::<Lease>),
    ("orders", again::<HostOrders>),
    ("ticks", again::<Tick>),
    ("secrets", again::<SealedSecret>),
    ("signatures", again::<Signature>),
];

fn host() -> HostId {
    format!("N{}", "A".repeat(55)).parse().unwrap()
}

fn component() -> UnitSpec {
    let mut spec = ComponentSpec::of(Digest::of(b"component"));
    spec.image = "./cart.wasm".into();
    spec.imports = vec!["wasi:keyvalue/store@0.2.0-draft".parse().unwrap()];
    spec.exports = vec!["wasi:http/incoming-handler@0.2.0".parse().unwrap()];
    spec.scale = Scale::Follow(Follow { min: 0, max: 9, in_flight: 20, window_ms: 60_000 });
    spec.placement.require = [("zone".to_owned(), vec!["a".to_owned()])].into();
    spec.placement.spread = Some(Spread { label: "zone".into(), max_skew: Some(1) });
    spec.placement.offline = Offline::Stop;
    spec.rollout.min_ready_ms = 10_000;
    spec.health = Some(HealthSpec { probe: Probe::Path("/healthz".into()), every_ms: 10_000, timeout_ms: 1000 });
    spec.env = [("GREETING".to_owned(), "hello".to_owned())].into();
    spec.config = [("size".to_owned(), "3".to_owned())].into();
    spec.secrets = [("token".to_owned(), SecretSource::Lattice("api".parse().unwrap()))].into();
    spec.links = vec![LinkSpec {
        weight: Some(90),
        deadline_ms: Some(5000),
        idempotent: vec!["get".into()],
        own_names: true,
        ..LinkSpec::new("wasi:keyvalue", "shop/cache".parse().unwrap(), LinkTarget::Capability)
    }];
    UnitSpec::Component(spec)
}

/// A value of every table as this release writes it.
fn records() -> BTreeMap<&'static str, Value> {
    let cache = ProviderSpec {
        config: [("ttl".to_owned(), json!("10m"))].into_iter().collect(),
        ..ProviderSpec::of("keyvalue-redis")
    };
    let units =
        BTreeMap::from([("cart".parse().unwrap(), component()), ("cache".parse().unwrap(), UnitSpec::Provider(cache))]);
    let labels = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
    let app = AppRecord::next("shop".parse().unwrap(), None, "the manifest".into(), labels, units, BTreeMap::new());
    let app = AppRecord { at_ms: 1_700_000_000_000, cause: "apply".into(), ..app.unwrap() };
    let (unit, record): (_, UnitRecord) = app.unit_ids().map(|(id, record)| (id, record.clone())).next().unwrap();
    let mut report = InstanceReport::of(&host(), &unit, &record, InstanceState::Degraded);
    report.reason = Some("its backend is away".into());
    report.faults = Faults { traps: 1, timeouts: 2, refused: 3, errors: 4, calls: 50, last: Some("trap".into()) };
    let inventory = HostRecord {
        release: "0.1.0".into(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        started_ms: 1_700_000_000_000,
        generation: 7,
        term: 3,
        cordon: Some("disk".into()),
        taints: ["gpu".to_owned()].into(),
        capacity: Capacity { units: Some(20), memory_bytes: Some(1 << 30), concurrency: None },
        programs: true,
        trusts: ["ABC".to_owned()].into(),
        instances: vec![report],
        ..HostRecord::of(host())
    };
    let assignment = Assignment {
        version: 1,
        host: host(),
        term: 3,
        generation: 7,
        units: app.unit_ids().map(|(id, record)| (id, record.clone())).collect(),
        given_up: true,
    };
    let planned = PlannedUnit { wanted: 2, hosts: vec![host()], problem: Some("one host is there".into()) };
    let failed = Some(RolloutFailure { unit: "cart".parse().unwrap(), reason: "9 of 10 calls failed".into() });
    let plan = PlanReport {
        version: 1,
        revision: 4,
        units: [("cart".parse().unwrap(), planned)].into(),
        rollout: Some(RolloutReport { complete: 3, failed }),
    };
    let control = ControlReport {
        version: 1,
        term: 3,
        holding: Some(Holding { silent: 3, of: 4, given_up: 1 }),
        lost: [host()].into(),
    };
    let lease = Lease { version: 1, holder: host(), term: 3, renewals: 100 };
    let orders = HostOrders {
        version: 1,
        labels: [("zone".to_owned(), Some("b".to_owned())), ("disk".to_owned(), None)].into(),
        taints: [("gpu".to_owned(), true)].into(),
        cordon: Some("disk".into()),
        drain: true,
        end: Some(1_700_000_000_000),
    };
    let secret = json!({ "version": 1, "recipient": "XAAA", "sender": "XBBB", "sealed": "AAAA" });
    let signature = json!({ "version": 1, "digest": Digest::of(b"component"), "signer": "AAAA", "signature": "AAAA" });
    BTreeMap::from([
        ("apps", json!(app)),
        ("history", json!(app)),
        ("assignments", json!(assignment)),
        ("hosts", json!(inventory)),
        ("beats", json!(Beat { count: 9, load: Load::from([(unit, 1500)]) })),
        ("plans", json!(plan)),
        ("control", json!(control)),
        ("leases", json!(lease)),
        ("orders", json!(orders)),
        ("ticks", json!(Tick { version: 1, at: 1_700_000_000_000, open: true })),
        ("secrets", secret),
        ("signatures", signature),
    ])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records")
}

/// What each release has recorded.
fn recorded() -> BTreeMap<String, BTreeMap<String, Value>> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let read = |file: PathBuf| {
        let records = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        (file.file_stem().unwrap().to_str().unwrap().to_owned(), records)
    };
    files.map(read).collect()
}

/// Whether `value` says all that `before` says: an object may have more fields.
fn has(value: &Value, before: &Value) -> bool {
    match (value, before) {
        (Value::Object(value), Value::Object(before)) => {
            before.iter().all(|(name, before)| value.get(name).is_some_and(|value| has(value, before)))
        }
        (Value::Array(value), Value::Array(before)) => {
            value.len() == before.len() && value.iter().zip(before).all(|(value, before)| has(value, before))
        }
        _ => value == before,
    }
}

#[test]
fn what_releases_have_written_is_read_and_nothing_of_it_is_lost() {
    let all = recorded();
    assert!(!all.is_empty());
    for (release, records) in all {
        for (table, again) in TABLES {
            let Some(before) = records.get(table) else { continue };
            let value = again(before).unwrap_or_else(|error| panic!("{table} of {release}: {error}"));
            assert!(has(&value, before), "{table} of {release}:\n{before:#}\nbecomes\n{value:#}");
        }
    }
}

#[test]
fn this_release_writes_what_it_has_recorded() {
    let release = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap().0;
    let records = records();
    assert!(TABLES.iter().all(|(table, _)| records.contains_key(table)), "each table has a sample");
    let file = folder().join(format!("{release}.json"));
    if std::env::var_os("LATTICE_RECORD").is_some() {
        fs::write(&file, serde_json::to_string_pretty(&records).unwrap() + "\n").unwrap();
    }
    let recorded = recorded().remove(release).unwrap_or_else(|| panic!("record it with LATTICE_RECORD=1"));
    for (table, value) in records {
        let before = &recorded[table];
        assert!(
            has(&value, before),
            "{table}: who reads it as it was would miss something:\n{before:#}\nis now\n{value:#}"
        );
    }
}

/// Adds a field to every object that is a structure, and none to those whose fields are names of somebody's.
fn later(value: &mut Value) {
    const NAMES: [&str; 10] =
        ["labels", "env", "config", "require", "prefer", "taints", "load", "units", "spec", "scale"];
    /// Variants, and names of variants.
    const LEFT_ALONE: [&str; 4] = ["secrets", "probe", "maxSurge", "maxUnavailable"];
    match value {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                match value {
                    _ if LEFT_ALONE.contains(&name.as_str()) => {}
                    Value::Object(named) if NAMES.contains(&name.as_str()) => named.values_mut().for_each(later),
                    value => later(value),
                }
            }
            fields.insert("laterField".to_owned(), json!({ "any": [1] }));
        }
        Value::Array(values) => values.iter_mut().for_each(later),
        _ => {}
    }
}

#[test]
fn what_a_later_release_adds_is_passed_over() {
    for (table, value) in records() {
        let again = TABLES.iter().find(|(name, _)| *name == table).unwrap().1;
        let mut newer = value.clone();
        later(&mut newer);
        assert_ne!(newer, value);
        let read = again(&newer).unwrap_or_else(|error| panic!("{table}: {error}\n{newer:#}"));
        assert!(has(&read, &value), "{table}");
    }
}
