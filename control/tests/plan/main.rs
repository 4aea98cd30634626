//! The plan: what holds for every world, and how units move, case by case.
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test may panic, and its modules are its own")]

mod common;
mod moves;
mod properties;
mod quotas;
mod rollouts;
mod scaling;
