//! What the controller writes: assignments, reports, and how the lattice is as a whole.

use std::collections::BTreeMap;

use lattice::{
    bus::{Entry, StoreError},
    model::{
        app::{AppRecord, UnitRecord},
        assignment::{Assignment, ControlReport, PlanReport},
        inventory::HostRecord,
    },
    wire::{AppName, HostId, UnitId},
};

use super::Leader;
use crate::{keeper::within, liveness::Verdict};

impl Leader {
    /// Tells whoever asks how the lattice is, when that has changed.
    pub(super) async fn say(&mut self, hosts: &BTreeMap<HostId, HostRecord>) {
        let Verdict { alive, silent } = &self.verdict;
        let is_lost = |host: &HostRecord| {
            !alive.contains(&host.host) && !silent.contains(&host.host) && !host.instances.is_empty()
        };
        let report = ControlReport {
            version: ControlReport::VERSION,
            term: self.term,
            holding: self.liveness.holding(),
            lost: hosts.values().filter(|host| is_lost(host)).map(|host| host.host.clone()).collect(),
        };
        if self.said.as_ref() == Some(&report) || !self.may_act() {
            return;
        }
        match within(self.timing.step_down, self.bus.store().control().put(ControlReport::KEY, &report)).await {
            Ok(_) => self.said = Some(report),
            Err(error) => tracing::debug!(%error, "cannot say how the lattice is; trying again"),
        }
    }

    pub(super) async fn assign(
        &mut self,
        host: HostId,
        units: BTreeMap<UnitId, UnitRecord>,
        given_up: bool,
        before: Option<&Entry<Assignment>>,
        record: Option<&HostRecord>,
        apps: &BTreeMap<AppName, AppRecord>,
    ) {
        let same = match before {
            // A host that never had an assignment needs none to run nothing.
            None if record.is_none_or(|record| record.instances.is_empty()) => units.is_empty(),
            // The store has lost what this one was given. Of what the store does not know either nobody has said that it shall end.
            None => record.into_iter().flat_map(|record| &record.instances).any(|instance| {
                let lost = !apps.contains_key(&instance.unit.app);
                if lost {
                    tracing::warn!(%host, unit = %instance.unit, "the store has lost this host's assignment and an app of which it runs a \
                        unit: it is left alone until that is applied again, or the host starts anew");
                }
                lost
            }),
            Some(before) => before.value.units == units && before.value.given_up == given_up,
        };
        if same || !self.may_act() {
            return;
        }
        if let Some(before) = before.filter(|before| before.value.term > self.term) {
            tracing::warn!(%host, term = self.term, newer = before.value.term, "a newer controller wrote this assignment");
            return;
        }
        // The host's own word counts as well: it refuses to go back, even when the store has lost what it follows.
        let newest = before.map(|before| before.value.generation).max(record.map(|record| record.generation));
        let assignment = Assignment {
            version: Assignment::VERSION,
            host: host.clone(),
            term: self.term,
            generation: newest.unwrap_or(0) + 1,
            units,
            given_up,
        };
        tracing::info!(%host, generation = assignment.generation, units = assignment.units.len(), "assigning");
        let written = self.assignments.write(host.as_str(), assignment, before.map(|before| before.revision)).await;
        note(written, "assignment", host.as_str());
    }

    pub(super) async fn report(&mut self, app: &AppName, report: PlanReport, before: Option<&Entry<PlanReport>>) {
        if before.is_some_and(|before| before.value == report) || !self.may_act() {
            return;
        }
        for (unit, planned) in &report.units {
            if let Some(problem) = &planned.problem {
                tracing::warn!(%app, %unit, problem, "cannot place");
            }
        }
        let written = self.plans.write(app.as_str(), report, before.map(|before| before.revision)).await;
        note(written, "plan", app.as_str());
    }
}

/// What could not be written is tried again in the next round, from what is there then.
pub(super) fn note(written: Result<(), StoreError>, what: &str, key: &str) {
    match written {
        Ok(()) => {}
        Err(error @ StoreError::Conflict { .. }) => tracing::debug!(what, key, %error, "reading again"),
        Err(error) => tracing::warn!(what, key, %error, "cannot write; trying again"),
    }
}
