//! What a component exports besides HTTP, and calling it.

use std::{collections::HashMap, sync::Arc};

use lattice::wire::{
    CallError, Interface,
    value::{FunctionShape, Shape},
};
use wasmtime::{
    AsContextMut, Store,
    component::{
        Accessor, Component, ComponentExportIndex, Func, Instance,
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
    functions: Functions,
}

/// By their names.
type Functions = HashMap<String, Exported>;

/// A function, or why it cannot be called.
type Exported = Result<Arc<ExportedFunction>, String>;

/// A function that can be called.
pub(super) struct ExportedFunction {
    index: ComponentExportIndex,
    pub(super) shape: FunctionShape,
    /// Whether its arguments may have resources, its result, and any of them streams.
    pub(super) takes_resources: bool,
    pub(super) gives_resources: bool,
    pub(super) has_streams: bool,
    road: ExportRoad,
    /// Whether it is a command's `run`, whose result says yes or no.
    command: bool,
}

impl Exports {
    pub(super) fn of(component: &Component, concurrent: bool) -> Self {
        let engine = component.engine();
        let mut found = Self::default();
        let mut root = Functions::new();
        for (name, item) in component.component_type().exports(engine) {
            let instance = match item.ty {
                ComponentItem::ComponentInstance(instance) => instance,
                ComponentItem::ComponentFunc(ty) => {
                    let index = component.get_export_index(None, name);
                    let function = |index| ExportedFunction::of(index, &ty, concurrent, false);
                    root.extend(index.map(|index| (name.to_owned(), function(index))));
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
                let exported = ExportedFunction::of(index, &ty, concurrent, command);
                Some((function.to_owned(), exported))
            };
            found.insert(interface, instance.exports(engine).filter_map(function).collect());
        }
        if let (false, Ok(interface)) = (root.is_empty(), Interface::ROOT.parse()) {
            found.insert(interface, root);
        }
        found
    }

    fn insert(&mut self, name: Interface, functions: Functions) {
        let versions = self.interfaces.entry(name.unversioned().to_owned()).or_default();
        versions.push(ExportedInterface { name, functions });
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.values().flatten().map(|exported| &exported.name)
    }

    /// The function that a call means.
    pub(super) fn find(&self, interface: &Interface, function: &str) -> Result<&Arc<ExportedFunction>, CallError> {
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
    fn of(index: ComponentExportIndex, ty: &ComponentFunc, concurrent: bool, command: bool) -> Exported {
        let shape = function_shape(ty).map_err(|error| error.to_string())?;
        Ok(Arc::new(Self {
            index,
            takes_resources: shape.takes_handles(),
            gives_resources: shape.returns_handles(),
            has_streams: shape.has_streams(),
            road: ExportRoad::of(&shape, concurrent),
            command: command && matches!(shape.result, Some(Shape::Result(None, None))),
            shape,
        }))
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
        let lifted = self.road.call(store, func, intake).await;
        lifted.or_else(|error| {
            let code = error.downcast_ref::<I32Exit>().map(|exit| exit.0);
            code.and_then(|code| self.exited(code)).ok_or(error)
        })
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

    /// The result of a program that has called `exit` in here, which ends its instance.
    pub(super) fn exited(&self, code: i32) -> Option<Lifted> {
        self.command.then(|| Lifted { bytes: vec![u8::from(code != 0)], ..Lifted::default() })
    }
}
