//! What to do next, from what shall run and what does. Pure: every decision of the host about its instances is here.

use std::{collections::BTreeMap, time::Instant};

use lattice::{
    model::app::UnitRecord,
    wire::{Digest, HostId, InstanceId, UnitId},
};

/// One revision of a unit on this host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) unit: UnitId,
    pub(crate) revision: u64,
    /// What the unit is: revisions of an app that was deleted and made anew repeat.
    pub(crate) spec: Digest,
    /// The newest change of the secrets that it is started with, as [`Secrets::revision`](crate::secrets::Secrets::revision) has it.
    pub(crate) secrets: u64,
}

/// What shall run of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) record: UnitRecord,
    /// As in [`Key`].
    pub(crate) secrets: u64,
}

impl Wanted {
    /// Whether the old instance ends before this one starts.
    fn in_place(&self) -> bool {
        self.record.spec.rollout().is_in_place()
    }
}

impl Key {
    pub(crate) fn new(unit: &UnitId, wanted: &Wanted) -> Self {
        let Wanted { record, secrets } = wanted;
        Self { unit: unit.clone(), revision: record.revision, spec: record.spec.digest(), secrets: *secrets }
    }

    /// The id of this instance on `host`, at this attempt to run it. What follows an instance that has ended is another
    /// one: whoever waits for an answer of the old one is to see that it is gone.
    pub(crate) fn instance(&self, host: &HostId, attempt: u32) -> InstanceId {
        match (attempt, self.secrets) {
            (0 | 1, 0) => InstanceId::derive(host, &self.unit, self.revision, &self.spec),
            (_, secrets) => {
                let spec = Digest::of(format!("{} {attempt} {secrets}", self.spec).as_bytes());
                InstanceId::derive(host, &self.unit, self.revision, &spec)
            }
        }
    }
}

/// How an instance is, as far as decisions need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    /// It takes calls.
    Running,
    Failed {
        retry_at: Instant,
        /// What it needs is held by another, perhaps by the instance that it replaces.
        busy: bool,
    },
    Draining,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Start(Key),
    /// Let it finish its calls, then end it.
    Drain(Key),
    /// Give up a start that is under way.
    Cancel(Key),
    /// Forget an instance that is not there.
    Forget(Key),
}

