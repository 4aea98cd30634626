//! Units of other apps: whether a link may lead to one, and whether others link to what this app would take away.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        app::{AppRecord, UnitRecord, UnitSpec},
        catalog::{BLOBSTORE, KEYVALUE},
        manifest::{self, Data, Sharers},
        problem::{Problem, suggest},
        share::{Audience, Share},
    },
    wire::{AppName, UnitId, UnitName},
};

/// A unit of another app, as its record has it.
pub(super) struct Foreign<'m> {
    pub(super) unit: &'m UnitRecord,
    /// `None` when it is its app's alone.
    pub(super) share: Option<&'m Share>,
}

impl<'m> Checker<'m> {
    /// The unit of another app that `app/unit` names.
    pub(super) fn foreign(&self, name: &str) -> Option<Foreign<'m>> {
        let (app, unit) = name.split_once('/')?;
        let record = self.others.iter().find(|record| record.name.as_str() == app)?;
        let (name, unit) = record.units.iter().find(|(name, _)| name.as_str() == unit)?;
        Some(Foreign { unit, share: record.shares.get(name) })
    }

    /// The unit that a link leads to: one of this app, or one that another app shares with it.
    pub(super) fn link_target(&mut self, app: &AppName, name: &Spanned<String>) -> Option<UnitId> {
        let of_another = name.value.split_once('/').filter(|(owner, _)| *owner != app.as_str());
        let Some((owner, unit)) = of_another else { return self.target(app, name) };
        let problem = match (self.foreign(&name.value), self.others.iter().find(|record| record.name.as_str() == owner))
        {
            (Some(Foreign { share: Some(share), .. }), _) if share.is_with(app) => return name.value.parse().ok(),
            (Some(_), _) => Problem::at(name, format!("`{}` is not shared with `{app}`", name.value))
                .help(format!("app `{owner}` has to say so: `share: [{app}]` beside its unit `{unit}`")),
            (None, Some(record)) => Problem::at(name, format!("app `{owner}` has no unit `{unit}`"))
                .help(suggest(unit, record.units.keys().map(UnitName::as_str))),
            (None, None) => Problem::at(name, format!("there is no app `{owner}`"))
                .help(suggest(owner, self.others.iter().map(|record| record.name.as_str()))),
        };
        self.problems.push(problem);
        None
    }

    /// Whether a link of this app to `to` has buckets and containers of its own there.
    pub(super) fn has_own_names(&self, to: &str) -> bool {
        self.foreign(to).and_then(|foreign| foreign.share).is_some_and(|share| !share.common)
    }

    /// What this app shares.
    pub(super) fn shares(&mut self) -> BTreeMap<UnitName, Share> {
        let spec = &self.manifest.spec;
        let components = spec.components.0.iter().map(|(key, component)| (key, &component.share));
        let providers = spec.providers.0.iter().map(|(key, provider)| (key, &provider.share));
        let mut shares = BTreeMap::new();
        for (key, share) in components.chain(providers) {
            let Some(share) = share else { continue };
            let checked = self.share(key, share);
            // A name that is none has its own problem.
            shares.extend(key.value.parse().ok().map(|name| (name, checked)));
        }
        shares
    }

    fn share(&mut self, key: &Spanned<String>, share: &manifest::Share) -> Share {
        let with = match &share.with {
            Sharers::All => Audience::All,
            Sharers::Apps(apps) => Audience::Apps(apps.iter().filter_map(|app| self.name(app)).collect()),
        };
        if let Some(data) = &share.data
            && !self.keeps_data(&key.value)
        {
            let problem = Problem::at(data, format!("`{}` has no buckets or containers", key.value));
            self.problems.push(problem.help("only stores of keys and of objects have `data:`; remove it"));
        }
        if let Some(holder) = self.fused_by(&key.value) {
            let problem = Problem::at(key, format!("`{}` is shared, and it is fused into `{holder}`", key.value));
            self.problems.push(problem.help(
                "what is fused is not there for others: write `transport: local`, or make a second unit of the same image",
            ));
        }
        Share { with, common: share.data.as_ref().is_some_and(|data| data.value == Data::Common) }
    }

    /// Whether it is a provider of key-value or of objects, as far as is known: a program may be one.
    fn keeps_data(&self, unit: &str) -> bool {
        let stores = [KEYVALUE.served, BLOBSTORE.served];
        let known = self.provider_kind(unit).and_then(|kind| kind.capability);
        self.is_program(unit) || known.is_some_and(|capability| stores.contains(&capability.served))
    }

    /// Finds what other apps use of this one and would not have any more.
    pub(super) fn still_shared(&mut self, app: &AppName, shares: &BTreeMap<UnitName, Share>) {
        for other in self.others.clone() {
            for (link, unit) in links_to(other, app) {
                if shares.get(unit).is_some_and(|share| share.is_with(&other.name)) {
                    continue;
                }
                let spec = &self.manifest.spec;
                let keys =
                    spec.components.0.iter().map(|(key, _)| key).chain(spec.providers.0.iter().map(|(key, _)| key));
                let key =
                    keys.into_iter().find(|key| key.value == unit.as_str()).unwrap_or(&self.manifest.metadata.name);
                let problem = Problem::at(key, format!("`{link}` is linked to `{app}/{unit}`"));
                let help =
                    format!("keep `{unit}` with `share: [{}]`, or change app `{}` first", other.name, other.name);
                self.problems.push(problem.help(help));
            }
        }
    }
}

/// The components of `user` that are linked to units of the app `owner`, and those units.
pub fn links_to<'r>(user: &'r AppRecord, owner: &AppName) -> Vec<(UnitId, &'r UnitName)> {
    let mut found = Vec::new();
    if user.name == *owner {
        return found;
    }
    for (id, record) in user.unit_ids() {
        let UnitSpec::Component(component) = &record.spec else { continue };
        let units = component.links.iter().filter(|link| link.to.app == *owner).map(|link| &link.to.unit);
        found.extend(units.map(|unit| (id.clone(), unit)));
    }
    found.dedup();
    found
}
