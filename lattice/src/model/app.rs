//! The desired state of one app: a checked manifest, with names resolved and defaults filled in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    health::HealthSpec,
    messages::SubscriptionSpec,
    rollout::{Rollout, RolloutOrder},
    schedule::ScheduleSpec,
    secret::{self, SecretSource},
    share::Share,
    watch::WatchSpec,
};
pub use super::{
    link::{DEFAULT_LINK, FusedSpec, LinkSpec, LinkTarget, Transport, fused_parts, links_of, links_of_import},
    placement::{Demand, Placement},
    scale::{Follow, MAX_REPLICAS, Scale},
};
use crate::wire::{AppName, DEFAULT_DEADLINE, Digest, Interface, UnitId, UnitName};

/// The value of `apps.<app>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRecord {
    /// Version of this structure.
    pub version: u32,
    pub name: AppName,
    /// Grows by one with each change.
    pub revision: u64,
    /// When it was written, in milliseconds since 1970; 0 when that is not known.
    #[serde(default)]
    pub at_ms: u64,
    /// What made it so, for people to read.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
    /// What an operator has said of its rollout. It is not a part of the revision, and the next one begins without it.
    #[serde(default, skip_serializing_if = "RolloutOrder::is_default")]
    pub order: RolloutOrder,
    /// The manifest as it was written.
    pub manifest: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub units: BTreeMap<UnitName, UnitRecord>,
    /// Units that other apps may link to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shares: BTreeMap<UnitName, Share>,
}

/// A unit, and since when it is what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    /// The app's revision in which what its instances are last changed; see [`UnitSpec::instances`].
    pub revision: u64,
    pub spec: UnitSpec,
}

/// What a unit is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitSpec {
    Component(ComponentSpec),
    Provider(ProviderSpec),
}

/// A Wasm component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// As the user wrote it, for people to read.
    pub image: String,
    pub digest: Digest,
    pub imports: Vec<Interface>,
    pub exports: Vec<Interface>,
    pub scale: Scale,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default, skip_serializing_if = "Rollout::is_default")]
    pub rollout: Rollout,
    pub limits: Limits,
    /// Calls that one instance may serve before it is thrown away.
    pub reuse: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    pub env: BTreeMap<String, String>,
    /// What it reads by `wasi:config`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// What it reads by `wasmcloud:secrets`, by the name that it asks for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    pub links: Vec<LinkSpec>,
}

/// A capability provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSpec {
    /// Its name in the catalog.
    pub kind: String,
    /// Where it has `{ "secret": ... }`, the host puts the secret when it starts the provider.
    pub config: serde_json::Map<String, serde_json::Value>,
    pub isolate: Isolation,
    pub scale: Scale,
    #[serde(default)]
    pub placement: Placement,
    #[serde(default, skip_serializing_if = "Rollout::is_default")]
    pub rollout: Rollout,
    pub routes: Vec<RouteSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleSpec>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<WatchSpec>,
    /// Of a process of its own.
    #[serde(default, skip_serializing_if = "ProcessLimits::is_none")]
    pub limits: ProcessLimits,
    /// The program that it is, when it is none of the catalog's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<ProgramSpec>,
}

impl ProviderSpec {
    /// A provider of the catalog of which nothing is said: one copy, inside its host.
    pub fn of(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            config: serde_json::Map::new(),
            isolate: Isolation::Host,
            scale: Scale::Replicas(1),
            placement: Placement::default(),
            rollout: Rollout::default(),
            routes: Vec::new(),
            subscriptions: Vec::new(),
            schedules: Vec::new(),
            watches: Vec::new(),
            limits: ProcessLimits::default(),
            program: None,
        }
    }
}

/// The `kind` of a provider that is a program of the user's own.
pub const PROGRAM: &str = "program";

/// An executable file that serves interfaces over the lattice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// As the user wrote it, for people to read.
    pub image: String,
    pub digest: Digest,
    pub serves: Vec<Interface>,
    /// An artifact that describes these interfaces: a WIT package in binary form.
    pub wit: Option<Digest>,
    pub env: BTreeMap<String, String>,
}

impl ProgramSpec {
    fn artifacts(&self) -> impl Iterator<Item = &Digest> {
        std::iter::once(&self.digest).chain(&self.wit)
    }
}

/// What one component may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: u64,
    /// How long one call may take, in milliseconds.
    pub timeout_ms: u64,
    /// Calls at a time in one host; one more is refused at once.
    pub concurrency: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, timeout_ms: DEFAULT_DEADLINE.as_millis() as u64, concurrency: 256 }
    }
}

