//! What becomes a part of what: a fused link carries all that its component needs when it is loaded.

use std::collections::BTreeMap;

use super::Checker;
use crate::{
    model::{
        app::{ComponentSpec, FusedSpec, LinkSpec, Transport, UnitSpec, links_of_import},
        problem::Problem,
    },
    wire::{Interface, UnitName},
};

impl Checker<'_> {
    /// Fills the fused links in, and refuses those whose parts would need the same import from different units.
    pub(super) fn fuse(&mut self, units: &mut BTreeMap<UnitName, UnitSpec>) {
        let before = units.clone();
        for (name, spec) in units.iter_mut() {
            let UnitSpec::Component(component) = spec else { continue };
            fill(&mut component.links, &before, MAX_DEPTH);
            if component.links.iter().all(|link| link.fused.is_none()) {
                continue;
            }
            if let Some((what, part)) = lost(component, &before) {
                self.lost(name, &what, &part);
            }
            if let Some((import, one, other)) = chosen(component) {
                self.chosen(name, &import, &one, &other);
            } else if let Some((import, one, other)) = contested(&component.composed()) {
                self.contested(name, &import, &one, &other);
            }
        }
    }

    fn lost(&mut self, name: &UnitName, what: &str, part: &UnitName) {
        let message = format!("`{part}` is fused into `{name}`, which has not its {what}");
        let problem = self.at_component(name, message);
        self.problems.push(problem.help(format!("give `{name}` the same, or write `transport: local` for the link")));
    }

    fn contested(&mut self, name: &UnitName, import: &str, one: &str, other: &str) {
        let message = format!("once fused, `{name}` would import {import} from both `{one}` and `{other}`");
        let problem = self.at_component(name, message);
        self.problems.push(problem.help("link both to the same unit, or write `transport: local` for the fused link"));
    }

    fn chosen(&mut self, name: &UnitName, import: &str, one: &str, other: &str) {
        let message = format!(
            "`{name}` cannot choose between `{one}` and `{other}` for {import}: once one of them is fused, it is all there is"
        );
        let problem = self.at_component(name, message);
        self.problems.push(problem.help("keep one of the links, or write `transport: local` for the fused one"));
    }

    fn at_component(&self, name: &UnitName, message: String) -> Problem {
        let key = self.manifest.spec.components.0.iter().find(|(key, _)| key.value == name.as_str());
        match key {
            Some((key, _)) => Problem::at(key, message),
            None => Problem::new(message),
        }
    }
}

/// Deeper than any sensible composition; circles have a problem of their own, and must not be followed here.
const MAX_DEPTH: usize = 16;

fn fill(links: &mut [LinkSpec], units: &BTreeMap<UnitName, UnitSpec>, depth: usize) {
    for link in links.iter_mut().filter(|link| link.transport == Transport::Fused) {
        let Some(UnitSpec::Component(target)) = units.get(&link.to.unit) else { continue };
        let mut part =
            FusedSpec { digest: target.digest.clone(), imports: target.imports.clone(), links: target.links.clone() };
        if depth > 0 {
            fill(&mut part.links, units, depth - 1);
        }
        link.fused = Some(Box::new(part));
    }
}

/// What a part is given and the whole is not: a part has what the whole has, and nothing else.
fn lost(whole: &ComponentSpec, units: &BTreeMap<UnitName, UnitSpec>) -> Option<(String, UnitName)> {
    whole.links.iter().filter(|link| link.fused.is_some()).find_map(|link| {
        let UnitSpec::Component(part) = units.get(&link.to.unit)? else { return None };
        let secret = missing(&part.secrets, &whole.secrets).map(|name| format!("secret `{name}`"));
        let setting = || missing(&part.config, &whole.config).map(|name| format!("setting `{name}`"));
        let variable = || missing(&part.env, &whole.env).map(|name| format!("variable `{name}`"));
        Some((secret.or_else(setting).or_else(variable)?, link.to.unit.clone()))
    })
}

fn missing<'p, T: PartialEq>(part: &'p BTreeMap<String, T>, whole: &BTreeMap<String, T>) -> Option<&'p str> {
    part.iter().find(|(name, value)| whole.get(*name) != Some(value)).map(|(name, _)| name.as_str())
}

/// An import with links of several names, of which one is fused: what it is composed with cannot be chosen at a call.
fn chosen(component: &ComponentSpec) -> Option<(String, String, String)> {
    component.imports.iter().find_map(|import| {
        let links = links_of_import(import, &component.links);
        let fused = links.values().flatten().find(|link| link.fused.is_some())?;
        let other = links.values().flatten().find(|link| link.name != fused.name)?;
        Some((import.to_string(), fused.to.unit.to_string(), other.to.unit.to_string()))
    })
}

/// An import that two links of one name satisfy from different units. Compatible versions of one interface are one import.
fn contested(whole: &ComponentSpec) -> Option<(String, String, String)> {
    let links = whole.links.iter().filter_map(|link| Some((link.interface.parse::<Interface>().ok()?, link)));
    let links: Vec<_> = links.collect();
    links.iter().enumerate().find_map(|(at, (import, first))| {
        let same = |other: &Interface| other.satisfies(import) || import.satisfies(other);
        let mut after = links[at + 1..].iter();
        let shared = |link: &LinkSpec| link.weight.is_some() && first.weight.is_some();
        let others = |link: &LinkSpec| link.name == first.name && link.to != first.to && !shared(link);
        let (_, other) = after.find(|(other, link)| same(other) && others(link))?;
        Some((import.to_string(), first.to.unit.to_string(), other.to.unit.to_string()))
    })
}