/// The steps from `running` towards `wanted`. Of a unit that changes, the old instance is ended only when the new one
/// takes calls, or when the new one cannot start because the old one holds what it needs; unless it shall change in its place.
pub(crate) fn diff(wanted: &BTreeMap<UnitId, Wanted>, running: &BTreeMap<Key, Phase>, now: Instant) -> Vec<Step> {
    let mut steps = Vec::new();
    for (unit, wanted) in wanted {
        let key = Key::new(unit, wanted);
        let mut others = running.keys().filter(|other| other.unit == *unit && **other != key);
        match running.get(&key) {
            // It starts when nothing is left of the one before.
            None if wanted.in_place() && others.next().is_some() => {}
            None => steps.push(Step::Start(key)),
            Some(Phase::Failed { retry_at, .. }) if *retry_at <= now => steps.push(Step::Start(key)),
            Some(_) => {}
        }
    }
    for (key, phase) in running {
        let successor = match wanted.get(&key.unit) {
            Some(wanted) => match Key::new(&key.unit, wanted) {
                current if current == *key => continue,
                _ if wanted.in_place() => None,
                current => Some(running.get(&current)),
            },
            None => None,
        };
        let replaced = match successor {
            // The unit is not wanted here any more, or not beside the new one.
            None => true,
            Some(next) => matches!(next, Some(Phase::Running | Phase::Failed { busy: true, .. })),
        };
        match phase {
            Phase::Starting => steps.push(Step::Cancel(key.clone())),
            Phase::Failed { .. } => steps.push(Step::Forget(key.clone())),
            Phase::Running if replaced => steps.push(Step::Drain(key.clone())),
            Phase::Running | Phase::Draining => {}
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use lattice::model::{
        app::{ProviderSpec, UnitSpec},
        rollout::Portion,
    };
    use proptest::prelude::*;

    use super::*;

    fn record(revision: u64) -> UnitRecord {
        UnitRecord { revision, spec: UnitSpec::Provider(ProviderSpec::of("keyvalue-memory")) }
    }

    fn key(unit: &str, revision: u64) -> Key {
        let spec = record(revision).spec.digest();
        Key { unit: format!("app/{unit}").parse().unwrap(), revision, spec, secrets: 0 }
    }

    fn want(revision: u64) -> Wanted {
        Wanted { record: record(revision), secrets: 0 }
    }

    fn wanted(units: &[(&str, u64)]) -> BTreeMap<UnitId, Wanted> {
        units.iter().map(|(unit, revision)| (key(unit, 0).unit, want(*revision))).collect()
    }

    #[test]
    fn a_new_secret_makes_a_new_instance() {
        let now = Instant::now();
        let unit = key("a", 1).unit;
        let wanted = BTreeMap::from([(unit, Wanted { record: record(1), secrets: 7 })]);
        let (old, new) = (key("a", 1), Key { secrets: 7, ..key("a", 1) });
        let mut running = BTreeMap::from([(old.clone(), Phase::Running)]);
        assert_eq!(diff(&wanted, &running, now), [Step::Start(new.clone())]);
        running.insert(new.clone(), Phase::Running);
        assert_eq!(diff(&wanted, &running, now), [Step::Drain(old.clone())]);
        let host = format!("N{}", "A".repeat(55)).parse().unwrap();
        assert_ne!(old.instance(&host, 1), new.instance(&host, 1));
    }

    #[test]
    fn the_old_one_stays_until_the_new_one_takes_calls() {
        let now = Instant::now();
        let mut running = BTreeMap::from([(key("a", 1), Phase::Running)]);
        assert_eq!(diff(&wanted(&[("a", 2)]), &running, now), [Step::Start(key("a", 2))]);
        running.insert(key("a", 2), Phase::Starting);
        assert_eq!(diff(&wanted(&[("a", 2)]), &running, now), []);
        running.insert(key("a", 2), Phase::Failed { retry_at: now + Duration::from_secs(1), busy: false });
        assert_eq!(diff(&wanted(&[("a", 2)]), &running, now), []);
        running.insert(key("a", 2), Phase::Failed { retry_at: now + Duration::from_secs(1), busy: true });
        assert_eq!(diff(&wanted(&[("a", 2)]), &running, now), [Step::Drain(key("a", 1))]);
        running.insert(key("a", 2), Phase::Running);
        assert_eq!(diff(&wanted(&[("a", 2)]), &running, now), [Step::Drain(key("a", 1))]);
    }

    #[test]
    fn in_its_place_the_new_one_starts_when_nothing_is_left_of_the_old_one() {
        let now = Instant::now();
        let mut provider = ProviderSpec::of("keyvalue-memory");
        provider.rollout.max_surge = Portion::Copies(0);
        let record = UnitRecord { revision: 2, spec: UnitSpec::Provider(provider) };
        let wanted = BTreeMap::from([(key("a", 1).unit, Wanted { record, secrets: 0 })]);
        let mut running = BTreeMap::from([(key("a", 1), Phase::Running), (key("b", 1), Phase::Draining)]);
        assert_eq!(diff(&wanted, &running, now), [Step::Drain(key("a", 1))]);
        running.insert(key("a", 1), Phase::Draining);
        assert_eq!(diff(&wanted, &running, now), []);
        running.remove(&key("a", 1));
        assert_eq!(diff(&wanted, &running, now), [Step::Start(key("a", 2))]);
    }

    #[test]
    fn what_is_not_wanted_goes() {
        let now = Instant::now();
        let failed = Phase::Failed { retry_at: now, busy: false };
        let running = BTreeMap::from([
            (key("a", 1), Phase::Running),
            (key("b", 1), Phase::Starting),
            (key("c", 1), failed),
            (key("d", 1), Phase::Draining),
        ]);
        let steps = diff(&wanted(&[]), &running, now);
        assert_eq!(steps, [Step::Drain(key("a", 1)), Step::Cancel(key("b", 1)), Step::Forget(key("c", 1))]);
    }

    fn phase(now: Instant) -> impl Strategy<Value = Phase> {
        prop_oneof![
            Just(Phase::Starting),
            Just(Phase::Running),
            Just(Phase::Draining),
            any::<bool>().prop_map(move |busy| Phase::Failed { retry_at: now, busy }),
        ]
    }

    proptest! {
        /// Whatever the world is, doing the steps until there are none ends with exactly what is wanted.
        #[test]
        fn steps_converge(
            units in proptest::collection::btree_map(0u8..4, 1u64..4, 0..4),
            there in proptest::collection::btree_map((0u8..4, 1u64..4), phase(Instant::now()), 0..8),
        ) {
            let now = Instant::now() + Duration::from_secs(1);
            let name = |n: u8| format!("u{n}");
            let wanted: BTreeMap<_, _> = units.iter().map(|(n, r)| (key(&name(*n), 0).unit, want(*r))).collect();
            let mut running: BTreeMap<_, _> = there.into_iter().map(|((n, r), p)| (key(&name(n), r), p)).collect();
            for _ in 0..10 {
                // Between rounds, starts succeed and drains end.
                for phase in running.values_mut() {
                    if *phase == Phase::Starting { *phase = Phase::Running; }
                }
                running.retain(|_, phase| *phase != Phase::Draining);
                for step in diff(&wanted, &running, now) {
                    match step {
                        Step::Start(key) => drop(running.insert(key, Phase::Starting)),
                        Step::Drain(key) => drop(running.insert(key, Phase::Draining)),
                        Step::Cancel(key) | Step::Forget(key) => drop(running.remove(&key)),
                    }
                }
            }
            let end: BTreeSet<_> = running.iter().map(|(key, phase)| (key.unit.clone(), key.revision, *phase == Phase::Running)).collect();
            let expected: BTreeSet<_> = wanted.iter().map(|(unit, wanted)| (unit.clone(), wanted.record.revision, true)).collect();
            prop_assert_eq!(end, expected);
        }
    }
}
