//! From a manifest to the desired state, or to everything that is wrong with it.

mod allow;
mod fused;
mod health;
mod links;
mod placement;
mod provider;
mod routes;
mod schedules;
mod secrets;
mod shares;
mod subscriptions;
mod transport;
mod types;
mod watches;

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

pub use self::{secrets::missing_secrets, shares::links_to};

use super::{
    app::{AppRecord, ComponentSpec, UnitSpec},
    asked::RESERVED_APP,
    manifest::{Component, Manifest, resolve_scale},
    problem::{Problem, suggest},
    shape::InterfaceShape,
    share::Share,
};
use crate::wire::{AppName, Digest, Interface, UnitId, UnitName};

/// What a component's binary says of itself, or the WIT beside a program says of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentFacts {
    pub digest: Digest,
    pub imports: Vec<Interface>,
    pub exports: Vec<Interface>,
    /// What the imports are made of, as the component was built for.
    pub import_shapes: BTreeMap<Interface, InterfaceShape>,
    /// Empty for a program without WIT.
    pub export_shapes: BTreeMap<Interface, InterfaceShape>,
    /// The WIT that a program came with, as an artifact.
    pub wit: Option<Digest>,
}

/// A manifest that holds together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedApp {
    pub name: AppName,
    pub labels: BTreeMap<String, String>,
    pub units: BTreeMap<UnitName, UnitSpec>,
    /// Units that other apps may link to.
    pub shares: BTreeMap<UnitName, Share>,
    /// What is odd and does no harm.
    pub notes: Vec<String>,
}

/// Checks a manifest. `facts` are those of its components and programs by unit name; one whose file could not be read is
/// not among them, and its problem has been told. What a program serves is taken from the manifest. Units of other apps that
/// it links to are among the facts as `app/unit`. `others` are the apps that the lattice has already.
pub fn check<'a>(
    manifest: &'a Manifest,
    facts: &BTreeMap<String, ComponentFacts>,
    others: impl IntoIterator<Item = &'a AppRecord>,
) -> Result<CheckedApp, Vec<Problem>> {
    let facts = provider::with_served(manifest, facts);
    let notes = manifest.notes.clone();
    let mut checker = Checker { manifest, facts: &facts, others: Vec::new(), problems: Vec::new(), notes };
    let name = checker.name::<AppName>(&manifest.metadata.name);
    checker.others = others.into_iter().filter(|record| Some(&record.name) != name.as_ref()).collect();
    if manifest.metadata.name.value == RESERVED_APP {
        let problem = Problem::at(&manifest.metadata.name, format!("the name `{RESERVED_APP}` is taken by the hosts"));
        checker.problems.push(problem.help("give the app another name"));
    }
    let mut units = checker.units(name.as_ref());
    hand_timeouts(&mut units);
    checker.fuse(&mut units);
    checker.routes(&units);
    checker.transports();
    let shares = checker.shares();
    if let Some(name) = &name {
        checker.still_shared(name, &shares);
    }
    match name {
        Some(name) if checker.problems.is_empty() => {
            Ok(CheckedApp { name, labels: manifest.metadata.labels.clone(), units, shares, notes: checker.notes })
        }
        _ => {
            checker.problems.sort_by_key(|p| p.place.map(|place| place.offset));
            Err(checker.problems)
        }
    }
}

/// A route, a subscription, a schedule or a watch waits as long as its component may take.
fn hand_timeouts(units: &mut BTreeMap<UnitName, UnitSpec>) {
    let timeout = |spec: &UnitSpec| match spec {
        UnitSpec::Component(component) => Some(component.limits.timeout_ms),
        UnitSpec::Provider(_) => None,
    };
    let timeouts: BTreeMap<_, _> =
        units.iter().filter_map(|(name, spec)| Some((name.clone(), timeout(spec)?))).collect();
    for spec in units.values_mut() {
        let UnitSpec::Provider(provider) = spec else { continue };
        let routes = provider.routes.iter_mut().flat_map(|route| &mut route.to);
        let routes = routes.map(|target| (&target.unit, &mut target.timeout_ms));
        let subscriptions = provider.subscriptions.iter_mut().map(|s| (&s.to, &mut s.timeout_ms));
        let schedules = provider.schedules.iter_mut().map(|s| (&s.to, &mut s.timeout_ms));
        let watches = provider.watches.iter_mut().map(|w| (&w.to, &mut w.timeout_ms));
        for (unit, timeout) in routes.chain(subscriptions).chain(schedules).chain(watches) {
            *timeout = timeouts.get(&unit.unit).copied().unwrap_or(*timeout);
        }
    }
}

