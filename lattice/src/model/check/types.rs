//! Whether what a component imports is what another one exports or a program serves: names, versions, the types of functions, and whether
//! their values can leave a component at all.

use std::collections::BTreeSet;

use super::{
    Checker, ComponentFacts,
    links::{Wire, called, links_of, same_name, serves},
};
use crate::{
    model::{
        app::Transport,
        catalog,
        problem::{Problem, suggest},
        shape::{FunctionShape, InterfaceShape, ResourceName, contrast},
    },
    wire::{Interface, version},
};

/// So many names of interfaces stand in a text.
const SHOWN: usize = 8;

impl Checker<'_> {
    /// Compares every import that goes by this link with what the target has of it.
    pub(super) fn served_by_wit(&mut self, wire: Wire<'_>, facts: &ComponentFacts, target: &ComponentFacts) {
        for import in called(Some(facts)).filter(|i| takes(wire, i)) {
            let mut exports: Vec<_> = target.exports.iter().filter(|e| same_name(import, e)).collect();
            exports.sort_by_key(|export| serves(import, export));
            match exports.last() {
                None => self.not_exported(wire, import, target),
                Some(export) if !serves(import, export) => self.other_version(wire, import, export),
                // A program without WIT of this: only calls will show whether the types agree.
                Some(export) if self.is_program(&wire.link.to.value) && !target.export_shapes.contains_key(export) => {}
                Some(export) => {
                    let empty = InterfaceShape::default();
                    let wanted = facts.import_shapes.get(import).unwrap_or(&empty);
                    let had = target.export_shapes.get(export).unwrap_or(&empty);
                    self.functions(wire, import, wanted, had);
                    self.resources(wire, import, wanted, facts, target);
                }
            }
        }
    }

    fn not_exported(&mut self, wire: Wire<'_>, import: &Interface, target: &ComponentFacts) {
        let Wire { importer, link, .. } = wire;
        let interface = import.unversioned();
        let could = catalog::serving(import);
        let help = if let Some(unit) = self.exporter(importer, &[import]) {
            format!("link {interface} to `{unit}`, which {} it", self.serves_or_exports(unit))
        } else if !could.is_empty() {
            format!("link {interface} to a provider with `use:` one of {}", could.join(", "))
        } else {
            let exports: Vec<_> = target.exports.iter().take(SHOWN).map(ToString::to_string).collect();
            let exports = if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") };
            format!("`{}` {} {exports}", link.to.value, self.serves_or_exports(&link.to.value))
        };
        let does_not = if self.is_program(&link.to.value) { "does not serve" } else { "does not export" };
        let message = format!("`{}` {does_not} {import}, which `{importer}` imports", link.to.value);
        self.problems.push(Problem::at(&link.to, message).help(help));
    }

    fn other_version(&mut self, wire: Wire<'_>, import: &Interface, export: &Interface) {
        let Wire { importer, link, .. } = wire;
        let target = &link.to.value;
        let does = self.serves_or_exports(target);
        let message = format!("`{importer}` imports {import}, and `{target}` {does} {export}, which does not serve it");
        let help = version::way_out(importer, import.version(), target, export.version());
        self.problems.push(Problem::at(&link.to, message).help(help));
    }

    /// Every function that is imported, against the export's of the same name.
    fn functions(&mut self, wire: Wire<'_>, import: &Interface, wanted: &InterfaceShape, had: &InterfaceShape) {
        let Wire { importer, link, .. } = wire;
        let target = &link.to.value;
        let does = self.serves_or_exports(target);
        for (name, function) in &wanted.functions {
            let problem = match had.functions.get(name) {
                None => {
                    let message = format!(
                        "`{target}` {does} {} without `{name}`, which `{importer}` imports as ",
                        import.unversioned()
                    ) + &shown(function);
                    let known: Vec<_> = had.functions.keys().map(String::as_str).collect();
                    Problem::at(&link.to, message).help(suggest(name, known))
                }
                Some(other) if other.signature != function.signature => {
                    let (imported, exported) = contrast(&function.signature, &other.signature);
                    let message = format!(
                        "`{name}` of {import} is `{imported}` where `{importer}` imports it, and `{exported}` where \
                         `{target}` {does} it"
                    );
                    Problem::at(&link.to, message).help("build both with the same WIT package")
                }
                Some(_) => continue,
            };
            self.problems.push(problem);
        }
    }

    /// Values that cannot leave a component, and resources that would have to leave the one that holds them, to one that
    /// cannot give them back: a resource crosses as long as all its functions are called in the component that made it.
    fn resources(
        &mut self,
        wire: Wire<'_>,
        import: &Interface,
        wanted: &InterfaceShape,
        facts: &ComponentFacts,
        target: &ComponentFacts,
    ) {
        let Wire { link, .. } = wire;
        // Fused components live in one store.
        if link.transport() == Transport::Fused {
            return;
        }
        for (name, function) in &wanted.functions {
            if let Some(stuck) = function.stuck {
                let message =
                    format!("`{name}` of {import} has {stuck}, which cannot cross from one component to another");
                self.problems
                    .push(Problem::at(&link.to, message).help("write `transport: fused`, or pass it otherwise"));
            }
            let Some(foreign) = function.resources.iter().find(|r| !held_by(wire, r, facts, target)) else { continue };
            let message = format!(
                "`{name}` of {import} takes or returns the resource {foreign}, which cannot cross from one component to \
                 another"
            );
            let exported = target.exports.iter().any(|export| export.unversioned() == foreign.interface);
            let help = if exported {
                format!("link {} to `{}` as well", foreign.interface, link.to.value)
            } else {
                format!(
                    "only resources that `{}` exports itself can: pass bytes or a stream, or write `transport: fused`",
                    link.to.value
                )
            };
            self.problems.push(Problem::at(&link.to, message).help(help));
        }
    }

    /// Resources that a component would make, and this link would bring to a provider.
    pub(super) fn resources_of_components(&mut self, wire: Wire<'_>, facts: &ComponentFacts) {
        let Wire { component, link, .. } = wire;
        for (import, shape) in facts.import_shapes.iter().filter(|(import, _)| takes(wire, import)) {
            let resources: BTreeSet<_> = shape.functions.values().flat_map(|function| &function.resources).collect();
            for resource in resources {
                let makers = facts.imports.iter().filter(|i| i.unversioned() == resource.interface);
                let mut makers = makers.flat_map(|maker| links_of(component, maker).into_values().flatten());
                let Some((_, maker)) = makers.find(|(_, maker)| !self.is_capability(&maker.to.value)) else { continue };
                let message = format!(
                    "{import} takes or returns the resource {resource}, which `{}` holds: it cannot go to `{}`",
                    maker.to.value, link.to.value
                );
                let help = format!("link {} and {} to the same unit", resource.interface, import.unversioned());
                self.problems.push(Problem::at(&link.to, message).help(help));
            }
        }
    }
}

