//! What a component exports besides HTTP, and calling it.

use std::{collections::HashMap, sync::Arc};

use lattice::wire::{CallError, Interface, value::FunctionShape};
use wasmtime::{
    AsContextMut, Store,
    component::{Accessor, Component, ComponentExportIndex, Func, Instance, types::ComponentItem},
};

use super::{
    guest::Guest,
    lens::{ExportRoad, Intake, Lifted, function_shape},
};

/// Packages whose exports the host calls in ways of its own.
const OWN_ROADS: [&str; 2] = ["wasi:http", "wasi:cli"];

/// The functions of a component that others may call.
#[derive(Default)]
pub(super) struct Exports {
    /// By the interface's name without its version.
    interfaces: HashMap<String, ExportedInterface>,
}

struct ExportedInterface {
    name: Interface,
    functions: HashMap<String, Result<Arc<ExportedFunction>, String>>,
}

/// A function that can be called.
pub(super) struct ExportedFunction {
    index: ComponentExportIndex,
    pub(super) shape: FunctionShape,
    /// Whether its arguments may have resources, its result, and any of them streams.
    pub(super) takes_resources: bool,
    pub(super) gives_resources: bool,
    pub(super) has_streams: bool,
    road: ExportRoad,
}

impl Exports {
    pub(super) fn of(component: &Component, concurrent: bool) -> Self {
        let engine = component.engine();
        let mut interfaces = HashMap::new();
        for (name, item) in component.component_type().exports(engine) {
            let ComponentItem::ComponentInstance(instance) = item.ty else { continue };
            let Ok(interface) = name.parse::<Interface>() else { continue };
            if OWN_ROADS.contains(&interface.package()) {
                continue;
            }
            let Some(parent) = component.get_export_index(None, name) else { continue };
            let function = |(function, item): (&str, wasmtime::component::types::ComponentExtern<'_>)| {
                let ComponentItem::ComponentFunc(ty) = item.ty else { return None };
                let index = component.get_export_index(Some(&parent), function)?;
                let exported =
                    function_shape(&ty).map(|shape| Arc::new(ExportedFunction::new(index, shape, concurrent)));
                Some((function.to_owned(), exported.map_err(|error| error.to_string())))
            };
            let functions = instance.exports(engine).filter_map(function).collect();
            interfaces.insert(interface.unversioned().to_owned(), ExportedInterface { name: interface, functions });
        }
        Self { interfaces }
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().map(|exported| &exported.name)
    }

    /// The function that a call means.
    pub(super) fn find(&self, interface: &Interface, function: &str) -> Result<&Arc<ExportedFunction>, CallError> {
        let not_served = |text: String| CallError::NotServed(text);
        let Some(exported) = self.interfaces.get(interface.unversioned()) else {
            return Err(not_served(interface.to_string()));
        };
        // A caller that names no version takes what is there.
        if interface.version().is_some() && !exported.name.satisfies(interface) {
            return Err(not_served(format!("{interface} (this component exports {})", exported.name)));
        }
        match exported.functions.get(function) {
            Some(Ok(function)) => Ok(function),
            Some(Err(reason)) => Err(not_served(format!("{interface}#{function}: {reason}"))),
            None => Err(not_served(format!("{interface}#{function}"))),
        }
    }
}

impl ExportedFunction {
    fn new(index: ComponentExportIndex, shape: FunctionShape, concurrent: bool) -> Self {
        Self {
            index,
            takes_resources: shape.takes_handles(),
            gives_resources: shape.returns_handles(),
            has_streams: shape.has_streams(),
            road: ExportRoad::of(&shape, concurrent),
            shape,
        }
    }

    fn func(&self, store: impl AsContextMut, instance: &Instance) -> wasmtime::Result<Func> {
        let func = instance.get_func(store, self.index);
        func.ok_or_else(|| wasmtime::Error::msg("an export that the component's type declares is not there"))
    }

    /// Calls it in `instance`.
    pub(super) async fn call(
        &self,
        store: &mut Store<Guest>,
        instance: &Instance,
        intake: Intake,
    ) -> wasmtime::Result<Lifted> {
        let func = self.func(&mut *store, instance)?;
        self.road.call(store, func, intake).await
    }

    /// Calls it in `instance` beside other calls.
    pub(super) async fn call_concurrent(
        &self,
        accessor: &Accessor<Guest>,
        instance: &Instance,
        intake: Intake,
    ) -> wasmtime::Result<Lifted> {
        let func = accessor.with(|access| self.func(access, instance))?;
        self.road.call_concurrent(accessor, func, intake).await
    }
}
