//! Routes: whether each leads to components that answer HTTP, and whether another app has it already.

use std::collections::BTreeMap;

use serde_saphyr::Spanned;

use super::Checker;
use crate::{
    model::{
        app::{Limits, RouteSpec, RouteTarget, UnitSpec},
        manifest::Targets,
        problem::Problem,
        routes::{Pattern, PatternError},
    },
    wire::{AppName, UnitName},
};

/// The interfaces of which a route's target must export one: those of WASI 0.2 and 0.3.
pub(super) const HTTP_HANDLERS: [&str; 2] = ["wasi:http/incoming-handler", "wasi:http/handler"];

impl Checker<'_> {
    pub(super) fn route(&mut self, app: &AppName, pattern: &Spanned<String>, targets: &Targets) -> Option<RouteSpec> {
        let parsed: Option<Pattern> = pattern
            .value
            .parse()
            .map_err(|e: PatternError| self.problems.push(Problem::at(pattern, e.to_string()).help(PatternError::HELP)))
            .ok();
        let to = match targets {
            Targets::One(name) => vec![self.route_target(app, name, 1)?],
            Targets::Shares(shares) => {
                let sum = shares.iter().fold(0u32, |sum, (_, weight)| sum.saturating_add(weight.value));
                self.weights(pattern, &format!("`{}`", pattern.value), sum);
                let targets: Vec<_> =
                    shares.iter().map(|(name, weight)| self.route_target(app, name, weight.value)).collect();
                targets.into_iter().collect::<Option<_>>()?
            }
        };
        Some(RouteSpec { pattern: parsed?, to })
    }

    fn route_target(&mut self, app: &AppName, to: &Spanned<String>, weight: u32) -> Option<RouteTarget> {
        let unit = self.target(app, to)?;
        if self.is_provider(&to.value) {
            let what = self.provider_kind(&to.value).map_or("provider", |kind| kind.name);
            self.problems.push(
                Problem::at(to, format!("`{}` is a {what}, which answers no HTTP requests", to.value))
                    .help("route to a component"),
            );
        } else if let Some(facts) = self.facts.get(&to.value)
            && !facts.exports.iter().any(|e| HTTP_HANDLERS.contains(&e.unversioned()))
        {
            self.problems.push(Problem::at(
                to,
                format!(
                    "`{}` does not export {}, so it cannot answer HTTP requests",
                    to.value,
                    HTTP_HANDLERS.join(" or ")
                ),
            ));
        }
        Some(RouteTarget { unit, weight, timeout_ms: Limits::default().timeout_ms })
    }

    /// Two routes of one address must differ, also across apps, and an address speaks TLS or does not.
    pub(super) fn routes(&mut self, units: &BTreeMap<UnitName, UnitSpec>) {
        let mut taken: BTreeMap<(String, Pattern), String> = BTreeMap::new();
        let mut secured: BTreeMap<String, (bool, String)> = BTreeMap::new();
        for other in &self.others {
            for (unit, record) in other.unit_ids() {
                let owner = format!("app {} ({unit})", other.name);
                for (address, pattern) in listens(&record.spec) {
                    taken.insert((address, pattern), owner.clone());
                }
                secured.extend(tls(&record.spec).map(|(address, tls)| (address, (tls, owner))));
            }
        }
        for (key, provider) in &self.manifest.spec.providers.0 {
            let Some(spec) = key.value.parse::<UnitName>().ok().and_then(|name| units.get(&name)) else { continue };
            let owner = format!("provider {}", key.value);
            for ((address, pattern), (at, _)) in listens(spec).into_iter().zip(&provider.routes.0) {
                if let Some(owner) = taken.insert((address.clone(), pattern.clone()), owner.clone()) {
                    let problem = Problem::at(at, format!("the route `{pattern}` on {address} is taken by {owner}"));
                    self.problems.push(problem.help("use another path, host name, method or address"));
                }
            }
            let Some((address, own)) = tls(spec) else { continue };
            match secured.get(&address) {
                Some((other, owner)) if *other != own => {
                    let (this, that) = if own { ("with", "without") } else { ("without", "with") };
                    let message = format!("`{}` is {this} `tls`, and {owner} is {that} it on {address}", key.value);
                    self.problems.push(Problem::at(key, message).help("use another address, or the same for both"));
                }
                _ => drop(secured.insert(address, (own, owner))),
            }
        }
    }
}

fn listens(spec: &UnitSpec) -> Vec<(String, Pattern)> {
    match (spec, spec.listens_on()) {
        (UnitSpec::Provider(provider), Some(address)) => {
            provider.routes.iter().map(|r| (address.to_owned(), r.pattern.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// The address that a unit listens on, and whether it speaks TLS there. Port 0 is another one each time.
fn tls(spec: &UnitSpec) -> Option<(String, bool)> {
    let UnitSpec::Provider(provider) = spec else { return None };
    let address = spec.listens_on().filter(|address| !address.ends_with(":0"))?;
    Some((address.to_owned(), provider.config.contains_key("tls")))
}
