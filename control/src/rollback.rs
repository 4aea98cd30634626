//! Takes back what has failed, where its manifest says so: the app becomes again what it was when it last ran everywhere.
//!
//! It is a revision like any other, written over the one that failed and no other: whoever has applied something meanwhile
//! keeps that.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use lattice::{
    bus::{Bus, StoreError},
    model::{
        app::AppRecord,
        rollout::{OnFailure, RolloutFailure, RolloutReport},
    },
    wire::AppName,
};

use crate::history;

/// What has been tried already.
#[derive(Default)]
pub(crate) struct Rollbacks {
    /// Revisions that cannot be taken back.
    stuck: BTreeSet<(AppName, u64)>,
}

impl Rollbacks {
    /// Takes `record` back, which the store has at its revision `over`, if it has failed and shall be.
    pub(crate) async fn follow(&mut self, bus: &Bus, record: &AppRecord, over: u64, rollout: &RolloutReport) {
        let Some(failed) = &rollout.failed else { return };
        let policy = record.units.get(&failed.unit).map(|unit| unit.spec.rollout().on_failure);
        let id = (record.name.clone(), record.revision);
        if policy != Some(OnFailure::Rollback) || self.stuck.contains(&id) {
            return;
        }
        match take_back(bus, record, over, rollout.complete, failed).await {
            Ok(true) => {
                tracing::warn!(app = %record.name, revision = record.revision, to = rollout.complete, %failed, "rolled back")
            }
            Ok(false) => {
                tracing::warn!(app = %record.name, revision = record.revision, to = rollout.complete, "cannot roll back: there is nothing to go back to");
                self.stuck.insert(id);
            }
            Err(error @ StoreError::Conflict { .. }) => tracing::debug!(app = %record.name, %error, "reading again"),
            Err(error) => tracing::warn!(app = %record.name, %error, "cannot roll back; trying again"),
        }
    }

    /// Forgets what is of no use any more.
    pub(crate) fn retain(&mut self, is_newest: impl Fn(&AppName, u64) -> bool) {
        self.stuck.retain(|(app, revision)| is_newest(app, *revision));
    }
}

/// Whether there was something to go back to.
async fn take_back(
    bus: &Bus,
    record: &AppRecord,
    over: u64,
    to: u64,
    failed: &RolloutFailure,
) -> Result<bool, StoreError> {
    let Some(target) = history::find(bus, &record.name, to).await? else { return Ok(false) };
    let Some(mut next) = record.back_to(&target) else { return Ok(false) };
    next.cause = format!("rolled back to {to}, as {} failed: {failed}", record.revision);
    next.at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    history::keep(bus, record).await?;
    bus.store().apps().update(record.name.as_str(), &next, over).await?;
    Ok(true)
}
