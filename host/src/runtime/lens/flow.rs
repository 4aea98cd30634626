//! Streams and futures between a guest and whoever carries their bytes.
//!
//! [`given`] is what guests write: taken out of their memory when they write, as [elements](lattice::wire::value::elements)
//! of the wire, and handed to a channel that holds little, so that a guest whose reader is slow waits. [`taken`] is what
//! guests read.

mod given;
mod taken;

use std::task::Poll;

use wasmtime::{Result, component::StreamResult};

pub(in super::super) use given::{Flows, GuestFlow};
pub(super) use taken::{Fate, byte_stream, element_stream, later};

/// What a guest is told that must wait, or does not want to any more.
fn wait(finish: bool) -> Poll<Result<StreamResult>> {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}
