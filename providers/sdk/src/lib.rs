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
//!
//! An interface of one's own needs its WIT and nothing else: [`generate!`] makes of it
//!
//! - a module for each interface of the world, with its types and a trait named like the interface,
//! - `Handler` in it, which answers calls from the lattice in both encodings, and `Remote`, which makes them,
//! - `serve`, which is the [`Capability`] of an implementation of the traits of all interfaces that the world exports.
//!
//! ```
//! # struct Mine;
//! # fn start() -> lattice_provider::Capability {
//! mod made {
//!     lattice_provider::generate!({ path: "tests/wit/every.wit", world: "greeter" });
//! }
//! use made::greeting::{Greeting, Refusal};
//!
//! #[lattice_provider::async_trait]
//! impl Greeting for Mine {
//!     async fn greet(&self, name: String) -> Result<String, Refusal> {
//!         if name.is_empty() { Err(Refusal::NoName) } else { Ok(format!("good day, {name}")) }
//!     }
//! }
//!
//! made::serve(Mine)
//! # }
//! # assert_eq!(start().interfaces()[0].to_string(), "test:every/greeting@1.2.0");
//! ```
//!
//! | WIT | Rust |
//! |---|---|
//! | `record`, `variant`, `enum` | struct, enum; `Default`, `Eq`, `Hash` where their parts have it |
//! | `flags` | a set with a constant for each: `Mode::READ \| Mode::WRITE`, `contains` |
//! | `list<u8>`, `list<T>`, `list<T, N>` | [`Bytes`](bytes::Bytes), `Vec`, array |
//! | `map<K, V>` | `BTreeMap` |
//! | `option`, `result`, `tuple`, `string`, `char`, numbers | the same in Rust |
//! | `result<T, E>` of a function | what the trait's function returns |
//! | any other result `T` | `Result<T, CallError>`: the provider may fail as any call does, and a component that asked traps |
//! | `stream<u8>` | [`ByteStream`], as a parameter, a result or inside of one, but not in a type with a name |
//! | `resource`, `future`, other streams | refused: any instance of a provider answers any call |
//!
//! An interface with streams has a further field in `Handler` and `Remote`, and `serve` a further argument: where streams are
//! exchanged, [`Bus::exchange`](lattice::bus::Bus::exchange). They hold little in memory, whoever is at their other end.
//!
//! `Remote` is the trait again, where the errors of all functions have room for a call that failed on its way: a `string`, or
//! a variant with the case `other(string)` or `unexpected(string)` (a call that is not allowed is `access-denied`, where there is such a case). Where
//! they have none it has functions of the same names that return `Result<Result<T, E>, CallError>`. Keywords are raw
//! (`r#type`, but `self_`); a type that is called like the trait, `Handler`, `Remote` or `Box` gets an underscore.

// The code of `generate!` names this crate as others do.
extern crate self as lattice_provider;

pub mod blobstore;
mod capability;
pub mod conformance;
pub mod http;
pub mod keyvalue;
mod lines;
pub mod messaging;
mod process;
mod provider;
pub mod schedule;
#[doc(hidden)]
pub mod wit;

pub use async_trait::async_trait;
pub use capability::{Caller, Capability, Interfaces};
pub use lattice::wire::{UnitId, value::ByteStream};
pub use lattice_provider_macros::generate;
pub use lines::Lines;
pub use process::{Check, Checked, Failed, Launch, Order, PROGRAM_ENVIRONMENT, Report, json_only, main};
pub use provider::{
    Health, HealthReporter, NatsUse, NotDone, Provider, StartContext, StartError, Work, check_config, checked_config,
    parse_config,
};
