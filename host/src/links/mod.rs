//! Where calls go: [`router`] knows every instance of the lattice that takes calls, [`road`] sends a call to the best of
//! them, [`link`] and [`function`] are one import of a component, bound to a unit and resolved anew at each call.

mod function;
mod link;
mod road;
mod router;

use std::{collections::HashMap, sync::Arc};

use lattice::{
    bus::Bus,
    model::app::{ComponentSpec, LinkSpec, LinkTarget},
    wire::{Interface, UnitId},
};

pub use function::{FunctionLink, Place};
pub use link::{HttpLink, Link};
pub(crate) use road::Outgoing;
pub use router::{LocalInstance, Router};

/// The links of one component, by what it imports.
#[derive(Default)]
pub struct ComponentLinks {
    pub keyvalue_store: Option<Arc<Link>>,
    pub keyvalue_atomics: Option<Arc<Link>>,
    pub keyvalue_batch: Option<Arc<Link>>,
    /// Interfaces that are called as they stand in WIT, by the import's full name.
    pub functions: HashMap<String, Arc<FunctionLink>>,
}

impl ComponentLinks {
    /// The links that `spec` names for `unit`.
    pub fn new(bus: &Bus, router: &Arc<Router>, unit: &UnitId, spec: &ComponentSpec) -> Self {
        let mut links = Self::default();
        for import in &spec.imports {
            let Some(link) = best(import, &spec.links) else { continue };
            let typed = || Some(Arc::new(Link::new(bus.clone(), router.clone(), unit.clone(), link)));
            match import.unversioned() {
                _ if link.target == LinkTarget::Wit => {
                    let link = FunctionLink::new(bus.clone(), router.clone(), unit.clone(), link);
                    links.functions.insert(import.to_string(), Arc::new(link));
                }
                "wasi:keyvalue/store" => links.keyvalue_store = typed(),
                "wasi:keyvalue/atomics" => links.keyvalue_atomics = typed(),
                "wasi:keyvalue/batch" => links.keyvalue_batch = typed(),
                _ => {}
            }
        }
        links
    }
}

/// Of two links the one that names the interface itself goes before the one that names its package.
fn best<'l>(import: &Interface, links: &'l [LinkSpec]) -> Option<&'l LinkSpec> {
    links.iter().filter(|link| import.matches(&link.interface)).max_by_key(|link| link.interface.len())
}
