//! Links: whether each leads to a unit that serves what it names, and whether every import has one.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::{Checker, ComponentFacts};
use crate::{
    model::{
        app::{self, DEFAULT_LINK, LinkSpec, LinkTarget, Transport, UnitSpec},
        catalog::{self, ProviderKind},
        manifest::{Component, Link, Links, resolve_duration},
        problem::{Problem, suggest},
    },
    wire::{AppName, Interface, MAX_NAME},
};

/// The greatest sum of weights.
const MAX_WEIGHT: u32 = 1_000_000;

/// A link in the making: who imports, by which key of `links:`, and who serves.
#[derive(Clone, Copy)]
pub(super) struct Wire<'a> {
    pub(super) importer: &'a str,
    pub(super) component: &'a Component,
    pub(super) pattern: &'a Spanned<String>,
    pub(super) link: &'a Link,
}

impl<'a> Wire<'a> {
    /// The links that share the calls of this one, itself among them.
    pub(super) fn shares(self) -> impl Iterator<Item = &'a Link> {
        let links = self.component.links.0.iter().filter(move |(pattern, _)| std::ptr::eq(pattern, self.pattern));
        links.flat_map(|(_, links)| &links.0).filter(move |link| link.name() == self.link.name())
    }
}

impl Checker<'_> {
    /// The links of one component that can be understood.
    pub(super) fn links(
        &mut self,
        app: &AppName,
        importer: &Spanned<String>,
        component: &Component,
        facts: Option<&ComponentFacts>,
    ) -> Vec<LinkSpec> {
        let mut specs = Vec::new();
        for (pattern, links) in &component.links.0 {
            self.imported(pattern, facts);
            self.names(pattern, links);
            self.without_default(&importer.value, component, (pattern, links), facts);
            for link in &links.0 {
                let wire = Wire { importer: &importer.value, component, pattern, link };
                specs.extend(self.link(app, wire, facts));
            }
        }
        specs
    }

    fn imported(&mut self, pattern: &Spanned<String>, facts: Option<&ComponentFacts>) {
        let Some(facts) = facts else { return };
        if facts.imports.iter().any(|i| i.matches(&pattern.value)) {
            return;
        }
        let own = facts.imports.iter().filter(|i| !catalog::is_ambient(i.package()));
        let names = own.flat_map(|i| [i.package(), i.unversioned()]);
        let linkable: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
        // The package alone when that is what was meant: it is how links are mostly written.
        let linkable: BTreeSet<_> = match pattern.value.contains('/') {
            true => linkable,
            false => linkable.into_iter().filter(|l| !l.contains('/')).collect(),
        };
        let problem = Problem::at(pattern, format!("the component does not import `{}`", pattern.value));
        self.problems.push(problem.help(suggest(&pattern.value, linkable)));
    }

    /// The names by which a component chooses among the links of one key.
    fn names(&mut self, pattern: &Spanned<String>, links: &Links) {
        if links.0.is_empty() {
            let problem = Problem::at(pattern, format!("`{}` has an empty list of links", pattern.value));
            self.problems.push(problem.help("name a unit, or remove the key"));
            return;
        }
        let mut seen: BTreeMap<&str, Vec<&Link>> = BTreeMap::new();
        for link in &links.0 {
            let name = link.name();
            let at = link.name.as_ref().unwrap_or(&link.to);
            let before = seen.entry(name).or_default();
            let is_taken = before.iter().any(|before| before.weight.is_none() || link.weight.is_none());
            before.push(link);
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fine) {
                let problem = Problem::at(at, format!("`{name}` cannot be the name of a link"));
                let help = format!("write 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`");
                self.problems.push(problem.help(help));
            } else if is_taken {
                let problem = match &link.name {
                    Some(_) => Problem::at(at, format!("two links of `{}` are named `{name}`", pattern.value)),
                    None => Problem::at(at, format!("two links of `{}` have no name", pattern.value)),
                };
                self.problems.push(problem.help("give each a name of its own, as in `{ name: archive, to: old }`"));
            }
        }
        for (name, links) in seen {
            let weights: Vec<_> = links.iter().filter_map(|link| link.weight.as_ref()).collect();
            if let [first, ..] = weights.as_slice() {
                let sum = weights.iter().fold(0u32, |sum, weight| sum.saturating_add(weight.value));
                self.weights(first, &format!("the link `{name}` of `{}`", pattern.value), sum);
            }
        }
    }

    /// The sum of the weights of those among which calls are shared out.
    pub(super) fn weights<T>(&mut self, at: &Spanned<T>, of: &str, sum: u32) {
        if sum == 0 || sum > MAX_WEIGHT {
            let problem = Problem::at(at, format!("the weights of {of} add up to {sum}"));
            let help = format!("write weights with a sum of 1 to {MAX_WEIGHT}, as in {{ cart: 90, next: 10 }}");
            self.problems.push(problem.help(help));
        }
    }

    /// Notes when a component must choose among its links. The default may also stand under another key.
    fn without_default(
        &mut self,
        importer: &str,
        component: &Component,
        (pattern, links): (&Spanned<String>, &Links),
        facts: Option<&ComponentFacts>,
    ) {
        let mut imports = facts.into_iter().flat_map(|f| &f.imports).filter(|i| i.matches(&pattern.value));
        if imports.any(|import| !links_of(component, import).contains_key(DEFAULT_LINK)) {
            let names: Vec<_> = links.0.iter().map(|link| format!("`{}`", link.name())).collect();
            self.notes.push(format!(
                "`{importer}` has no default link for {}: calls in which it does not choose {} fail",
                pattern.value,
                names.join(" or ")
            ));
        }
    }

    fn link(&mut self, app: &AppName, wire: Wire<'_>, facts: Option<&ComponentFacts>) -> Option<LinkSpec> {
        let Wire { importer, pattern, link, .. } = wire;
        let deadline_ms = link.deadline.as_ref().and_then(|d| resolve_duration(d, &mut self.problems));
        let to = self.link_target(app, &link.to)?;
        if link.to.value == importer {
            let problem = Problem::at(&link.to, format!("`{importer}` cannot be linked to itself"));
            self.problems.push(problem.help("link it to another unit that serves the interface"));
            return None;
        }
        if let Some(facts) = facts {
            self.idempotent(wire, facts);
        }
        let target = if self.is_capability(&link.to.value) {
            // A provider of an unknown kind has its own problem.
            let kind = self.provider_kind(&link.to.value)?;
            self.served_by_provider(wire, kind, facts)?
        } else if self.stands_for(wire, facts) {
            LinkTarget::Capability
        } else {
            if let (Some(facts), Some(target)) = (facts, self.facts.get(&link.to.value)) {
                self.served_by_wit(wire, facts, target);
            }
            LinkTarget::Wit
        };
        self.shares_of_calls(wire, target);
        let allow = self.allow(app, wire);
        let own_names = target == LinkTarget::Capability && self.has_own_names(&link.to.value);
        Some(LinkSpec {
            interface: pattern.value.clone(),
            name: link.name().to_owned(),
            to,
            weight: link.weight.as_ref().map(|weight| weight.value),
            target,
            transport: link.transport(),
            deadline_ms,
            idempotent: link.idempotent.iter().map(|name| name.value.clone()).collect(),
            allow,
            own_names,
            fused: None,
        })
    }

    /// Calls are shared out only among those that are called one by one, and have no state that their callers know of.
    fn shares_of_calls(&mut self, wire: Wire<'_>, target: LinkTarget) {
        let Wire { importer, link, .. } = wire;
        if link.weight.is_none() {
            return;
        }
        let to = &link.to.value;
        let problem = if target == LinkTarget::Capability {
            Problem::at(
                &link.to,
                format!("`{to}` is a provider: what it keeps is nowhere else, so it has no share of the calls"),
            )
            .help("link it alone, or give each link a name")
        } else if link.transport() == Transport::Fused {
            Problem::at(&link.to, format!("`{to}` cannot be a part of `{importer}` and have a share of its calls"))
                .help("remove `transport: fused`")
        } else {
            return;
        };
        self.problems.push(problem);
    }

    pub(super) fn is_provider(&self, unit: &str) -> bool {
        self.provider_is_program(unit).is_some()
    }

    /// Whether it is a provider whose calls are those of a capability.
    pub(super) fn is_capability(&self, unit: &str) -> bool {
        self.provider_is_program(unit) == Some(false)
    }

    pub(super) fn is_program(&self, unit: &str) -> bool {
        self.provider_is_program(unit) == Some(true)
    }

    /// Of a provider, whether it is a program of a user's own.
    fn provider_is_program(&self, unit: &str) -> Option<bool> {
        let own = self.manifest.spec.providers.0.iter().find(|(key, _)| key.value == unit);
        match own {
            Some((_, provider)) => Some(provider.image.is_some()),
            None => match &self.foreign(unit)?.unit.spec {
                UnitSpec::Provider(provider) => Some(provider.program.is_some()),
                UnitSpec::Component(_) => None,
            },
        }
    }

    /// What a unit does with the interfaces that others import from it.
    pub(super) fn serves_or_exports(&self, unit: &str) -> &'static str {
        if self.is_program(unit) { "serves" } else { "exports" }
    }

    /// Whether it is a program with a capability of which the importer imports what components know.
    fn stands_for(&self, wire: Wire<'_>, facts: Option<&ComponentFacts>) -> bool {
        let target = self.facts.get(&wire.link.to.value).filter(|_| self.is_program(&wire.link.to.value));
        let (Some(facts), Some(target)) = (facts, target) else { return false };
        let mut imports = facts.imports.iter().filter(|import| import.matches(&wire.pattern.value)).peekable();
        imports.peek().is_some()
            && imports.all(|import| target.exports.iter().any(|served| catalog::stands_for(served, import)))
    }

    fn served_by_provider(
        &mut self,
        wire: Wire<'_>,
        kind: &ProviderKind,
        facts: Option<&ComponentFacts>,
    ) -> Option<LinkTarget> {
        let Wire { pattern, link, .. } = wire;
        if let (Some(capability), true) = (kind.capability, serves_all(kind, &pattern.value, facts)) {
            facts.into_iter().for_each(|facts| self.resources_of_components(wire, facts));
            return Some(capability.target);
        }
        let message = format!("`{}` is a {}, which does not serve `{}`", link.to.value, kind.name, pattern.value);
        let help = self.could_serve(wire, facts);
        self.problems.push(Problem::at(&link.to, message).help(help));
        None
    }

    /// Names in `idempotent` that are no functions of what is linked.
    fn idempotent(&mut self, wire: Wire<'_>, facts: &ComponentFacts) {
        let Wire { pattern, link, .. } = wire;
        let imports = facts.import_shapes.iter().filter(|(interface, _)| interface.matches(&pattern.value));
        let exports = self.facts.get(&link.to.value).map(|target| &target.export_shapes);
        let exports = exports.into_iter().flatten().filter(|(e, _)| imports.clone().any(|(i, _)| same_name(i, e)));
        let known: BTreeSet<&str> =
            imports.clone().chain(exports).flat_map(|(_, shape)| shape.functions.keys()).map(String::as_str).collect();
        for name in &link.idempotent {
            if name.value != "*" && !known.contains(name.value.as_str()) {
                let problem = Problem::at(name, format!("`{}` has no function `{}`", pattern.value, name.value));
                self.problems.push(problem.help(suggest(&name.value, known.iter().copied())));
            }
        }
    }

    /// Who could be named instead.
    pub(super) fn could_serve(&self, wire: Wire<'_>, facts: Option<&ComponentFacts>) -> String {
        let imports = facts.into_iter().flat_map(|f| &f.imports).filter(|i| i.matches(&wire.pattern.value));
        let imports: Vec<_> = imports.collect();
        let could: BTreeSet<_> = imports.iter().flat_map(|i| catalog::serving(i)).collect();
        if !could.is_empty() {
            let could: Vec<_> = could.into_iter().collect();
            return format!("link it to a provider with `use:` one of {}", could.join(", "));
        }
        match self.exporter(wire.importer, &imports) {
            Some(unit) => format!("link it to `{unit}`, which {} it", self.serves_or_exports(unit)),
            None => format!("no provider that this lattice knows serves `{}`", wire.pattern.value),
        }
    }

    /// A component or program of the app, other than `importer`, that has what serves all of `imports`.
    pub(super) fn exporter(&self, importer: &str, imports: &[&Interface]) -> Option<&str> {
        let exports = |facts: &ComponentFacts, import| facts.exports.iter().any(|export| serves(import, export));
        let fits = |facts: &ComponentFacts| !imports.is_empty() && imports.iter().all(|import| exports(facts, import));
        let mut components = self.facts.iter().filter(|(name, _)| *name != importer);
        components.find(|(_, facts)| fits(facts)).map(|(name, _)| name.as_str())
    }

    /// Imports that some links lead to a component and others to a provider: their calls are not made alike, and a host
    /// has one way for each import.
    pub(super) fn mixed(&mut self, key: &Spanned<String>, facts: &ComponentFacts, links: &[LinkSpec]) {
        for import in &facts.imports {
            let found = app::links_of_import(import, links);
            let of = |target| found.values().flatten().find(|link| link.target == target);
            let (Some(component), Some(provider)) = (of(LinkTarget::Wit), of(LinkTarget::Capability)) else { continue };
            let message = format!(
                "`{}` is linked for {import} to `{}`, a component, and to `{}`, a provider",
                key.value, component.to.unit, provider.to.unit
            );
            self.problems.push(Problem::at(key, message).help("link all names of one interface to units of one kind"));
        }
    }

    /// Imports that nothing would satisfy.
    pub(super) fn unlinked(&mut self, key: &Spanned<String>, component: &Component, facts: &ComponentFacts) {
        for import in called(Some(facts)).filter(|i| !catalog::is_ambient(i.package())) {
            if component.links.0.iter().any(|(pattern, _)| import.matches(&pattern.value)) {
                continue;
            }
            let interface = import.unversioned();
            let could = catalog::serving(import);
            let help = match self.exporter(&key.value, &[import]) {
                Some(unit) => {
                    let does = self.serves_or_exports(unit);
                    format!("add `links: {{ {interface}: {unit} }}`: `{unit}` {does} it")
                }
                None if could.is_empty() => format!(
                    "no provider that this lattice knows serves {interface}; add a component that exports it, and link \
                     to it"
                ),
                None => format!(
                    "add `links: {{ {}: NAME }}`, where NAME is a provider with `use:` one of {}",
                    import.package(),
                    could.join(", ")
                ),
            };
            let what = in_words(import, facts);
            self.problems
                .push(Problem::at(key, format!("`{}` imports {what}, and no link satisfies it", key.value)).help(help));
        }
    }
}

