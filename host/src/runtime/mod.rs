//! Running components: from bytes to answered calls.
//!
//! [`engine`] makes the wasmtime engines that the machine can carry, [`needs`] says which of them a binary is for,
//! [`cache`] turns digests into compiled code, [`component`] is one component ready for calls. Its instances are [`plain`],
//! one call at a time, the next of them made ahead by [`spares`] while the [`workers`] have time, or [`concurrent`], for
//! WASI 0.3. HTTP requests come in by [`http`], calls of its own interfaces by [`functions`]; what it calls itself goes out by [`imports`], [`keyvalue`], [`blobstore`] and [`outgoing`]; [`config`] and [`secrets`] tell it what its manifest says.

mod blobstore;
pub mod cache;
pub mod component;
mod concurrent;
mod config;
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
mod logging;
pub(crate) mod needs;
mod outgoing;
mod plain;
mod secrets;
mod session;
mod spares;
mod streams;
mod watcher;
mod workers;

pub use cache::ArtifactCache;
pub use component::{LoadedComponent, Runtime};
pub use engine::EngineError;
pub use functions::LoadedFunctions;
pub use http::LoadedHttp;
