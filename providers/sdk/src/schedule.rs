//! Calls by the clock: what a provider of schedules is given.

use std::sync::Arc;

use async_trait::async_trait;
use lattice::model::schedule::ScheduleSpec;

use crate::NotDone;

/// A function of a component that is called for nothing but its effect.
#[async_trait]
pub trait Scheduled: Send + Sync + 'static {
    /// Calls it once, and says why it did not do its work.
    async fn run(&self) -> Result<(), NotDone>;
}

/// When a component shall be called, and the way to it.
pub struct Schedule {
    pub spec: ScheduleSpec,
    pub to: Arc<dyn Scheduled>,
}
