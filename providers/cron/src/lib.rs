//! Calls by the clock. A function of a component is called when its schedule says, once in the whole lattice, however many
//! instances of this provider there are and whatever becomes of them: whoever makes a call writes that down first, over
//! what was there before.
//!
//! ```text
//! one per schedule   a clock, the schedule's tick in the store  -> the tick, calls one after another
//! ```
//!
//! A call that was begun is never made again: it may have done its work.

mod follow;

use async_trait::async_trait;
use lattice_provider::{Capability, Interfaces, Provider, StartContext, StartError};
use serde::Deserialize;

use self::follow::Follower;

/// The provider.
pub struct CronProvider;

/// It has no settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {}

#[async_trait]
impl Provider for CronProvider {
    const KIND: &'static str = "cron";
    type Config = Config;

    async fn start(context: StartContext, _: Config) -> Result<Capability, StartError> {
        let StartContext { unit, bus, schedules, work, .. } = context;
        let ticks = bus.store().ticks();
        for schedule in schedules {
            let key = format!("{}.{}.{}", unit.app, unit.unit, schedule.spec.name);
            work.tasks.spawn(Follower::new(ticks.clone(), key, schedule).follow(work.stop.clone()));
        }
        Ok(Capability::Wit(Interfaces::from_iter([])))
    }
}
