//! Running components: from bytes to answered calls.
//!
//! [`engine`] makes the wasmtime engine that the machine can carry, [`cache`] turns digests into compiled code,
//! [`component`] is one component ready for calls, [`http`] lets it answer HTTP, [`keyvalue`] is what its
//! `wasi:keyvalue` imports reach.

pub mod cache;
pub mod component;
pub mod engine;
mod exports;
mod faults;
mod functions;
mod guest;
mod http;
mod imports;
mod keyvalue;
mod lens;
mod log;
mod session;

pub use cache::ArtifactCache;
pub use component::{LoadedComponent, Runtime};
pub use engine::EngineError;
pub use functions::LoadedFunctions;
pub use http::LoadedHttp;