struct Checker<'m> {
    manifest: &'m Manifest,
    facts: &'m BTreeMap<String, ComponentFacts>,
    others: Vec<&'m AppRecord>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl<'m> Checker<'m> {
    fn name<T: std::str::FromStr<Err = crate::wire::IdError>>(&mut self, text: &Spanned<String>) -> Option<T> {
        text.value
            .parse()
            .map_err(|error: crate::wire::IdError| self.problems.push(Problem::at(text, error.to_string())))
            .ok()
    }

    /// Every unit that can be understood. Without the app's own name ids cannot be made; a stand-in serves, since the
    /// problem is told already.
    fn units(&mut self, app: Option<&AppName>) -> BTreeMap<UnitName, UnitSpec> {
        let mut units = BTreeMap::new();
        let Some(stand_in) = "unnamed".parse().ok() else { return units };
        let app = app.unwrap_or(&stand_in);
        let mut seen = BTreeSet::new();
        let manifest = self.manifest;
        if manifest.spec.components.0.is_empty() && manifest.spec.providers.0.is_empty() {
            self.problems.push(
                Problem::at(&manifest.metadata.name, "the app has no components and no providers")
                    .help("add them under `spec:`"),
            );
        }
        for (key, component) in &manifest.spec.components.0 {
            let spec = self.component(app, key, component);
            if let (Some(name), true) = (self.unit_name(key, &mut seen), spec.is_some()) {
                units.extend(spec.map(|spec| (name, UnitSpec::Component(spec))));
            }
        }
        for (key, provider) in &manifest.spec.providers.0 {
            let spec = self.provider(app, key, provider);
            if let (Some(name), true) = (self.unit_name(key, &mut seen), spec.is_some()) {
                units.extend(spec.map(|spec| (name, UnitSpec::Provider(spec))));
            }
        }
        units
    }

    fn unit_name(&mut self, key: &'m Spanned<String>, seen: &mut BTreeSet<&'m str>) -> Option<UnitName> {
        if !seen.insert(&key.value) {
            self.problems.push(
                Problem::at(key, format!("`{}` is a component and a provider", key.value))
                    .help("give one of them another name"),
            );
        }
        self.name(key)
    }

    fn component(&mut self, app: &AppName, key: &Spanned<String>, component: &Component) -> Option<ComponentSpec> {
        let limits = component.limits.resolve(&mut self.problems);
        let scale = resolve_scale(component.replicas.as_ref(), component.per_host.as_ref(), &mut self.problems);
        let reuse = component.reuse.as_ref().map_or(1, |r| r.value);
        if let (0, Some(at)) = (reuse, &component.reuse) {
            self.problems.push(
                Problem::at(at, "reuse 0 would serve no call").help("write 1 for a fresh instance a call, or more"),
            );
        }
        let facts = self.facts.get(&key.value);
        let placement = self.place(app, key, &component.placement);
        let config = self.settings(component);
        let secrets = self.granted_secrets(component);
        let links = self.links(app, key, component, facts);
        let facts = facts?;
        let health = self.health(key, component.health.as_ref(), Some(facts));
        self.unlinked(key, component, facts);
        self.mixed(key, facts, &links);
        self.one_way_out(key, facts, &links);
        Some(ComponentSpec {
            image: component.image.value.clone(),
            digest: facts.digest.clone(),
            imports: facts.imports.clone(),
            exports: facts.exports.clone(),
            scale,
            placement,
            rollout: component.rollout.resolve(&mut self.problems),
            limits,
            reuse,
            health,
            env: component.env.clone(),
            config,
            secrets,
            links,
        })
    }

    /// What the component reads by `wasi:config`, where all values are texts.
    fn settings(&mut self, component: &Component) -> BTreeMap<String, String> {
        let mut settings = BTreeMap::new();
        for (name, value) in &component.config.0 {
            let text = match &value.value {
                serde_json::Value::String(text) => text.clone(),
                plain @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => plain.to_string(),
                _ => {
                    let problem = Problem::at(value, format!("the setting `{}` of a component is no text", name.value));
                    self.problems.push(problem.help("write a text, a number, true or false; quote what has parts"));
                    continue;
                }
            };
            settings.insert(name.value.clone(), text);
        }
        settings
    }

    /// Whether a provider may call `to`, as far as is known: a component that exports `wanted`. `is_not` says what providers
    /// are not there for, `cannot` what a component cannot do without it.
    fn must_export(&mut self, to: &Spanned<String>, wanted: &str, is_not: &str, cannot: &str) {
        let Ok(interface) = wanted.parse() else { return };
        if self.is_provider(&to.value) {
            let problem = Problem::at(to, format!("`{}` is a provider, which {is_not}", to.value));
            self.problems.push(problem.help("name a component"));
        } else if let Some(facts) = self.facts.get(&to.value)
            && !facts.exports.iter().any(|export| export.satisfies(&interface))
        {
            let problem = format!("`{}` does not export {wanted}, so it cannot {cannot}", to.value);
            self.problems.push(Problem::at(to, problem));
        }
    }

    /// The unit of this app that `name` means.
    fn target(&mut self, app: &AppName, name: &Spanned<String>) -> Option<UnitId> {
        let spec = &self.manifest.spec;
        let known: Vec<&str> = spec
            .components
            .0
            .iter()
            .map(|(k, _)| k)
            .chain(spec.providers.0.iter().map(|(k, _)| k))
            .map(|k| k.value.as_str())
            .collect();
        if known.contains(&name.value.as_str()) {
            return name.value.parse().ok().map(|unit| UnitId::new(app.clone(), unit));
        }
        let problem = match name.value.split_once('/') {
            Some((_, unit)) if known.contains(&unit) && name.value.starts_with(&format!("{app}/")) => {
                Problem::at(name, format!("`{}` is written as a unit of another app", name.value))
                    .help(format!("write `{unit}`"))
            }
            Some(_) => Problem::at(name, format!("`{}` is a unit of another app", name.value))
                .help("only links lead to other apps: name a unit of this manifest"),
            None => Problem::at(name, format!("there is no unit `{}`", name.value)).help(suggest(&name.value, known)),
        };
        self.problems.push(problem);
        None
    }
}

#[cfg(test)]
mod tests;
