//! The way out: links to an HTTP client, and where requests may go by them.

use serde_saphyr::Spanned;

use super::{Checker, ComponentFacts, links::Wire, routes::HTTP_HANDLERS};
use crate::{
    model::{
        app::{LinkSpec, UnitSpec, links_of_import},
        catalog::HTTP_CLIENT,
        outbound::{AllowedOrigin, Host, INTERNAL, Names, Origin, Scheme, internal_name},
        problem::{Problem, suggest},
    },
    wire::{AppName, UnitId},
};

impl Checker<'_> {
    /// What a link allows, as far as it can be understood.
    pub(super) fn allow(&mut self, app: &AppName, wire: Wire<'_>) -> Vec<AllowedOrigin> {
        let Wire { importer, pattern, link, .. } = wire;
        let to = &link.to.value;
        let is_client = self.provider_kind(to).is_some_and(|kind| is_client(kind.capability));
        match &link.allow {
            None if is_client => {
                self.notes.push(format!(
                    "`{importer}` may send requests nowhere: its link to `{to}` has no `allow`, such as `{{ to: {to}, allow: \
                     [\"https://api.example.com\"] }}`"
                ));
                Vec::new()
            }
            None => Vec::new(),
            Some(allow) if !is_client => {
                let problem = Problem::at(allow, format!("`allow` is not for a link of `{}` to `{to}`", pattern.value));
                self.problems.push(problem.help("only links to a provider with `use: http-client` have it; remove it"));
                Vec::new()
            }
            Some(allow) => allow.value.iter().filter_map(|text| self.allowed(app, text)).collect(),
        }
    }

    fn allowed(&mut self, app: &AppName, text: &Spanned<String>) -> Option<AllowedOrigin> {
        let entry: AllowedOrigin = match text.value.parse() {
            Ok(entry) => entry,
            Err(error) => {
                self.problems.push(Problem::at(text, error.to_string()).help(error.help()));
                return None;
            }
        };
        match &entry.names {
            Names::Below(domain) if domain == &INTERNAL[1..] || domain.ends_with(INTERNAL) => {
                let problem = Problem::at(text, format!("`{}` names no component", text.value));
                self.problems.push(problem.help("name each component, as in `http://cart.shop.lattice`"));
                None
            }
            Names::Name(name) if name.ends_with(INTERNAL) => self.component_name(app, text, &entry),
            _ => Some(entry),
        }
    }

    /// An entry that names a component of this app, with its whole name.
    fn component_name(
        &mut self,
        app: &AppName,
        text: &Spanned<String>,
        entry: &AllowedOrigin,
    ) -> Option<AllowedOrigin> {
        let Names::Name(name) = &entry.names else { return None };
        let origin = Origin { scheme: entry.scheme, host: Host::Name(name.clone()), port: entry.port };
        let unit = origin.internal().and_then(|name| name.unit(app));
        let components: Vec<&str> = self.manifest.spec.components.0.iter().map(|(key, _)| key.value.as_str()).collect();
        let (message, help) = match &unit {
            None => ("is not the name of a component", "write `http://UNIT.APP.lattice`".to_owned()),
            Some(_) if entry.scheme != Scheme::Http || entry.port != Scheme::Http.default_port() => (
                "has a scheme or port that components do not have",
                format!("write `http://{name}`: such requests never leave the lattice"),
            ),
            Some(unit) if unit.app != *app && !self.is_shared(unit, app) => (
                "is a unit of another app, which does not share it",
                format!("app `{}` has to have it, with `share: [{app}]`", unit.app),
            ),
            Some(unit) if unit.app == *app && !components.contains(&unit.unit.as_str()) => {
                ("is no component of this app", suggest(unit.unit.as_str(), components.iter().copied()))
            }
            Some(unit) if !self.answers_http(unit, app) => {
                ("answers no HTTP requests", format!("it would have to export {}", HTTP_HANDLERS.join(" or ")))
            }
            Some(unit) => {
                let names = Names::Name(internal_name(unit));
                return Some(AllowedOrigin { names, ..entry.clone() });
            }
        };
        self.problems.push(Problem::at(text, format!("`{}` {message}", text.value)).help(help));
        None
    }

    /// Whether a component exports an HTTP handler, as far as is known.
    fn answers_http(&self, unit: &UnitId, app: &AppName) -> bool {
        let exports = match unit.app == *app {
            true => self.facts.get(unit.unit.as_str()).map(|facts| &facts.exports),
            false => match self.foreign(&unit.to_string()).map(|foreign| &foreign.unit.spec) {
                Some(UnitSpec::Component(component)) => Some(&component.exports),
                _ => return false,
            },
        };
        exports.is_none_or(|exports| exports.iter().any(|export| HTTP_HANDLERS.contains(&export.unversioned())))
    }

    /// Whether a unit of another app is there for `app`.
    fn is_shared(&self, unit: &UnitId, app: &AppName) -> bool {
        self.foreign(&unit.to_string()).and_then(|foreign| foreign.share).is_some_and(|share| share.is_with(app))
    }

    /// A component that sends requests by WASI 0.2 and by 0.3 does so by one link: the host does not see which it used.
    pub(super) fn one_way_out(&mut self, key: &Spanned<String>, facts: &ComponentFacts, links: &[LinkSpec]) {
        let imports = |name: &str| facts.imports.iter().find(|import| import.unversioned() == name);
        let [older, newer] = HTTP_CLIENT.imports else { return };
        let (Some(older), Some(newer)) = (imports(older), imports(newer)) else { return };
        let [by_older, by_newer] = [older, newer].map(|import| {
            let links = links_of_import(import, links).into_values().flatten();
            links.map(|link| LinkSpec { interface: String::new(), ..link.clone() }).collect::<Vec<_>>()
        });
        if by_older == by_newer {
            return;
        }
        let message = format!("`{}` imports {older} and {newer}, and their links differ", key.value);
        let help = "link the whole of `wasi:http`, or both in the same way";
        self.problems.push(Problem::at(key, message).help(help));
    }
}

fn is_client(capability: Option<&crate::model::catalog::Capability>) -> bool {
    capability.is_some_and(|capability| capability.served == HTTP_CLIENT.served)
}
