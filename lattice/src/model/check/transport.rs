//! Whether links can travel as they ask to.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Checker;
use crate::model::{
    app::Transport,
    manifest::{Component, Link, Provider},
    placement::Labels,
    problem::Problem,
};

impl<'m> Checker<'m> {
    /// Checks every link that asks for more than any road.
    pub(super) fn transports(&mut self) {
        for (key, component, link) in self.all_links() {
            let Some(transport) = &link.transport else { continue };
            let required = self.required(&link.to.value);
            match (transport.value, required) {
                (Transport::Local, Some(_)) if self.is_program(&link.to.value) => self.never_local(link, transport),
                (Transport::Local, Some(required)) => self.local(key, component, link, required, transport),
                (Transport::Fused, Some(required)) => self.fused(key, component, link, required, transport),
                // A unit that is not there has its own problem.
                _ => {}
            }
        }
        self.fused_cycles();
    }

    /// Every link to another unit, in the order of the file.
    fn all_links(&self) -> Vec<(&'m str, &'m Component, &'m Link)> {
        let others = self.manifest.links().filter(|(key, _, link)| link.to.value != key.value);
        others.map(|(key, component, link)| (key.value.as_str(), component, link)).collect()
    }

    /// The labels that the hosts of `unit` must have.
    fn required(&self, unit: &str) -> Option<&'m Labels> {
        let spec = &self.manifest.spec;
        let component = spec.components.0.iter().find(|(key, _)| key.value == unit).map(|(_, c)| &c.placement.require);
        let own = component
            .or_else(|| spec.providers.0.iter().find(|(key, _)| key.value == unit).map(|(_, p)| &p.placement.require));
        own.or_else(|| self.foreign(unit).map(|foreign| &foreign.unit.spec.placement().require))
    }

    fn may_sleep(&self, unit: &str) -> bool {
        let own = self.manifest.spec.components.0.iter().find(|(key, _)| key.value == unit);
        let own = own.and_then(|(_, component)| component.replicas.as_ref()).map(|replicas| replicas.value.may_sleep());
        own.unwrap_or_else(|| self.foreign(unit).is_some_and(|foreign| foreign.unit.spec.scale().may_sleep()))
    }

    /// The component that `unit` is fused into.
    pub(super) fn fused_by(&self, unit: &str) -> Option<&'m str> {
        let mut links = self.all_links().into_iter();
        let found = links.find(|(.., link)| link.to.value == unit && link.transport() == Transport::Fused);
        found.map(|(key, ..)| key)
    }

    fn local(&mut self, key: &str, component: &Component, link: &Link, required: &Labels, at: &Spanned<Transport>) {
        if self.may_sleep(&link.to.value) {
            let message =
                format!("`{}` may have no copy while nobody calls it: a local call could start none", link.to.value);
            self.problems.push(Problem::at(at, message).help("give it `min: 1`, or remove `transport: local`"));
        }
        let Some((label, here, there)) = apart(&component.placement.require, required) else { return };
        let message = format!(
            "`{key}` and `{}` are never on the same host: their placements require {label} to be {here} and {there}",
            link.to.value
        );
        self.problems.push(Problem::at(at, message).help("let the placements meet, or write `transport: lattice`"));
    }

    fn never_local(&mut self, link: &Link, at: &Spanned<Transport>) {
        let target = &link.to.value;
        let message = format!("`{target}` is a program, a process of its own: a call of it is never local");
        self.problems.push(Problem::at(at, message).help("remove `transport: local`"));
    }

    fn fused(&mut self, key: &str, component: &Component, link: &Link, required: &Labels, at: &Spanned<Transport>) {
        let target = &link.to.value;
        let problem = if self.foreign(target).is_some() {
            Problem::at(at, format!("`{target}` cannot be fused into `{key}`: it is a unit of another app"))
                .help("write `transport: local` to stay inside the host")
        } else if self.is_provider(target) {
            Problem::at(at, format!("`{target}` is a provider; only a component can be fused into `{key}`")).help(
                match self.is_program(target) {
                    true => "remove `transport: fused`",
                    false => "write `transport: local` to stay inside the host",
                },
            )
        } else if sets(&component.placement.require) != sets(required) {
            Problem::at(at, format!("`{target}` cannot be fused into `{key}`: they have different placements"))
                .help(format!("give both the same `placement:`, or leave `transport:` out (`{target}` stays apart)"))
        } else if let Some(other) = self.called_otherwise(target) {
            Problem::at(at, format!("`{target}` cannot be fused into `{key}`: it is also called by {other}"))
                .help(format!(
                    "what is fused is a part of `{key}`, not the `{target}` that others reach: write `transport: local`, \
                     or make a second unit of the same image"
                ))
        } else {
            return;
        };
        self.problems.push(problem);
    }

    /// Who calls `unit` by a road that leads to instances of its own.
    fn called_otherwise(&self, unit: &str) -> Option<String> {
        let called = |provider: &Provider| {
            let route = provider.routes.0.iter().find(|(_, to)| to.names().any(|name| name.value == unit));
            let subscription = provider.subscriptions.0.iter().find(|(_, to)| to.to.value == unit);
            let schedule = provider.schedules.0.iter().find(|(_, schedule)| schedule.to.value == unit);
            let watch = provider.watches.0.iter().find(|(_, to)| to.value == unit);
            let names = [
                ("route", route.map(|(name, _)| name)),
                ("subscription", subscription.map(|(name, _)| name)),
                ("schedule", schedule.map(|(name, _)| name)),
                ("watch", watch.map(|(name, _)| name)),
            ];
            names.into_iter().find_map(|(what, name)| Some(format!("the {what} `{}`", name?.value)))
        };
        let mut providers = self.manifest.spec.providers.0.iter();
        if let Some((what, key)) = providers.find_map(|(key, provider)| Some((called(provider)?, key))) {
            return Some(format!("{what} of `{}`", key.value));
        }
        let mut links = self.all_links().into_iter();
        let other = links.find(|(_, _, link)| link.to.value == unit && link.transport() != Transport::Fused);
        other.map(|(key, ..)| format!("a link of `{key}` that is not fused"))
    }

    /// Fused links that lead in a circle. Each circle is told once, at its first link in the file.
    fn fused_cycles(&mut self) {
        let fused: Vec<_> =
            self.all_links().into_iter().filter(|(.., link)| link.transport() == Transport::Fused).collect();
        let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, _, link) in &fused {
            next.entry(key).or_default().push(&link.to.value);
        }
        let mut told = BTreeSet::new();
        for (key, _, link) in fused {
            let (Some(at), Some(back)) = (&link.transport, path(&next, &link.to.value, key)) else { continue };
            if told.contains(key) {
                continue;
            }
            told.extend(back.iter().copied());
            let circle: Vec<_> = std::iter::once(key).chain(back).collect();
            let problem = Problem::at(at, format!("fused links lead in a circle: {}", circle.join(" -> ")));
            self.problems.push(problem.help("write `transport: local` for one of them"));
        }
    }
}

