//! Providers: those that the catalog knows, and programs of the user's own.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::{Checker, ComponentFacts};
use crate::{
    model::{
        app::{Isolation, PROGRAM, ProcessLimits, ProgramSpec, ProviderSpec, Scale, UnitSpec},
        catalog::{self, CRON, HTTP_SERVER, MESSAGING_NATS, ProviderKind, WITH_WATCHES},
        manifest::{Manifest, Provider, resolve_scale},
        problem::{Problem, suggest},
    },
    wire::{AppName, Interface},
};

/// How the name of an interface is written.
const INTERFACE_HELP: &str = "write namespace:package/interface@version, as in acme:ledger/book@1.0.0";

/// `facts`, in which programs have the exports that the manifest says they serve.
pub(super) fn with_served(
    manifest: &Manifest,
    facts: &BTreeMap<String, ComponentFacts>,
) -> BTreeMap<String, ComponentFacts> {
    let mut facts = facts.clone();
    for (key, provider) in &manifest.spec.providers.0 {
        if let (Some(_), Some(facts)) = (&provider.image, facts.get_mut(&key.value)) {
            facts.exports = provider.serves.iter().filter_map(|served| served.value.parse().ok()).collect();
        }
    }
    facts
}

impl<'m> Checker<'m> {
    pub(super) fn provider_kind(&self, unit: &str) -> Option<&'static ProviderKind> {
        match self.manifest.spec.providers.0.iter().find(|(k, _)| k.value == unit) {
            Some((_, provider)) => catalog::find(&provider.kind.as_ref()?.value),
            None => match &self.foreign(unit)?.unit.spec {
                UnitSpec::Provider(provider) => catalog::find(&provider.kind),
                UnitSpec::Component(_) => None,
            },
        }
    }

    pub(super) fn provider(
        &mut self,
        app: &AppName,
        key: &Spanned<String>,
        provider: &'m Provider,
    ) -> Option<ProviderSpec> {
        match (&provider.kind, &provider.image) {
            (Some(kind), None) => self.known(app, key, kind, provider),
            (None, Some(image)) => self.program(app, key, image, provider),
            (Some(kind), Some(_)) => {
                let problem = Problem::at(kind, "`use` and `image` exclude each other");
                self.problems
                    .push(problem.help("keep `image` for a program of your own, `use` for any other provider"));
                None
            }
            (None, None) => {
                let problem = Problem::at(key, format!("`{}` has neither `use` nor `image`", key.value));
                let known: Vec<_> = catalog::PROVIDERS.iter().map(|p| p.name).collect();
                let help = format!("add `use:` one of {}, or `image:` and a program of your own", known.join(", "));
                self.problems.push(problem.help(help));
                None
            }
        }
    }

    /// A provider of the catalog.
    fn known(
        &mut self,
        app: &AppName,
        key: &Spanned<String>,
        name: &Spanned<String>,
        provider: &Provider,
    ) -> Option<ProviderSpec> {
        self.only_for_programs(provider);
        let placement = self.place(app, key, &provider.placement);
        let scale = self.scale(key, provider);
        let Some(kind) = catalog::find(&name.value) else {
            let known = catalog::PROVIDERS.iter().map(|p| p.name);
            self.problems.push(
                Problem::at(name, format!("there is no provider `{}`", name.value)).help(suggest(&name.value, known)),
            );
            return None;
        };
        let isolate = match &provider.isolate {
            None => Isolation::Host,
            Some(word) => match word.value.as_str() {
                "host" => Isolation::Host,
                "process" if kind.can_isolate => Isolation::Process,
                "process" => {
                    self.problems.push(
                        Problem::at(word, format!("{} runs only inside the host", kind.name))
                            .help("remove `isolate: process`"),
                    );
                    Isolation::Host
                }
                other => {
                    self.problems
                        .push(Problem::at(word, format!("unknown value `{other}`")).help("write `host` or `process`"));
                    Isolation::Host
                }
            },
        };
        let config = self.config(kind, name, provider);
        let routes =
            provider.routes.0.iter().filter_map(|(pattern, to)| self.route(app, pattern, to)).collect::<Vec<_>>();
        if !kind.has_routes {
            self.only_of(provider.routes.first_key(), kind.name, "routes", HTTP_SERVER);
        }
        let subscriptions = self.subscriptions(app, kind, provider, isolate);
        let schedules = self.schedules(app, kind, provider);
        let watches = self.watches(app, kind, provider, isolate);
        Some(ProviderSpec {
            kind: kind.name.to_owned(),
            config,
            isolate,
            scale,
            placement,
            rollout: provider.rollout.resolve(&mut self.problems),
            routes,
            subscriptions,
            schedules,
            watches,
            limits: self.process_limits(provider, kind, isolate),
            program: None,
        })
    }

    /// The limits of a process, where it is one.
    fn process_limits(&mut self, provider: &Provider, kind: &ProviderKind, isolate: Isolation) -> ProcessLimits {
        let limits = provider.limits.resolve(&mut self.problems);
        if isolate == Isolation::Host
            && let Some(place) = provider.limits.place()
        {
            let problem =
                Problem::new(format!("{} is no process here that could be limited", kind.name)).located(place);
            let help =
                if kind.can_isolate { "add `isolate: process`, or remove `limits:`" } else { "remove `limits:`" };
            self.problems.push(problem.help(help));
        }
        limits
    }

    /// Refuses what only the provider `owner` has, where `who` has it.
    pub(super) fn only_of(&mut self, first: Option<&Spanned<String>>, who: &str, what: &str, owner: &str) {
        let problem = first.map(|first| Problem::at(first, format!("{who} has no {what}")));
        self.problems.extend(problem.map(|problem| problem.help(format!("only {owner} has `{what}:`"))));
    }

    /// Refuses what needs the components' links of the host in a process of its own.
    pub(super) fn only_inside(&mut self, first: Option<&Spanned<String>>, what: &str, isolate: Isolation) {
        let first = first.filter(|_| isolate == Isolation::Process);
        let problem =
            first.map(|first| Problem::at(first, format!("a provider with {what} runs only inside the host")));
        let help = format!("remove `isolate: process`, or give the {what} to another provider");
        self.problems.extend(problem.map(|problem| problem.help(help)));
    }

    /// Keys that mean nothing to a provider of the catalog.
    fn only_for_programs(&mut self, provider: &Provider) {
        let help = "it belongs to a provider with `image:`, a program of your own; remove it";
        let env = provider.env.0.first().map(|(name, _)| Problem::at(name, "`env` is not for a provider with `use`"));
        let serves = provider.serves.first();
        let serves = serves.map(|served| Problem::at(served, "`serves` is not for a provider with `use`"));
        let wit = provider.wit.as_ref().map(|wit| Problem::at(wit, "`wit` is not for a provider with `use`"));
        self.problems.extend([env, serves, wit].into_iter().flatten().map(|problem| problem.help(help)));
    }

    fn config(
        &mut self,
        kind: &ProviderKind,
        name: &Spanned<String>,
        provider: &Provider,
    ) -> serde_json::Map<String, serde_json::Value> {
        let mut config = serde_json::Map::new();
        for (key, value) in &provider.config.0 {
            if !kind.config.iter().any(|k| k.name == key.value) {
                let known: Vec<_> = kind.config.iter().map(|k| k.name).collect();
                self.problems.push(
                    Problem::at(key, format!("{} has no setting `{}`", kind.name, key.value))
                        .help(suggest(&key.value, known)),
                );
            }
            self.secret_references(value, &value.value);
            config.insert(key.value.clone(), value.value.clone());
        }
        for missing in kind.config.iter().filter(|k| k.required && !config.contains_key(k.name)) {
            let problem = Problem::at(name, format!("{} needs the setting `{}`", kind.name, missing.name));
            self.problems.push(problem.help(format!("add `config: {{ {}: ... }}`: {}", missing.name, missing.about)));
        }
        if let (HTTP_SERVER, Some((_, address))) =
            (kind.name, provider.config.0.iter().find(|(k, _)| k.value == "address"))
        {
            let text = address.value.as_str().unwrap_or_default();
            if text.parse::<std::net::SocketAddr>().is_err() {
                let problem = Problem::at(
                    address,
                    format!(
                        "`{}` is not an address to listen on",
                        address.value.as_str().map_or_else(|| address.value.to_string(), str::to_owned)
                    ),
                );
                self.problems
                    .push(problem.help("write an IP address and a port, such as 127.0.0.1:8080 or 0.0.0.0:80"));
            }
        }
        config
    }

    /// How many copies there are. Nobody counts the calls of a provider, so that they can follow nothing.
    fn scale(&mut self, key: &Spanned<String>, provider: &Provider) -> Scale {
        let scale = resolve_scale(provider.replicas.as_ref(), provider.per_host.as_ref(), &mut self.problems);
        let Some(replicas) = provider.replicas.as_ref().filter(|_| matches!(scale, Scale::Follow(_))) else {
            return scale;
        };
        let problem =
            Problem::at(replicas, format!("`{}` is a provider: only components follow their load", key.value));
        self.problems.push(problem.help("write a number of copies, or `perHost: 1`"));
        Scale::Replicas(1)
    }

    /// A program of the user's own.
    fn program(
        &mut self,
        app: &AppName,
        key: &Spanned<String>,
        image: &Spanned<String>,
        provider: &Provider,
    ) -> Option<ProviderSpec> {
        let placement = self.place(app, key, &provider.placement);
        let scale = self.scale(key, provider);
        if let Some(word) = provider.isolate.as_ref().filter(|word| word.value != "process") {
            let problem = Problem::at(word, "a program of your own always is a process of its own");
            self.problems.push(problem.help("remove `isolate:`"));
        }
        for (first, what, owner) in [
            (provider.routes.first_key(), "routes", HTTP_SERVER),
            (provider.subscriptions.first_key(), "subscriptions", MESSAGING_NATS),
            (provider.schedules.first_key(), "schedules", CRON),
            (provider.watches.first_key(), "watches", WITH_WATCHES),
        ] {
            self.only_of(first, "a program", what, owner);
        }
        for (_, value) in &provider.config.0 {
            self.secret_references(value, &value.value);
        }
        for (name, _) in &provider.env.0 {
            if name.value.is_empty() || name.value.contains(['=', '\0']) {
                let problem = Problem::at(name, format!("`{}` cannot be a variable's name", name.value));
                self.problems.push(problem.help("write a name without `=`"));
            }
        }
        let facts = self.facts.get(&key.value);
        let serves = self.served(key, provider, facts);
        let facts = facts?;
        Some(ProviderSpec {
            config: provider.config.0.iter().map(|(key, value)| (key.value.clone(), value.value.clone())).collect(),
            isolate: Isolation::Process,
            scale,
            placement,
            rollout: provider.rollout.resolve(&mut self.problems),
            limits: provider.limits.resolve(&mut self.problems),
            program: Some(ProgramSpec {
                image: image.value.clone(),
                digest: facts.digest.clone(),
                serves,
                wit: facts.wit.clone(),
                env: provider.env.0.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect(),
            }),
            ..ProviderSpec::of(PROGRAM)
        })
    }

    /// What a program serves, as far as it can be understood, and whether its WIT has it.
    fn served(&mut self, key: &Spanned<String>, provider: &Provider, facts: Option<&ComponentFacts>) -> Vec<Interface> {
        if provider.serves.is_empty() {
            let problem = Problem::at(key, format!("`{}` does not say what it serves", key.value));
            let help = "add `serves: [namespace:package/interface@version]`, as in `serves: [acme:ledger/book@1.0.0]`";
            self.problems.push(problem.help(help));
        }
        let mut serves = BTreeSet::new();
        for served in &provider.serves {
            let interface = match served.value.parse::<Interface>() {
                Ok(interface) if !interface.package().is_empty() => interface,
                Ok(interface) => {
                    let problem = Problem::at(served, format!("the interface `{interface}` belongs to no package"));
                    self.problems.push(problem.help(INTERFACE_HELP));
                    continue;
                }
                Err(error) => {
                    self.problems.push(Problem::at(served, format!("{error}")).help(INTERFACE_HELP));
                    continue;
                }
            };
            if let (Some(wit), Some(facts)) = (&provider.wit, facts)
                && !facts.export_shapes.contains_key(&interface)
            {
                let known: Vec<_> = facts.export_shapes.keys().map(ToString::to_string).collect();
                let problem = Problem::at(served, format!("the WIT in {} has no interface {interface}", wit.value));
                self.problems.push(problem.help(suggest(&served.value, known.iter().map(String::as_str))));
            }
            if !serves.insert(interface) {
                let problem = Problem::at(served, format!("`{}` stands here twice", served.value));
                self.problems.push(problem.help("remove one of the two"));
            }
        }
        serves.into_iter().collect()
    }
}