/// What a provider process may take of its machine; as much as there is where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessLimits {
    /// In memory, with its children, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processors that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Files and connections that are open at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

impl ProcessLimits {
    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a provider runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    #[default]
    Host,
    Process,
}

/// One route of an HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    pub pattern: super::routes::Pattern,
    /// At least one, and at least one with a weight above 0.
    pub to: Vec<RouteTarget>,
}

/// A component that answers a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTarget {
    pub unit: UnitId,
    /// Its share of the requests, of the sum of all weights.
    pub weight: u32,
    /// How long the component may take, in milliseconds: its own limit.
    pub timeout_ms: u64,
}

impl ComponentSpec {
    /// A component of which nothing is said but what it is: one copy, and what is so by default.
    pub fn of(digest: Digest) -> Self {
        Self {
            image: String::new(),
            digest,
            imports: Vec::new(),
            exports: Vec::new(),
            scale: Scale::Replicas(1),
            placement: Placement::default(),
            rollout: Rollout::default(),
            limits: Limits::default(),
            reuse: 1,
            health: None,
            env: BTreeMap::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            links: Vec::new(),
        }
    }

    /// What the component imports and by which links, together with its fused parts, once it is composed with them. Each
    /// import has links of its own then: a pattern of one part says nothing of the imports of another.
    pub fn composed(&self) -> ComponentSpec {
        if self.links.iter().all(|link| link.fused.is_none()) {
            return self.clone();
        }
        let mut whole = ComponentSpec { imports: Vec::new(), links: Vec::new(), ..self.clone() };
        let mut parts = vec![(&self.imports, &self.links)];
        while let Some((imports, links)) = parts.pop() {
            for import in imports {
                let found = links_of_import(import, links);
                if found.values().flatten().any(|link| link.fused.is_some()) {
                    continue;
                }
                whole.imports.push(import.clone());
                let exact =
                    found.values().flatten().map(|link| LinkSpec { interface: import.to_string(), ..(*link).clone() });
                whole.links.extend(exact);
            }
            parts.extend(fused_parts(imports, links).into_values().map(|(part, _)| (&part.imports, &part.links)));
        }
        whole.imports.sort();
        whole.imports.dedup();
        whole
    }
}

impl UnitSpec {
    /// What each of its instances is, whatever their number, their places and the way to them: a change of those alone starts
    /// none anew.
    pub fn instances(&self) -> UnitSpec {
        let mut spec = self.clone();
        let (scale, placement, rollout) = match &mut spec {
            Self::Component(c) => (&mut c.scale, &mut c.placement, &mut c.rollout),
            Self::Provider(p) => (&mut p.scale, &mut p.placement, &mut p.rollout),
        };
        (*scale, *placement, *rollout) = (Scale::Replicas(1), Placement::default(), Rollout::default());
        spec
    }

    /// The digest of what its instances are.
    pub fn digest(&self) -> Digest {
        // Maps are ordered, so equal specs have equal bytes; a spec that cannot be written down cannot be stored either.
        Digest::of(&serde_json::to_vec(&self.instances()).unwrap_or_default())
    }

    /// Sets how many copies there are.
    pub fn set_scale(&mut self, scale: Scale) {
        match self {
            Self::Component(c) => c.scale = scale,
            Self::Provider(p) => p.scale = scale,
        }
    }

    /// What a copy takes of its host.
    pub fn demand(&self) -> Demand {
        match self {
            Self::Component(c) => {
                Demand { memory_bytes: c.limits.memory_bytes, concurrency: u64::from(c.limits.concurrency) }
            }
            Self::Provider(p) => Demand { memory_bytes: p.limits.memory_bytes.unwrap_or(0), concurrency: 0 },
        }
    }

    pub fn scale(&self) -> Scale {
        match self {
            Self::Component(c) => c.scale,
            Self::Provider(p) => p.scale,
        }
    }

    pub fn placement(&self) -> &Placement {
        match self {
            Self::Component(c) => &c.placement,
            Self::Provider(p) => &p.placement,
        }
    }

    pub fn rollout(&self) -> &Rollout {
        match self {
            Self::Component(c) => &c.rollout,
            Self::Provider(p) => &p.rollout,
        }
    }

    /// The artifacts that it is made of.
    pub fn artifacts(&self) -> BTreeSet<Digest> {
        let mut artifacts = BTreeSet::from_iter(self.program().into_iter().flat_map(ProgramSpec::artifacts).cloned());
        if let Self::Component(component) = self {
            artifacts.insert(component.digest.clone());
            let mut links = vec![&component.links];
            while let Some(part) = links.pop() {
                for fused in part.iter().filter_map(|link| link.fused.as_deref()) {
                    artifacts.insert(fused.digest.clone());
                    links.push(&fused.links);
                }
            }
        }
        artifacts
    }

