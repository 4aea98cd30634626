//! Whom to call: the instances that take calls, and what they serve.

use std::{cmp::Reverse, collections::BTreeSet};

use lattice::{
    model::{
        app::AppRecord,
        inventory::{InstanceReport, InstanceState},
    },
    wire::{InstanceId, Interface, version},
};
use lattice_view::world::World;

use super::CallFailure;
use crate::{cli::CallArgs, output::plain};

/// An instance, and the interface in the version that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) instance: InstanceId,
    pub(super) interface: Interface,
}

/// The instances to ask, in this order. There is at least one.
pub(super) fn candidates(world: &World, record: &AppRecord, args: &CallArgs) -> Result<Vec<Candidate>, CallFailure> {
    let all: Vec<_> =
        world.live_hosts().flat_map(|host| &host.instances).filter(|report| report.unit == args.unit).collect();
    let mut ready: Vec<&InstanceReport> = match &args.instance {
        Some(id) => vec![named(&all, id, args)?],
        None => all.iter().copied().filter(|report| report.state.takes_calls()).collect(),
    };
    // As hosts do: of several revisions only the newest that takes calls.
    let newest = ready.iter().map(|report| report.revision).max();
    ready.retain(|report| Some(report.revision) == newest);
    ready.sort_by_key(|report| (report.state != InstanceState::Ready, Reverse(report.revision), &report.instance));
    if ready.is_empty() {
        return Err(CallFailure::NobodyTakesCalls { unit: args.unit.clone(), reason: reason(world, record, args) });
    }
    let wanted = &args.function.interface;
    let candidate = |report: &&InstanceReport| {
        let interface = report.serves.iter().filter_map(|served| in_version_of(wanted, served)).max()?;
        Some(Candidate { instance: report.instance.clone(), interface })
    };
    let candidates: Vec<_> = ready.iter().filter_map(candidate).collect();
    if candidates.is_empty() {
        let served: BTreeSet<_> = ready.iter().flat_map(|report| &report.serves).map(ToString::to_string).collect();
        let (unit, interface) = (args.unit.clone(), wanted.clone());
        return Err(CallFailure::NotServed { unit, interface, served: served.into_iter().collect() });
    }
    Ok(candidates)
}

fn named<'r>(all: &[&'r InstanceReport], id: &InstanceId, args: &CallArgs) -> Result<&'r InstanceReport, CallFailure> {
    let unit = args.unit.clone();
    let Some(report) = all.iter().find(|report| report.instance == *id) else {
        let known = all.iter().map(|report| report.instance.to_string()).collect();
        return Err(CallFailure::NoInstance { unit, instance: id.clone(), known });
    };
    if report.state.takes_calls() {
        return Ok(report);
    }
    let reason = report.reason.as_deref().map(|reason| format!(", {}", plain(reason))).unwrap_or_default();
    Err(CallFailure::NobodyTakesCalls { unit, reason: format!("instance {id} is {}{reason}", report.state) })
}

/// Why nobody takes calls.
fn reason(world: &World, record: &AppRecord, args: &CallArgs) -> String {
    let status = world.status(record);
    let unit = status.units.iter().find(|unit| unit.unit == args.unit.unit);
    let Some(unit) = unit else { return "it is not planned".to_owned() };
    match &unit.reason {
        Some(reason) => format!("it is {}: {}", unit.state, plain(reason)),
        None => format!("it is {}, with {} of {} ready", unit.state, unit.ready, unit.wanted),
    }
}

/// `wanted` as the instance serves it: in the version of `served` when it says one.
fn in_version_of(wanted: &Interface, served: &Interface) -> Option<Interface> {
    if wanted.unversioned() != served.unversioned() {
        return None;
    }
    match (wanted.version(), served.version()) {
        (Some(_), None) => Some(wanted.clone()),
        (Some(asked), has @ Some(_)) => version::serves(Some(asked), has).then(|| served.clone()),
        (None, _) => Some(served.clone()),
    }
}
