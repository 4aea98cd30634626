//! Writing a provider: the capability traits, serving them, calling them, and the kit that proves a backend right.
//!
//! A backend is a typed configuration, one trait and a `main` of a few lines:
//!
//! ```no_run
//! # mod memory { use lattice_provider::*; pub struct Memory; #[derive(serde::Deserialize)] pub struct Nothing {}
//! # #[async_trait::async_trait] impl Provider for Memory { const KIND: &'static str = "keyvalue-memory"; type Config = Nothing;
//! # async fn start(_: StartContext, _: Nothing) -> Result<Capability, StartError> { unimplemented!() } } }
//! fn main() -> std::process::ExitCode {
//!     lattice_provider::main::<memory::Memory>()
//! }
//! ```
//!
//! The same backend runs inside a host, where a call is a function call, or as a process of its own behind NATS; the
//! component that calls it cannot tell.

#[macro_use]
mod capability;
pub mod conformance;
pub mod http;
pub mod keyvalue;
mod process;
mod provider;

pub use capability::{Caller, Capability};
pub use process::{Failed, Launch, Order, Report, main};
pub use provider::{Health, HealthReporter, Provider, StartContext, StartError, parse_config};
