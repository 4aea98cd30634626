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
mod dynamic;
mod element;
mod fault;
mod flow;
mod lift;
mod lower;
mod shape;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::atomic::AtomicBool};

use bytes::Bytes;
use lattice::bus::Taker;
use wasmtime::component::ResourceAny;

pub(super) use call::{ExportRoad, define, define_concurrent};
pub(super) use fault::ErrorRoom;
pub(super) use flow::{Flows, GuestFlow};
pub(super) use lower::{Intake, UnknownResource};
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

/// What goes back into a guest that called an import.
#[derive(Default)]
pub(super) struct Returned {
    /// As they came: to make a `Vec` of them would move them all.
    pub(super) bytes: Bytes,
    /// Where the streams in it are taken from.
    pub(super) streams: Option<Taker>,
}

/// Resources that a guest gave away and that others hold, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Held(pub(super) HashMap<u32, HeldResource>);

#[derive(Debug)]
pub(super) struct HeldResource {
    pub(super) resource: ResourceAny,
    /// Whether it went back to the guest in a call.
    pub(super) spent: AtomicBool,
}

/// A resource that a component imports from a unit of the lattice: its number is what the holder gave it.
#[derive(Debug)]
pub(super) struct LatticeResource;
