//! Manifests of wadm (`core.oam.dev/v1beta1`, `Application`), turned into ours. Values keep their places, so that whatever is
//! wrong with them is told at the line that its author has written.
//!
//! What differs in meaning:
//!
//! - `instances` are calls at a time there. One instance serves many here, so that a component is on one host for each entry of
//!   its `spread`, or on every host with a `daemonscaler`.
//! - Settings of a provider belong to its links there. Here they are the provider's: links with other settings lead to a provider of
//!   their own.
//! - Requests may go anywhere there. Here a link to an HTTP client allows all hosts by https.

mod print;
mod providers;
mod written;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;

pub use self::print::print;
use self::{
    providers::Setting,
    written::{Application, Component, Config, End, Secret, Trait},
};
use super::{
    app::DEFAULT_LINK,
    catalog,
    manifest::{
        self, Data, Entries, Link, Links, Manifest, Metadata, Placement, Provider, Replicas, Share, Sharers, Spec,
        Subscription, Targets,
    },
    problem::Problem,
};

/// By which the manifests of wadm are known.
const API_VERSION: &str = "core.oam.dev/v1beta1";

/// The packages that are linked to as a whole.
const WHOLE: &[&str] = &["wasi:keyvalue", "wasi:blobstore", "wasmcloud:postgres", "wasmcloud:messaging"];
const SHARED: &str = "experimental.wasmcloud.dev/shared";

/// Whether a text is a manifest of wadm, right or wrong.
pub fn is_one(source: &str) -> bool {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "apiVersion")]
        api_version: String,
    }
    serde_saphyr::from_str::<Head>(source).is_ok_and(|head| head.api_version == API_VERSION)
}

/// Turns a manifest of wadm into one of ours.
pub(super) fn convert(source: &str) -> Result<Manifest, Vec<Problem>> {
    let application: Application =
        serde_saphyr::from_str(source).map_err(|error| vec![manifest::problem(source, &error)])?;
    let mut converter = Converter::default();
    if application.kind.value != "Application" {
        let problem = Problem::at(&application.kind, format!("kind is `{}`", application.kind.value));
        converter.problems.push(problem.help("write `kind: Application`"));
    }
    let manifest = converter.application(&application);
    if converter.problems.is_empty() { Ok(manifest) } else { Err(converter.problems) }
}

/// What a link from a component or a provider says, with the component that has it.
struct Linked<'a> {
    from: &'a Component,
    link: &'a Trait,
    to: &'a Spanned<String>,
    /// `namespace:package`.
    package: String,
}

/// A key under `links:`, with where requests may go.
type Key = (Spanned<String>, Option<Spanned<Vec<Spanned<String>>>>);

#[derive(Default)]
struct Converter {
    notes: Vec<String>,
    problems: Vec<Problem>,
}

/// The providers that one of wasmCloud becomes: by what they are set to.
struct Variants<'a> {
    of: &'a Component,
    known: &'static providers::Known,
    variants: Vec<Variant>,
}

struct Variant {
    name: Spanned<String>,
    settings: BTreeMap<String, Value>,
    provider: Provider,
}

impl Converter {
    fn application(&mut self, application: &Application) -> Manifest {
        let all = &application.spec.components;
        let links: Vec<_> = all.iter().flat_map(|from| from.traits.iter().map(move |link| (from, link))).collect();
        let links: Vec<_> = links.into_iter().filter_map(|(from, link)| self.linked(from, link)).collect();
        let (wasm, others): (Vec<_>, Vec<_>) = all.iter().partition(|component| is_component(component));
        let mut variants: Vec<_> = others.iter().filter_map(|of| self.variants(of)).collect();
        for variants in &mut variants {
            self.called(variants, &links);
        }
        let share = application.metadata.annotations.get(SHARED).is_some_and(|shared| shared == "true");
        let mut components = Vec::new();
        for of in wasm.into_iter().filter(|of| of.properties.application.is_none()) {
            let mut component = self.component(of, &links, all, &mut variants);
            component.share = share.then(everybody);
            components.push((of.name.clone(), component));
        }
        let mut providers = Vec::new();
        for Variants { of, known, mut variants } in variants {
            // Nobody has set it to anything: it is there all the same.
            if variants.is_empty() {
                variants.push(self.variant(of, known, of.name.clone(), &[]));
            }
            for Variant { name, mut provider, .. } in variants {
                provider.share = share.then(everybody);
                providers.push((name, provider));
            }
        }
        Manifest {
            api_version: here(&application.metadata.name, "lattice/v1"),
            kind: here(&application.metadata.name, "App"),
            metadata: Metadata { name: application.metadata.name.clone(), labels: application.metadata.labels.clone() },
            spec: Spec { components: Entries(components), providers: Entries(providers) },
            notes: std::mem::take(&mut self.notes),
        }
    }

