//! `wasmcloud:bus/lattice@2.0.1`: a component that has several links of one interface chooses among them.

use std::collections::BTreeMap;

use ::lattice::model::catalog::HTTP_CLIENT;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasmcloud::bus::lattice;
use super::guest::Guest;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/wasmcloud",
        world: "chooses-links",
        imports: { default: trappable },
        with: { "wasmcloud:bus/lattice.call-target-interface": super::Target },
    });
}

/// An interface, without its version.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Target(String);

/// What a guest has chosen, by interface.
#[derive(Debug, Default)]
pub(super) struct LinkNames(BTreeMap<String, String>);

impl LinkNames {
    /// The name that was chosen for an interface.
    pub(super) fn chosen(&self, interface: &str) -> Option<&str> {
        self.0.get(interface).map(String::as_str)
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    lattice::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

impl lattice::Host for Guest {
    fn set_link_name(
        &mut self,
        name: String,
        interfaces: Vec<Resource<Target>>,
    ) -> wasmtime::Result<Result<(), String>> {
        let mut targets = Vec::with_capacity(interfaces.len());
        for interface in interfaces {
            targets.push(self.table.delete(interface)?.0);
        }
        if let Some(missing) = targets.iter().find(|target| !self.links.has(target, &name)) {
            return Ok(Err(format!("no link of {missing} in the manifest is named `{name}`")));
        }
        if targets.iter().any(|target| HTTP_CLIENT.imports.contains(&target.as_str())) {
            self.outgoing.choose(&name);
        }
        self.link_names.0.extend(targets.into_iter().map(|target| (target, name.clone())));
        Ok(Ok(()))
    }
}

impl lattice::HostCallTargetInterface for Guest {
    fn new(&mut self, namespace: String, package: String, interface: String) -> wasmtime::Result<Resource<Target>> {
        Ok(self.table.push(Target(format!("{namespace}:{package}/{interface}")))?)
    }

    fn drop(&mut self, target: Resource<Target>) -> wasmtime::Result<()> {
        self.table.delete(target)?;
        Ok(())
    }
}
