//! Running components: from bytes to answered calls.
//!
//! [`engine`] makes the wasmtime engines that the machine can carry, [`needs`] says which of them a binary is for,
//! [`cache`] turns digests into compiled code, [`component`] is one component ready for calls, [`http`] lets it answer
//! HTTP by WASI 0.2 and [`service`] by WASI 0.3, [`keyvalue`] is what its `wasi:keyvalue` imports reach.

pub mod cache;
pub mod component;
pub mod engine;
mod exports;
mod faults;
mod functions;
mod fuse;
pub mod grants;
pub(crate) mod guest;
mod http;
mod imports;
mod keyvalue;
mod lens;
mod link_names;
mod log;
pub(crate) mod needs;
mod service;
mod session;
mod streams;

pub use cache::ArtifactCache;
pub use component::{LoadedComponent, Runtime};
pub use engine::EngineError;
pub use functions::LoadedFunctions;
pub use http::LoadedHttp;