/// Whether a provider serves what a pattern names of a component's imports, apart from what needs no link.
fn serves_all(kind: &ProviderKind, pattern: &str, facts: Option<&ComponentFacts>) -> bool {
    let named: Vec<_> = called(facts).filter(|i| i.matches(pattern)).collect();
    let (served, others): (Vec<&Interface>, Vec<_>) = named.iter().partition(|import| kind.serves(import));
    (named.is_empty() || !served.is_empty()) && others.iter().all(|import| catalog::is_ambient(import.package()))
}

/// The imports that need somebody behind them: one that has types and no functions is never called.
pub(super) fn called(facts: Option<&ComponentFacts>) -> impl Iterator<Item = &Interface> {
    let has_functions = |facts: &ComponentFacts, import| {
        facts.import_shapes.get(import).is_none_or(|shape| !shape.functions.is_empty())
    };
    facts.into_iter().flat_map(move |facts| facts.imports.iter().filter(move |import| has_functions(facts, import)))
}

/// An import in words: functions that are in no interface are known by their own names.
fn in_words(import: &Interface, facts: &ComponentFacts) -> String {
    match (import.unversioned(), facts.import_shapes.get(import)) {
        (Interface::ROOT, Some(shape)) => {
            let names: Vec<_> = shape.functions.keys().map(|name| format!("`{name}`")).collect();
            format!("the functions {} by themselves ({import})", names.join(", "))
        }
        _ => import.to_string(),
    }
}

/// Whether two interfaces have the same name, whatever their versions.
pub(super) fn same_name(a: &Interface, b: &Interface) -> bool {
    a.unversioned() == b.unversioned()
}

/// Whether `export` serves `import`, by name and version.
pub(super) fn serves(import: &Interface, export: &Interface) -> bool {
    export.satisfies(import)
}

/// The links that calls of `import` take, by name, as the host will find them.
pub(super) fn links_of<'c>(
    component: &'c Component,
    import: &Interface,
) -> BTreeMap<&'c str, Vec<(&'c Spanned<String>, &'c Link)>> {
    let links = component.links.0.iter().flat_map(|(pattern, links)| links.0.iter().map(move |link| (pattern, link)));
    app::links_of(import, links.map(|(pattern, link)| (pattern.value.as_str(), link.name(), (pattern, link))))
}
