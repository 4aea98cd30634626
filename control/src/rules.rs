//! Why a host does not get a copy of a unit. Here are the rules that look at the host alone; what depends on what else
//! runs is [`crate::field`]'s to say.

use std::{collections::BTreeMap, fmt};

use lattice::{
    model::{
        app::UnitSpec,
        inventory::HostRecord,
        placement::{Capacity, Labels},
        signature::Signers,
    },
    wire::{Digest, UnitId},
};

/// The rule that keeps a copy away from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    Label {
        name: String,
        wanted: Vec<String>,
        has: Option<String>,
    },
    Programs,
    /// It trusts nobody who has signed this.
    Unsigned(Digest),
    Leaving,
    Cordoned(String),
    Tainted(String),
    /// It has as many units as it takes.
    Units {
        most: u64,
    },
    Memory {
        free: u64,
        needs: u64,
    },
    Concurrency {
        free: u64,
        needs: u64,
    },
    Apart(UnitId),
    /// One copy more would make the spread too uneven.
    Skew {
        label: String,
        value: String,
        has: u64,
        least: u64,
        most: u32,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label { name, wanted, has: Some(has) } => write!(f, "{name}={has}, not {}", wanted.join(" or ")),
            Self::Label { name, wanted, has: None } => write!(f, "no label {name}={}", wanted.join(" or ")),
            Self::Programs => f.write_str("runs no programs"),
            Self::Unsigned(digest) => {
                write!(f, "trusts nobody who has signed {digest} (`lattice-ctl artifact sign` signs)")
            }
            Self::Leaving => f.write_str("is leaving"),
            Self::Cordoned(reason) if reason.is_empty() => f.write_str("is cordoned"),
            Self::Cordoned(reason) => write!(f, "is cordoned ({reason})"),
            Self::Tainted(taint) => write!(f, "has the taint {taint}"),
            Self::Units { most } => write!(f, "has room for {most} units, which are there"),
            Self::Memory { free, needs } => {
                write!(f, "has {} of memory left, and it needs {}", size(*free), size(*needs))
            }
            Self::Concurrency { free, needs } => {
                write!(f, "has room for {free} calls at a time, and it asks for {needs}")
            }
            Self::Apart(unit) => write!(f, "runs {unit}, from which it is kept apart"),
            Self::Skew { label, value, has, least, most } => {
                let value = if value.is_empty() { format!("no {label}") } else { format!("{label}={value}") };
                write!(f, "{value} has {has} copies and another has {least}: maxSkew is {most}")
            }
        }
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 && bytes % (1 << 30) == 0 => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes.div_ceil(1 << 20)),
    }
}

/// Whether a host with these labels may run what requires those.
pub(crate) fn allows(require: &Labels, labels: &BTreeMap<String, String>) -> bool {
    lacking(require, labels).is_none()
}

fn lacking(require: &Labels, labels: &BTreeMap<String, String>) -> Option<Refusal> {
    let fits = |(label, values): &(&String, &Vec<String>)| labels.get(*label).is_some_and(|have| values.contains(have));
    let (name, wanted) = require.iter().find(|wanted| !fits(wanted))?;
    Some(Refusal::Label { name: name.clone(), wanted: wanted.clone(), has: labels.get(name).cloned() })
}

/// What keeps a copy from staying on a host.
pub(crate) fn cannot_run(spec: &UnitSpec, host: &HostRecord) -> Option<Refusal> {
    let program = spec.program().is_some() && !host.programs;
    lacking(&spec.placement().require, &host.labels).or_else(|| program.then_some(Refusal::Programs))
}

/// What keeps a host from being given a new copy, whatever else runs there.
pub(crate) fn cannot_take(spec: &UnitSpec, host: &HostRecord, signers: &Signers) -> Option<Refusal> {
    refuses(spec, host).or_else(|| distrusts(spec, host, signers).map(Refusal::Unsigned))
}

/// What a host does not run for want of a signature. A copy that it has stays: it was signed when it came.
fn distrusts(spec: &UnitSpec, host: &HostRecord, signers: &Signers) -> Option<Digest> {
    if host.trusts.is_empty() {
        return None;
    }
    spec.artifacts().into_iter().find(|digest| host.trusts.is_disjoint(signers.of(digest)))
}

fn refuses(spec: &UnitSpec, host: &HostRecord) -> Option<Refusal> {
    let taint = || host.taints.iter().find(|taint| !spec.placement().tolerate.contains(*taint)).cloned();
    cannot_run(spec, host)
        .or_else(|| host.leaving.then_some(Refusal::Leaving))
        .or_else(|| host.cordon.clone().map(Refusal::Cordoned))
        .or_else(|| taint().map(Refusal::Tainted))
}

/// Whether a host may be given a new copy of this, as far as the host alone decides: signatures are not looked at.
pub fn may_take(spec: &UnitSpec, host: &HostRecord) -> bool {
    refuses(spec, host).is_none()
}

/// What a host's units take of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) units: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) concurrency: u64,
}

impl Load {
    pub(crate) fn add(&mut self, spec: &UnitSpec) {
        let demand = spec.demand();
        self.units += 1;
        self.memory_bytes = self.memory_bytes.saturating_add(demand.memory_bytes);
        self.concurrency = self.concurrency.saturating_add(demand.concurrency);
    }

    pub(crate) fn remove(&mut self, spec: &UnitSpec) {
        let demand = spec.demand();
        self.units = self.units.saturating_sub(1);
        self.memory_bytes = self.memory_bytes.saturating_sub(demand.memory_bytes);
        self.concurrency = self.concurrency.saturating_sub(demand.concurrency);
    }

    /// What keeps one copy more from having room beside these.
    pub(crate) fn is_full(&self, spec: &UnitSpec, capacity: &Capacity) -> Option<Refusal> {
        if capacity.is_unbounded() {
            return None;
        }
        let needs = spec.demand();
        if let Some(most) = capacity.units.filter(|most| self.units >= *most) {
            return Some(Refusal::Units { most });
        }
        let free = |most: Option<u64>, taken: u64| most.map_or(u64::MAX, |most| most.saturating_sub(taken));
        let memory = free(capacity.memory_bytes, self.memory_bytes);
        if memory < needs.memory_bytes {
            return Some(Refusal::Memory { free: memory, needs: needs.memory_bytes });
        }
        let concurrency = free(capacity.concurrency, self.concurrency);
        (concurrency < needs.concurrency)
            .then_some(Refusal::Concurrency { free: concurrency, needs: needs.concurrency })
    }
}
