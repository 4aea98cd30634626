//! Values of any WIT type straight between a guest's memory and the bytes of the wire.
//!
//! wasmtime offers two roads for functions whose types are known only at run time: `Val`, which makes a tree with an
//! allocation for every part (about 100 ns for each byte of a `list<u8>`), and static Rust types. This is a third one:
//! a type for wasmtime's static road whose lifting and lowering walk the component's own type tables and write or read
//! [the wire's encoding](lattice::wire::value), so that a list of bytes is one copy. What needs wasmtime's inner state
//! (strings in other encodings, resources) is handed to its own implementations.
//!
//! [`lift`] and [`lower`] are safe code over bounds-checked slices; streams and futures go on in [`flow`] when their call
//! has ended. [`abi`] and [`element`] declare the types to wasmtime, which is the only part that needs `unsafe`; it uses traits that wasmtime exports for its derive macros, so wasmtime's version
//! is pinned to the one that this was written against, and the property tests compare every type with `Val`.

mod abi;
mod call;
#[cfg(test)]
mod dynamic;
mod element;
mod fault;
mod flow;
mod lift;
mod lower;
mod shape;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasmtime::component::ResourceAny;

pub(super) use call::{ExportRoad, define, define_concurrent};
pub(super) use fault::ErrorRoom;
pub(super) use flow::{Flows, GuestFlow};
pub(super) use lower::{Intake, Place, UnknownResource};
pub(super) use shape::function_shape;

/// What came out of a guest.
#[derive(Debug, Default)]
pub(super) struct Lifted {
    pub(super) bytes: Vec<u8>,
    /// Resources of the guest's own types that it gave away, with the numbers that stand for them in `bytes`.
    pub(super) given: Vec<(u32, ResourceAny)>,
    /// Resources of others that the guest gave back.
    pub(super) returned: Vec<u32>,
    /// Streams and futures, and where in `bytes` there is room for their tickets.
    pub(super) flows: Vec<(usize, GuestFlow)>,
}

/// Resources that a guest gave away and that others hold, by their numbers. A lock around a look-up: calls that run at the
/// same time in one instance take from it and add to it.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashMap<u32, ResourceAny>>);

impl Held {
    fn all(&self) -> MutexGuard<'_, HashMap<u32, ResourceAny>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.all().contains_key(&number)
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    pub(super) fn keep(&self, given: Vec<(u32, ResourceAny)>) {
        self.all().extend(given);
    }

    /// The resource, which its holder keeps.
    fn lend(&self, number: u32) -> Option<ResourceAny> {
        self.all().get(&number).copied()
    }

    /// The resource, which nobody holds any more.
    pub(super) fn take(&self, number: u32) -> Option<ResourceAny> {
        self.all().remove(&number)
    }
}

/// A resource that a component imports from a unit of the lattice: its number is what the holder gave it.
#[derive(Debug)]
pub(super) struct LatticeResource;
