//! Units of which there may be no copy while nobody calls them: who calls one waits here until there is, and the host's signs of
//! life tell the controller that somebody does.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lattice::{bus::Bus, model::scale::Load, wire::UnitId};
use tokio::sync::Notify;

/// For how long it counts what the store says of a unit.
const KNOWN: Duration = Duration::from_secs(2);

/// The units that are waited for in this host.
#[derive(Default)]
pub(crate) struct Asleep {
    /// Whether a unit may sleep, and when that was read. Held while it is read, so that a thousand calls of one unit read it
    /// once.
    known: tokio::sync::Mutex<HashMap<UnitId, (bool, Instant)>>,
    /// How many calls wait. Held for a look, or to count one more or less; only calls that find nobody come here.
    waiting: Mutex<BTreeMap<UnitId, u32>>,
    called: Notify,
}

/// A call that waits.
pub(super) struct Waiting<'a> {
    asleep: &'a Asleep,
    unit: UnitId,
}

impl Asleep {
    /// Asks for a copy of `unit` until the answer is dropped; `None` when it is none that sleeps, so that it is of no use to
    /// wait.
    pub(super) async fn wake(&self, bus: &Bus, unit: &UnitId) -> Option<Waiting<'_>> {
        if !self.may_sleep(bus, unit).await {
            return None;
        }
        *self.waiting().entry(unit.clone()).or_default() += 1;
        self.called.notify_one();
        Some(Waiting { asleep: self, unit: unit.clone() })
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<UnitId, u32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn may_sleep(&self, bus: &Bus, unit: &UnitId) -> bool {
        let mut known = self.known.lock().await;
        if let Some((sleeps, _)) = known.get(unit).filter(|(_, read)| read.elapsed() < KNOWN) {
            return *sleeps;
        }
        let app = bus.store().apps().get(unit.app.as_str()).await;
        let sleeps = match &app {
            Ok(app) => app
                .as_ref()
                .and_then(|app| app.value.units.get(&unit.unit))
                .is_some_and(|record| record.spec.scale().may_sleep()),
            Err(error) => {
                tracing::debug!(%unit, %error, "cannot read whether a unit sleeps");
                false
            }
        };
        known.retain(|_, (_, read)| read.elapsed() < KNOWN);
        known.insert(unit.clone(), (sleeps, Instant::now()));
        sleeps
    }

    /// Adds the calls that wait to `load`.
    pub(crate) fn add_to(&self, load: &mut Load) {
        for (unit, calls) in self.waiting().iter() {
            *load.entry(unit.clone()).or_default() += u64::from(*calls) * 1000;
        }
    }

    /// Resolves when one more call waits.
    pub(crate) async fn called(&self) {
        self.called.notified().await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.asleep.waiting();
        if let Some(calls) = waiting.get_mut(&self.unit) {
            *calls -= 1;
            if *calls == 0 {
                waiting.remove(&self.unit);
            }
        }
    }
}
