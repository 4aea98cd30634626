//! What every process of a lattice agrees on.
//!
//! - [`wire`]: ids, subjects, frames, codec and limits. Bytes in, values out: no I/O, no clock.
//! - [`model`]: the manifest as the user writes it, the desired state made of it, assignments, inventory and status.
//! - [`trace`]: the trace that work belongs to, and what of it is recorded.
//! - [`bus`]: the only room of the project that opens a NATS connection; the same API in memory for fast tests.

pub mod bus;
pub mod model;
pub mod trace;
pub mod wire;
