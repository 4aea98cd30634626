//! Calls by the clock: what a provider of schedules is given.

use std::sync::Arc;

use async_trait::async_trait;
use lattice::model::schedule::ScheduleSpec;

/// A function of a component that is called for nothing but its effect.
#[async_trait]
pub trait Scheduled: Send + Sync + 'static {
    /// Calls it once, and says why it did not do its work.
    async fn run(&self) -> Result<(), ScheduledError>;
}

/// Why a call did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduledError {
    /// It has certainly not begun: it may be made again.
    #[error("{0}")]
    NotBegun(String),
    #[error("{0}")]
    Failed(String),
}

/// When a component shall be called, and the way to it.
pub struct Schedule {
    pub spec: ScheduleSpec,
    pub to: Arc<dyn Scheduled>,
}
