//! What is known of an interface's functions: for the way out of a call that failed.

use std::{collections::BTreeMap, time::Duration};

use lattice::{
    bus::Bus,
    model::{
        app::{ProviderSpec, UnitSpec},
        problem::suggest,
        shape::InterfaceShape,
    },
    wire::{CallError, Interface},
};
use wit_parser::Resolve;

use crate::{component::inspect, shape::Shapes, wit::Wit};

/// The interfaces of providers, as `wit/` has them.
const PROVIDED: &[&str] = &[include_str!("../../../wit/keyvalue/package.wit")];
/// How long the component that was called may take to arrive, only to explain an error.
const FETCH: Duration = Duration::from_secs(5);
/// The longest signature that is shown, in characters.
const MAX_SHOWN: usize = 400;

/// The functions of an interface, with their types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Known(BTreeMap<String, String>);

impl Known {
    /// What can be found out, when the error has to do with it.
    pub(super) async fn find(bus: &Bus, spec: &UnitSpec, interface: &Interface, error: &CallError) -> Self {
        if !matches!(error, CallError::NotServed(_) | CallError::BadMessage(_)) {
            return Self::default();
        }
        match spec {
            UnitSpec::Provider(ProviderSpec { program: Some(program), .. }) => {
                let shapes = Wit::of(bus, program).await.map(|wit| wit.shapes()).unwrap_or_default();
                find(shapes, interface)
            }
            UnitSpec::Provider(_) => provided(interface),
            UnitSpec::Component(component) => {
                let fetched = tokio::time::timeout(FETCH, bus.artifacts().get(&component.digest)).await;
                let inspected = fetched.ok().and_then(Result::ok).and_then(|bytes| inspect(&bytes).ok());
                let shapes = inspected.map(|inspected| inspected.facts.export_shapes).unwrap_or_default();
                find(shapes, interface)
            }
        }
    }

    /// The type of `function`, or a function that may have been meant; `None` when nothing is known.
    pub(super) fn about(&self, function: &str) -> Option<String> {
        match self.0.get(function) {
            Some(signature) if signature.chars().count() <= MAX_SHOWN => Some(format!("`{function}` is {signature}")),
            Some(signature) => {
                let beginning: String = signature.chars().take(MAX_SHOWN).collect();
                Some(format!("`{function}` is {beginning}..."))
            }
            None if self.0.is_empty() => None,
            None => Some(suggest(function, self.0.keys().map(String::as_str))),
        }
    }

    pub(super) fn has(&self, function: &str) -> bool {
        self.0.contains_key(function)
    }
}

fn find(mut shapes: BTreeMap<Interface, InterfaceShape>, interface: &Interface) -> Known {
    let same = shapes.remove(interface);
    let other = || shapes.into_iter().find(|(export, _)| export.unversioned() == interface.unversioned());
    same.or_else(|| other().map(|(_, shape)| shape)).map(Known::from).unwrap_or_default()
}

impl From<InterfaceShape> for Known {
    fn from(shape: InterfaceShape) -> Self {
        Self(shape.functions.into_iter().map(|(name, function)| (name, function.signature)).collect())
    }
}

fn provided(interface: &Interface) -> Known {
    let mut resolve = Resolve::default();
    for wit in PROVIDED {
        // A package that cannot be read says nothing; a test reads them all.
        let _ = resolve.push_source("package.wit", wit);
    }
    let found = resolve.interfaces.iter().map(|(id, _)| id).find(|id| {
        let name = resolve.id_of(*id).unwrap_or_default();
        name.split('@').next() == Some(interface.unversioned())
    });
    found.map(|id| Known::from(Shapes::new(&resolve).of(id))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use lattice::{model::app::ComponentSpec, wire::Digest};

    use super::*;
    use crate::component::tests::component;

    #[tokio::test]
    async fn a_component_tells_what_it_exports() {
        let bus = Bus::memory("default".parse().unwrap());
        let bytes = component(&[], &["acme:pricing/quote@1.2.0"]).into();
        bus.artifacts().put(&bytes).await.unwrap();
        let spec = |digest: Digest| UnitSpec::Component(ComponentSpec::of(digest));
        let quote = "acme:pricing/quote@1.0.0".parse().unwrap();
        let error = CallError::NotServed("acme:pricing/quote#rum".into());
        let known = Known::find(&bus, &spec(Digest::of(&bytes)), &quote, &error).await;
        assert_eq!(known.about("rum").as_deref(), Some("did you mean `run`?"));
        assert_eq!(known.about("run").as_deref(), Some("`run` is func()"));
        // What cannot be had is not missed.
        assert_eq!(Known::find(&bus, &spec(Digest::of(b"other")), &quote, &error).await, Known::default());
        let deadline = CallError::Deadline(FETCH);
        assert_eq!(Known::find(&bus, &spec(Digest::of(&bytes)), &quote, &deadline).await, Known::default());
    }

    #[test]
    fn the_packages_of_providers_are_read() {
        for wit in PROVIDED {
            Resolve::default().push_source("package.wit", wit).unwrap();
        }
        let known = provided(&"lattice:keyvalue/store@0.1.0".parse().unwrap());
        let expected = "`exists` is func(bucket: string, key: string) -> result<bool, variant { no-such-store, \
                        access-denied, other(string) }>";
        assert_eq!(known.about("exists").as_deref(), Some(expected));
        assert_eq!(known.about("exist").as_deref(), Some("did you mean `exists`?"));
        assert_eq!(Known::default().about("exists"), None);
    }
}
