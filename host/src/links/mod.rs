//! Where calls go: [`router`] knows every instance of the lattice that takes calls, [`road`] sends a call to the best of
//! them, [`link`] and [`function`] are one import of a component, bound to a unit and resolved anew at each call.

mod asleep;
mod function;
mod link;
mod road;
mod route;
mod router;
mod scheduled;
mod shares;
mod subscriber;
mod watcher;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use lattice::{
    bus::Bus,
    model::{
        app::{ComponentSpec, DEFAULT_LINK, LinkSpec, LinkTarget, links_of_import},
        catalog::HTTP_CLIENT,
    },
    wire::UnitId,
};

pub use function::{FunctionLink, Place};
pub use link::Link;
pub(crate) use road::Outgoing;
pub use route::route;
pub use router::{LocalInstance, Router};
pub(crate) use scheduled::scheduled;
pub(crate) use shares::Shares;
pub(crate) use subscriber::subscriber;
pub(crate) use watcher::watcher;

/// The links of one import, by name; those of one name share its calls.
#[derive(Debug)]
pub struct Named<T>(BTreeMap<String, Arc<Shares<Arc<T>>>>);

impl<T> Clone for Named<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Named<T> {
    /// The link of this name that takes the next call; without a name, of the default.
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<T>> {
        self.shares(name)?.choose()
    }

    /// The links of this name; without one, of the default.
    pub(crate) fn shares(&self, name: Option<&str>) -> Option<&Shares<Arc<T>>> {
        self.0.get(name.unwrap_or(DEFAULT_LINK)).map(|shares| &**shares)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.0.values().flat_map(|shares| shares.iter())
    }

    fn add(&mut self, name: &str, specs: &[&LinkSpec], link: impl Fn(&LinkSpec) -> T) {
        let links = specs.iter().map(|spec| (spec.weight.unwrap_or(1), Arc::new(link(spec))));
        self.0.insert(name.to_owned(), Arc::new(Shares::new(links)));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The links of one component, by what it imports.
#[derive(Default)]
pub struct ComponentLinks {
    /// Interfaces whose calls the host translates into those of a capability, by the import without its version.
    capabilities: HashMap<String, Named<Link>>,
    /// Interfaces that are called as they stand in WIT, by the import's full name.
    pub functions: HashMap<String, Named<FunctionLink>>,
}

impl ComponentLinks {
    /// The links that `spec` names for `unit`.
    pub fn new(bus: &Bus, router: &Arc<Router>, unit: &UnitId, spec: &ComponentSpec) -> Self {
        let mut links = Self::default();
        for import in &spec.imports {
            for (name, specs) in links_of_import(import, &spec.links) {
                let our = || (bus.clone(), router.clone(), unit.clone());
                if specs.iter().all(|spec| spec.target == LinkTarget::Wit) {
                    let named = links.functions.entry(import.to_string()).or_default();
                    named.add(name, &specs, |spec| {
                        let (bus, router, unit) = our();
                        FunctionLink::new(bus, router, unit, spec)
                    });
                    continue;
                }
                let named = links.capabilities.entry(import.unversioned().to_owned()).or_default();
                named.add(name, &specs, |spec| {
                    let (bus, router, unit) = our();
                    Link::new(bus, router, unit, spec)
                });
            }
        }
        links
    }

    /// Whether calls of `interface` (without a version) may go by a link of this name.
    pub fn has(&self, interface: &str, name: &str) -> bool {
        let name = Some(name);
        match self.capability(interface) {
            Some(links) => links.shares(name).is_some(),
            None => self
                .functions
                .iter()
                .any(|(import, named)| import.split('@').next() == Some(interface) && named.shares(name).is_some()),
        }
    }

    /// The links by which HTTP requests leave, whichever version of WASI sends them.
    pub fn outgoing(&self) -> Option<&Named<Link>> {
        HTTP_CLIENT.imports.iter().find_map(|import| self.capability(import))
    }

    /// The links of an interface (without a version) whose calls the host translates.
    pub fn capability(&self, interface: &str) -> Option<&Named<Link>> {
        self.capabilities.get(interface)
    }
}