/// The first label that no host can have as both placements require it, and the values of each.
fn apart<'p>(one: &'p Labels, other: &'p Labels) -> Option<(&'p str, String, String)> {
    let mut shared = one.iter().filter_map(|(label, values)| Some((label, values, other.get(label)?)));
    let (label, here, there) = shared.find(|(_, here, there)| !here.iter().any(|value| there.contains(value)))?;
    Some((label, here.join(" or "), there.join(" or ")))
}

/// Labels whatever the order of their values.
fn sets(required: &Labels) -> BTreeMap<&str, BTreeSet<&str>> {
    required.iter().map(|(label, values)| (label.as_str(), values.iter().map(String::as_str).collect())).collect()
}

/// The units on the way from `from` to `to`, both included.
fn path<'u>(next: &BTreeMap<&'u str, Vec<&'u str>>, from: &'u str, to: &str) -> Option<Vec<&'u str>> {
    let mut before: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
    let mut queue = std::collections::VecDeque::from([from]);
    while let Some(unit) = queue.pop_front() {
        if unit == to {
            let mut way: Vec<_> =
                std::iter::successors(Some(unit), |unit| before.get(unit).copied().flatten()).collect();
            way.reverse();
            return Some(way);
        }
        for following in next.get(unit).into_iter().flatten() {
            if !before.contains_key(following) {
                before.insert(following, Some(unit));
                queue.push_back(following);
            }
        }
    }
    None
}