    /// The secrets that it needs.
    pub fn secrets(&self) -> BTreeSet<SecretSource> {
        match self {
            Self::Component(c) => c.secrets.values().cloned().collect(),
            Self::Provider(p) => secret::references(&p.config),
        }
    }

    /// `component` or `provider`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Component(_) => "component",
            Self::Provider(_) => "provider",
        }
    }

    /// What it runs: the digest of a component or a program, the name of a provider.
    pub fn what(&self) -> &str {
        match self {
            Self::Component(c) => c.digest.as_str(),
            Self::Provider(p) => p.program.as_ref().map_or(&p.kind, |program| program.digest.as_str()),
        }
    }

    /// The program of the user's own that it is.
    pub fn program(&self) -> Option<&ProgramSpec> {
        match self {
            Self::Component(_) => None,
            Self::Provider(p) => p.program.as_ref(),
        }
    }

    /// The address that the unit listens on, when it does.
    pub fn listens_on(&self) -> Option<&str> {
        match self {
            Self::Provider(p) if p.kind == super::catalog::HTTP_SERVER => {
                p.config.get("address").and_then(|a| a.as_str())
            }
            _ => None,
        }
    }
}

impl AppRecord {
    pub const VERSION: u32 = 1;

    /// The record that follows `previous` when the app shall be `units`; `None` when nothing changes.
    pub fn next(
        name: AppName,
        previous: Option<&AppRecord>,
        manifest: String,
        labels: BTreeMap<String, String>,
        units: BTreeMap<UnitName, UnitSpec>,
        shares: BTreeMap<UnitName, Share>,
    ) -> Option<AppRecord> {
        let revision = previous.map_or(1, |p| p.revision + 1);
        let units: BTreeMap<_, _> = units
            .into_iter()
            .map(|(name, spec)| {
                let same =
                    previous.and_then(|p| p.units.get(&name)).filter(|old| old.spec.instances() == spec.instances());
                let revision = same.map_or(revision, |old| old.revision);
                (name, UnitRecord { revision, spec })
            })
            .collect();
        match previous {
            Some(previous) if (&previous.units, &previous.labels, &previous.shares) == (&units, &labels, &shares) => {
                None
            }
            _ => {
                let (at_ms, cause, order) = (0, String::new(), RolloutOrder::Proceed);
                Some(AppRecord {
                    version: Self::VERSION,
                    name,
                    revision,
                    at_ms,
                    cause,
                    order,
                    manifest,
                    labels,
                    units,
                    shares,
                })
            }
        }
    }

    /// The record that makes the app again what it was in `target`; `None` when it is. Units have the numbers that they had
    /// there: copies that are left of them go on.
    pub fn back_to(&self, target: &AppRecord) -> Option<AppRecord> {
        let AppRecord { name, manifest, labels, units, shares, .. } = target.clone();
        let specs = units.iter().map(|(name, unit)| (name.clone(), unit.spec.clone())).collect();
        let mut next = Self::next(name, Some(self), manifest, labels, specs, shares)?;
        for (name, unit) in &mut next.units {
            if unit.revision == next.revision {
                unit.revision = units.get(name).map_or(unit.revision, |before| before.revision);
            }
        }
        Some(next)
    }

    /// The units that are fused into others, each with the component that it is a part of.
    pub fn fusions(&self) -> impl Iterator<Item = (&UnitName, &UnitName)> {
        self.units.iter().flat_map(move |(holder, record)| {
            let links = match &record.spec {
                UnitSpec::Component(component) => component.links.as_slice(),
                UnitSpec::Provider(_) => &[],
            };
            let parts = links.iter().filter(|link| link.fused.is_some() && link.to.app == self.name);
            parts.map(move |link| (&link.to.unit, holder))
        })
    }

    /// The components that this unit is fused into. One that is fused into any does not run by itself.
    pub fn fused_into(&self, unit: &UnitName) -> Vec<&UnitName> {
        let mut holders: Vec<_> = self.fusions().filter(|(part, _)| *part == unit).map(|(_, holder)| holder).collect();
        // Several links of one component may lead there.
        holders.dedup();
        holders
    }

    /// The full ids of the app's units with their records.
    pub fn unit_ids(&self) -> impl Iterator<Item = (UnitId, &UnitRecord)> {
        self.units.iter().map(|(unit, record)| (UnitId::new(self.name.clone(), unit.clone()), record))
    }
}