/// Whether calls of `import` go by this link.
fn takes(wire: Wire<'_>, import: &Interface) -> bool {
    let links = links_of(wire.component, import);
    let mut of_name = links.get(wire.link.name()).into_iter().flatten();
    of_name.any(|(pattern, _)| std::ptr::eq(*pattern, wire.pattern))
}

/// Whether a resource is made and kept by the link's target: it exports the interface, and the importer's calls of
/// that interface go there too.
fn held_by(wire: Wire<'_>, resource: &ResourceName, facts: &ComponentFacts, target: &ComponentFacts) -> bool {
    let exported = target.exports.iter().any(|export| export.unversioned() == resource.interface);
    let mut imports = facts.imports.iter().filter(|import| import.unversioned() == resource.interface);
    let ours: BTreeSet<&str> = wire.shares().map(|link| link.to.value.as_str()).collect();
    // Whoever may make one must also be among those that it can be given to.
    let goes_there = |import: &Interface| {
        let links = links_of(wire.component, import);
        let mut names = links.values().map(|links| links.iter().map(|(_, link)| link.to.value.as_str()));
        names.any(|mut makers| {
            makers.clone().any(|maker| maker == wire.link.to.value) && makers.all(|maker| ours.contains(maker))
        })
    };
    exported && imports.all(goes_there)
}

/// A function's type in words of bounded length.
fn shown(function: &FunctionShape) -> String {
    format!("`{}`", contrast(&function.signature, "").0)
}
