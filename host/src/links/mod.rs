//! Where calls go: [`router`] knows every instance of the lattice that takes calls, [`link`] is one import of a
//! component, bound to a unit and resolved anew at each call.

mod link;
mod router;

use std::sync::Arc;

use lattice::{bus::Bus, model::app::ComponentSpec, wire::UnitId};

pub use link::{HttpLink, Link};
pub use router::{LocalInstance, Router};

/// The links of one component, by what it imports.
#[derive(Default)]
pub struct ComponentLinks {
    pub keyvalue_store: Option<Arc<Link>>,
    pub keyvalue_atomics: Option<Arc<Link>>,
    pub keyvalue_batch: Option<Arc<Link>>,
}

impl ComponentLinks {
    /// The links that `spec` names for `unit`.
    pub fn new(bus: &Bus, router: &Arc<Router>, unit: &UnitId, spec: &ComponentSpec) -> Self {
        let find = |interface: &str| {
            let import = spec.imports.iter().find(|import| import.unversioned() == interface)?;
            // Of two links the one that names the interface itself goes before the one that names its package.
            let link = spec
                .links
                .iter()
                .filter(|link| import.matches(&link.interface))
                .max_by_key(|link| link.interface.len())?;
            Some(Arc::new(Link::new(bus.clone(), router.clone(), unit.clone(), link)))
        };
        Self {
            keyvalue_store: find("wasi:keyvalue/store"),
            keyvalue_atomics: find("wasi:keyvalue/atomics"),
            keyvalue_batch: find("wasi:keyvalue/batch"),
        }
    }
}
