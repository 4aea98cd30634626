//! What a component exports besides HTTP, and calling it.

use std::collections::HashMap;

use lattice::wire::{
    CallError, Interface,
    value::{FunctionShape, Shape},
};
use wasmtime::{
    Store,
    component::{
        Component, ComponentExportIndex, Instance,
        types::{ComponentExtern, ComponentFunc, ComponentItem},
    },
};
use wasmtime_wasi::I32Exit;

use super::{
    guest::Guest,
    lens::{ExportRoad, Intake, Lifted, function_shape},
};

/// The package whose exports the host calls in a way of its own.
const OWN_ROAD: &str = "wasi:http";
/// What a command exports. Its `run` may also end by `exit`, which is a result like any other.
const COMMAND: &str = "wasi:cli/run";

/// The functions of a component that others may call.
#[derive(Default)]
pub(super) struct Exports {
    /// By the interface's name without its version: a component may export several.
    interfaces: HashMap<String, Vec<ExportedInterface>>,
}

struct ExportedInterface {
    name: Interface,
    functions: HashMap<String, Result<ExportedFunction, String>>,
}

/// A function that can be called.
pub(super) struct ExportedFunction {
    index: ComponentExportIndex,
    pub(super) shape: FunctionShape,
    road: ExportRoad,
    /// Whether it is a command's `run`, whose result says yes or no.
    command: bool,
}

impl Exports {
    pub(super) fn of(component: &Component, concurrent: bool) -> Self {
        let engine = component.engine();
        let mut found = Self::default();
        let mut root = HashMap::new();
        for (name, item) in component.component_type().exports(engine) {
            let instance = match item.ty {
                ComponentItem::ComponentInstance(instance) => instance,
                ComponentItem::ComponentFunc(ty) => {
                    let index = component.get_export_index(None, name);
                    root.extend(index.map(|index| (name.to_owned(), ExportedFunction::of(index, &ty, concurrent))));
                    continue;
                }
                _ => continue,
            };
            let Ok(interface) = name.parse::<Interface>() else { continue };
            if interface.package() == OWN_ROAD {
                continue;
            }
            let Some(parent) = component.get_export_index(None, name) else { continue };
            let command = interface.unversioned() == COMMAND;
            let function = |(function, item): (&str, ComponentExtern<'_>)| {
                let ComponentItem::ComponentFunc(ty) = item.ty else { return None };
                let index = component.get_export_index(Some(&parent), function)?;
                let exported = ExportedFunction::of(index, &ty, concurrent);
                Some((function.to_owned(), exported.map(|exported| exported.command(command))))
            };
            found.insert(interface, instance.exports(engine).filter_map(function).collect());
        }
        if let (false, Ok(interface)) = (root.is_empty(), Interface::ROOT.parse()) {
            found.insert(interface, root);
        }
        found
    }

    fn insert(&mut self, name: Interface, functions: HashMap<String, Result<ExportedFunction, String>>) {
        let versions = self.interfaces.entry(name.unversioned().to_owned()).or_default();
        versions.push(ExportedInterface { name, functions });
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().flatten().map(|exported| &exported.name)
    }

    /// The function that a call means.
    pub(super) fn find(&self, interface: &Interface, function: &str) -> Result<&ExportedFunction, CallError> {
        let not_served = |text: String| CallError::NotServed(text);
        let Some(versions) = self.interfaces.get(interface.unversioned()) else {
            return Err(not_served(interface.to_string()));
        };
        let same = |exported: &&ExportedInterface| exported.name == *interface;
        // A caller that names no version takes what is there.
        let serves =
            |exported: &&ExportedInterface| interface.version().is_none() || exported.name.satisfies(interface);
        let Some(exported) = versions.iter().find(same).or_else(|| versions.iter().find(serves)) else {
            let known: Vec<_> = versions.iter().map(|exported| exported.name.to_string()).collect();
            return Err(not_served(format!("{interface} (this component exports {})", known.join(", "))));
        };
        match exported.functions.get(function) {
            Some(Ok(function)) => Ok(function),
            Some(Err(reason)) => Err(not_served(format!("{interface}#{function}: {reason}"))),
            None => Err(not_served(format!("{interface}#{function}"))),
        }
    }
}

impl ExportedFunction {
    /// The function of type `ty`, or why it cannot be called.
    fn of(index: ComponentExportIndex, ty: &ComponentFunc, concurrent: bool) -> Result<Self, String> {
        let shape = function_shape(ty).map_err(|error| error.to_string())?;
        let road = ExportRoad::of(&shape, concurrent);
        let road = road.ok_or("streams beside more than 16 core values cannot cross the lattice")?;
        Ok(Self { index, road, shape, command: false })
    }

    /// This function as one of a command's interface, or of another one.
    fn command(self, command: bool) -> Self {
        Self { command: command && matches!(self.shape.result, Some(Shape::Result(None, None))), ..self }
    }

    /// Calls it in `instance`.
    pub(super) async fn call(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        bytes: &[u8],
        intake: Intake<'_>,
    ) -> wasmtime::Result<Lifted> {
        let Some(func) = instance.get_func(&mut *store, self.index) else {
            wasmtime::bail!("an export that the component's type declares is not there");
        };
        let lifted = self.road.call(&self.shape, store, func, bytes, intake).await;
        lifted.or_else(|error| match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) if self.command => Ok(Lifted { bytes: exited(*code), ..Lifted::default() }),
            _ => Err(error),
        })
    }
}

/// The bytes of `run`'s `result` for a program that has called `exit`.
fn exited(code: i32) -> Vec<u8> {
    vec![u8::from(code != 0)]
}