    fn linked<'a>(&mut self, from: &'a Component, link: &'a Trait) -> Option<Linked<'a>> {
        match link.kind.value.as_str() {
            "link" => {}
            "spreadscaler" | "daemonscaler" => return None,
            other => {
                let problem = Problem::at(&link.kind, format!("the trait `{other}` has no counterpart here"));
                self.problems.push(problem.help("known are link, spreadscaler and daemonscaler"));
                return None;
            }
        }
        let properties = &link.properties;
        let (Some(namespace), Some(package), Some(target)) =
            (&properties.namespace, &properties.package, &properties.target)
        else {
            let problem = Problem::at(&link.kind, "a link needs `namespace`, `package`, `interfaces` and `target`");
            self.problems.push(problem.help("add what is missing under `properties:`"));
            return None;
        };
        Some(Linked { from, link, to: &target.name, package: format!("{}:{}", namespace.value, package.value) })
    }

    fn variants<'a>(&mut self, of: &'a Component) -> Option<Variants<'a>> {
        match of.kind.value.as_str() {
            "capability" => {}
            other => {
                let problem = Problem::at(&of.kind, format!("`{}` is of the type `{other}`", of.name.value));
                self.problems.push(problem.help("write `component` or `capability`"));
                return None;
            }
        }
        let image = match (&of.properties.image, &of.properties.application) {
            (Some(image), None) => image,
            // It belongs to the application that it is a part of.
            (None, Some(_)) => return None,
            _ => {
                let problem = Problem::at(&of.name, format!("`{}` needs `image` or `application`", of.name.value));
                self.problems.push(problem.help("write one of them under `properties:`"));
                return None;
            }
        };
        let Some(known) = providers::find(&image.value) else {
            let problem = Problem::at(image, format!("the provider {} has no counterpart here", image.value));
            self.problems.push(problem.help(providers::help()));
            return None;
        };
        if let Some(secret) = of.properties.secrets.first() {
            let problem = Problem::at(&secret.name, "a provider reads its secrets from its links");
            self.problems.push(problem.help("move it to the link that leads to the provider"));
        }
        Some(Variants { of, known, variants: Vec::new() })
    }

    /// Makes what a provider calls by its own links: routes and subscriptions.
    fn called(&mut self, variants: &mut Variants<'_>, links: &[Linked<'_>]) {
        for linked in links.iter().filter(|linked| linked.from.name.value == variants.of.name.value) {
            let told = self.told(linked.link.properties.source.as_ref(), &linked.link.properties.source_config);
            let kind = variants.known.kind;
            let (own, settings): (Vec<_>, Vec<_>) = told.iter().partition(|(name, _)| is_of_route(kind, name));
            let settings: Vec<Setting<'_>> = settings.into_iter().map(|(name, value)| (name.clone(), value)).collect();
            let variant = self.find(variants, &linked.link.kind, &settings);
            let value = |name: &str| own.iter().find(|(own, _)| own == name).map(|(_, value)| value);
            let text = |name: &str| value(name).map(|value| plain(&value.value));
            match kind {
                catalog::HTTP_SERVER => {
                    if let Some(port) = value("port") {
                        let address = Value::from(format!("0.0.0.0:{}", plain(&port.value)));
                        set(&mut variant.provider, "address", Spanned::new(address, port.referenced, port.defined));
                    }
                    let route =
                        format!("{}{}", text("host").unwrap_or_default(), text("path").unwrap_or_else(|| "/".into()));
                    let target = Targets::One(linked.to.clone());
                    variant.provider.routes.0.push((here(linked.to, &route), target));
                }
                catalog::MESSAGING_NATS => {
                    let subjects = text("subscriptions").unwrap_or_default();
                    for subject in subjects.split(',').map(str::trim).filter(|subject| !subject.is_empty()) {
                        let to = Subscription::to(linked.to.clone());
                        variant.provider.subscriptions.0.push((here(linked.to, subject), to));
                    }
                }
                _ => {
                    let problem = Problem::at(linked.to, format!("{kind} calls no components here"));
                    self.problems.push(problem.help("remove the link"));
                }
            }
        }
    }

    fn component(
        &mut self,
        of: &Component,
        links: &[Linked<'_>],
        all: &[Component],
        variants: &mut [Variants<'_>],
    ) -> manifest::Component {
        let image = of.properties.image.clone().unwrap_or_else(|| {
            let problem = Problem::at(&of.name, format!("`{}` has no image", of.name.value));
            self.problems.push(problem.help("write `image:` under `properties:`"));
            here(&of.name, "")
        });
        let mut entries: Vec<(Spanned<String>, Links)> = Vec::new();
        for linked in links.iter().filter(|linked| linked.from.name.value == of.name.value) {
            let to = self.target(linked, all, variants);
            let name = linked.link.properties.name.clone().filter(|name| name.value != DEFAULT_LINK);
            for (key, allow) in self.keys(linked) {
                let link = Link { name: name.clone(), allow, ..Link::to(to.clone()) };
                match entries.iter_mut().find(|(known, _)| known.value == key.value) {
                    Some((_, links)) => links.0.push(link),
                    None => entries.push((key, Links(vec![link]))),
                }
            }
        }
        let (replicas, per_host, placement) = self.scale(of);
        manifest::Component {
            image: oci(image),
            replicas,
            per_host,
            placement,
            rollout: Default::default(),
            limits: Default::default(),
            reuse: None,
            health: None,
            env: BTreeMap::new(),
            config: Entries(self.settings(&of.properties.config)),
            secrets: Entries(of.properties.secrets.iter().map(|secret| self.secret(secret)).collect()),
            links: Entries(entries),
            share: None,
        }
    }

    /// The keys of a link, with where requests may go.
    fn keys(&mut self, linked: &Linked<'_>) -> Vec<Key> {
        let Linked { link, package, .. } = linked;
        if WHOLE.contains(&package.as_str()) {
            return vec![(here(linked.to, package), None)];
        }
        let key = |interface: &Spanned<String>| {
            let sends = package == "wasi:http" && interface.value == "outgoing-handler";
            let allow = sends.then(|| place(linked.to, vec![here(linked.to, "https://*")]));
            (here(interface, &format!("{package}/{}", interface.value)), allow)
        };
        let keys: Vec<_> = link.properties.interfaces.iter().map(key).collect();
        if keys.iter().any(|(_, allow)| allow.is_some()) {
            let note = "requests are allowed to all hosts by https; name those that are asked without encryption, or fewer, in `allow`";
            self.notes.push(format!("{}: {note}", linked.from.name.value));
        }
        if keys.is_empty() {
            let problem = Problem::at(&link.kind, "a link needs `interfaces`");
            self.problems.push(problem.help("add them, as in `interfaces: [store, atomics]`"));
        }
        keys
    }

    /// The unit that a component's link leads to.
    fn target(&mut self, linked: &Linked<'_>, all: &[Component], variants: &mut [Variants<'_>]) -> Spanned<String> {
        let target = linked.link.properties.target.as_ref();
        let told = self.told(target.map(|target| &target.end), &linked.link.properties.target_config);
        if let Some(found) = variants.iter_mut().find(|found| found.of.name.value == linked.to.value) {
            let settings: Vec<Setting<'_>> = told.iter().map(|(name, value)| (name.clone(), value)).collect();
            let name = self.find(found, linked.to, &settings).name.value.clone();
            return here(linked.to, &name);
        }
        let shared = all.iter().find(|other| other.name.value == linked.to.value);
        match shared.and_then(|other| other.properties.application.as_ref()) {
            Some(shared) => here(linked.to, &format!("{}/{}", shared.name.value, shared.component.value)),
            None => linked.to.clone(),
        }
    }

    /// The provider that is set like this; made when there is none.
    fn find<'v, T>(
        &mut self,
        variants: &'v mut Variants<'_>,
        at: &Spanned<T>,
        told: &[Setting<'_>],
    ) -> &'v mut Variant {
        let settings: BTreeMap<_, _> = told.iter().map(|(name, value)| (name.clone(), value.value.clone())).collect();
        let known = variants.variants.iter().position(|variant| variant.settings == settings || settings.is_empty());
        let index = known.unwrap_or_else(|| {
            let number = variants.variants.len();
            let name = match number {
                0 => variants.of.name.clone(),
                number => here(at, &format!("{}-{}", variants.of.name.value, number + 1)),
            };
            if number > 0 {
                let base = &variants.of.name.value;
                self.notes
                    .push(format!("{base}: links with other settings lead to a provider of their own, {}", name.value));
            }
            let mut variant = self.variant(variants.of, variants.known, name, told);
            variant.settings = settings;
            variants.variants.push(variant);
            number
        });
        &mut variants.variants[index]
    }

    fn variant(
        &mut self,
        of: &Component,
        known: &'static providers::Known,
        name: Spanned<String>,
        told: &[Setting<'_>],
    ) -> Variant {
        // What the provider is told itself counts for all of its links.
        let own = self.told(None, &of.properties.config);
        let own = own.iter().filter(|(name, _)| !is_of_route(known.kind, name));
        let own = own.filter(|(name, _)| !told.iter().any(|(told, _)| told == name));
        let given: Vec<Setting<'_>> =
            own.map(|(name, value)| (name.clone(), value)).chain(told.iter().cloned()).collect();
        let settings = known.settings(&given, &mut self.notes, &mut self.problems);
        let (replicas, per_host, placement) = self.scale(of);
        let provider = Provider {
            kind: Some(here(&of.name, known.kind)),
            image: None,
            serves: Vec::new(),
            wit: None,
            env: Entries::default(),
            config: Entries(settings),
            isolate: None,
            limits: Default::default(),
            replicas,
            per_host,
            placement,
            rollout: Default::default(),
            routes: Entries::default(),
            subscriptions: Entries::default(),
            schedules: Entries::default(),
            watches: Entries::default(),
            share: None,
        };
        Variant { name, settings: BTreeMap::new(), provider }
    }

    fn scale(&mut self, of: &Component) -> (Option<Spanned<Replicas>>, Option<Spanned<u32>>, Placement) {
        let Some(scaler) = of.traits.iter().find(|t| matches!(t.kind.value.as_str(), "spreadscaler" | "daemonscaler"))
        else {
            return (None, None, Placement::default());
        };
        let spread = &scaler.properties.spread;
        let mut require: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (label, value) in spread.iter().flat_map(|entry| &entry.requirements) {
            let values = require.entry(label.clone()).or_default();
            if !values.contains(value) {
                values.push(value.clone());
            }
        }
        if spread.iter().any(|entry| entry.requirements.len() != require.len()) {
            let note = "the entries of `spread` ask for different labels: a host must have all of them now";
            self.notes.push(format!("{}: {note}", of.name.value));
        }
        if spread.iter().any(|entry| entry.weight.is_some()) && spread.len() > 1 {
            self.notes.push(format!("{}: weights are left out: each entry of `spread` is one host", of.name.value));
        }
        let by = match require.keys().collect::<Vec<_>>().as_slice() {
            [label] if spread.len() > 1 => Some(manifest::Spread { by: (*label).clone(), max_skew: None }),
            _ => None,
        };
        let placement = Placement { require, spread: by, ..Placement::default() };
        let fixed = |count: usize| place(&scaler.kind, Replicas::Fixed(u32::try_from(count).unwrap_or(u32::MAX)));
        match scaler.kind.value.as_str() {
            "daemonscaler" => (None, Some(place(&scaler.kind, 1)), placement),
            _ if scaler.properties.instances.as_ref().is_some_and(|n| n.value == 0) => {
                (Some(fixed(0)), None, placement)
            }
            _ => (Some(fixed(spread.len().max(1))), None, placement),
        }
    }

    /// What an end of a link is told, with the names in small letters, as wasmCloud's providers read them.
    fn told(&mut self, end: Option<&End>, more: &[Config]) -> Vec<(String, Spanned<Value>)> {
        let configs = end.map(|end| end.config.as_slice()).unwrap_or_default();
        let mut told = self.settings(configs);
        told.extend(self.settings(more));
        let secrets = end.map(|end| end.secrets.as_slice()).unwrap_or_default();
        told.extend(secrets.iter().map(|secret| {
            let (name, value) = self.secret(secret);
            let value = Spanned::new(json!({ "secret": value.value }), value.referenced, value.defined);
            (name, value)
        }));
        told.into_iter().map(|(name, value)| (name.value.to_lowercase(), value)).collect()
    }

    fn settings(&mut self, configs: &[Config]) -> Vec<(Spanned<String>, Spanned<Value>)> {
        let mut settings = Vec::new();
        for config in configs {
            match &config.properties {
                Some(properties) => settings.extend(properties.0.iter().cloned()),
                None => {
                    let name = &config.name.value;
                    let problem =
                        Problem::at(&config.name, format!("the configuration `{name}` is kept in a wasmCloud lattice"));
                    self.problems.push(problem.help("write what it holds under `properties:`"));
                }
            }
        }
        settings
    }

    /// The name by which a secret is asked for, and its name in the lattice.
    fn secret(&mut self, secret: &Secret) -> (Spanned<String>, Spanned<Value>) {
        let properties = &secret.properties;
        if let Some(field) = &properties.field {
            let problem = Problem::at(field, "a secret here is one value, without fields");
            self.problems.push(problem.help("keep the field's value as a secret of its own, and name that as `key`"));
        }
        if let Some(version) = &properties.version {
            let problem = Problem::at(version, "a secret here has its newest value, and no versions");
            self.problems.push(problem.help("remove `version`"));
        }
        let key = &properties.key;
        self.notes
            .push(format!("the secret `{}` is to be put with `lattice-ctl secrets put APP/{}`", key.value, key.value));
        (secret.name.clone(), place(key, key.value.clone().into()))
    }
}

