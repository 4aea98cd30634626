//! The controller: turns what users want into what each host must run.
//!
//! Every host runs [`run`]; the one that holds the lease plans. The tasks, and what travels between them:
//!
//! ```text
//!  store: leases/controller           store: apps, hosts, beats, assignments, plans
//!      | changes   ^ create/update by revision      | live views
//!      v           |                                v
//!  +--------- keeper --------+ Holding, late  +--------------- leader -----------------+
//!  | lease::Candidate (pure) | -- watch ----> | mirror    the views, and our own       |
//!  | renews, takes over,     |                |           writes ahead of them         |
//!  | lets go at the end      |                | liveness  who beats, by our own clock  |
//!  +-------------------------+                | plan      pure: World -> Plan          |
//!                                             +----------------------------------------+
//!  bus: connected or not --------- watch ------^         | create/update by revision
//!                                                        v
//!                                        store: assignments/<host>, plans/<app>
//! ```
//!
//! - `keeper` receives the lease's changes, publishes [`Holding`](lease::Holding): the term, and until when it is
//!   certain that nobody else took over; and whether the lease is late. It is a task of its own, so that a long plan does
//!   not cost the lease.
//! - `leader` begins to listen when the lease is late, so that it knows who is silent when it may have to plan, and plans while
//!   the lease is held. Changes and a tick wake it; each time it looks at everything, plans everything, and writes what
//!   differs, after a look at the clock and the lease. It never acts on an event itself.
//! - Decisions (`lease`, `liveness`, `scaler`, and `plan` with `rules`, `field`, `rollout` and `explain`) do no I/O and read no clock.
//!
//! Absent here: wasmtime, NATS, and any message to a host. Hosts read their assignment.

mod explain;
mod field;
mod figures;
pub mod history;
mod keeper;
pub mod lease;
mod liveness;
mod mirror;
mod news;
pub mod plan;
mod reconcile;
mod rollback;
mod rollout;
mod rules;
mod scaler;
mod timing;

#[cfg(test)]
mod simulation;

pub use self::{
    explain::{Explanation, Reason, explain},
    figures::Figures,
    plan::{Plan, World, plan},
    reconcile::run,
    rules::{Refusal, may_take},
    timing::*,
};
