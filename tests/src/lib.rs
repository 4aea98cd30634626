//! A real lattice for each test: its own nats-server, hosts as processes with data folders of their own, and the CLI as
//! a user calls it. Everything ends with the [`Lattice`], also when the test panics.
//!
//! What is not there yet is waited for with a deadline ([`wait`]); nothing sleeps for luck. Tests of one binary run side
//! by side, and at most [`lattice::AT_A_TIME`] lattices are up at a time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that panics has failed, as it should"
)]

pub mod azure;
pub mod browser;
pub mod certificates;
pub mod collector;
pub mod cut;
pub mod faults;
pub mod host;
pub mod http;
pub mod lattice;
pub mod load;
pub mod machines;
pub mod nats;
pub mod operator;
pub mod origin;
pub mod places;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod standalone;
pub mod status;
pub mod wait;

pub use crate::{
    http::{Client, Response, get, request},
    lattice::{Lattice, Output},
    load::Load,
    status::Status,
    wait::{eventually, wait},
};