fn is_component(component: &Component) -> bool {
    matches!(component.kind.value.as_str(), "component" | "actor")
}

/// Whether a setting of a link from a provider is about what that calls, and not about the provider.
fn is_of_route(kind: &str, name: &str) -> bool {
    match kind {
        catalog::HTTP_SERVER => matches!(name, "path" | "host" | "port" | "routing_mode" | "header"),
        catalog::MESSAGING_NATS => name == "subscriptions",
        _ => false,
    }
}

fn set(provider: &mut Provider, name: &str, value: Spanned<Value>) {
    provider.config.0.retain(|(key, _)| key.value != name);
    provider.config.0.push((here(&value, name), value));
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// wadm names images of registries without saying so.
fn oci(image: Spanned<String>) -> Spanned<String> {
    let is_plain = image.value.contains("://") || image.value.starts_with(['.', '/']) || image.value.is_empty();
    let value = if is_plain { image.value } else { format!("oci://{}", image.value) };
    Spanned::new(value, image.referenced, image.defined)
}

fn place<T, U>(at: &Spanned<T>, value: U) -> Spanned<U> {
    Spanned::new(value, at.referenced, at.defined)
}

fn here<T>(at: &Spanned<T>, value: &str) -> Spanned<String> {
    place(at, value.to_owned())
}

fn everybody() -> Share {
    Share { with: Sharers::All, data: None::<Spanned<Data>> }
}

#[cfg(test)]
mod tests;
