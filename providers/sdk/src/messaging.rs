//! Messages: `wasmcloud:messaging@0.2.0`. A provider serves [`Consumer`], and calls the [`MessageHandler`] of each of its
//! subscriptions.

use std::time::Duration;

use lattice::model::messages::SubscriptionSpec;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod made {
    crate::generate!({ path: "../../wit/messaging" });
}

pub use made::{
    consumer::{Consumer, Remote as ConsumerRemote},
    handler::{Handler_ as MessageHandler, Remote as HandlerRemote},
    types::BrokerMessage,
};

use crate::Capability;

/// What a manifest says that a component is told of, and the way to that component.
pub struct Subscription {
    pub spec: SubscriptionSpec,
    pub to: HandlerRemote,
}

/// The subscriptions of one instance of a provider, and the work for them.
#[derive(Default)]
pub struct Subscriptions {
    pub all: Vec<Subscription>,
    pub work: Work,
}

/// What is done for subscriptions: it takes nothing more after `stop`, and is over when `tasks` are.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub stop: CancellationToken,
    /// Everything that brings messages runs in these.
    pub tasks: TaskTracker,
}

impl Work {
    /// Takes nothing more, and waits until what was taken is done, at most `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(messages = self.tasks.len(), ?limit, "messages are still under way; stopping all the same");
        }
    }
}

impl Capability {
    /// What sends messages.
    pub fn messaging(consumer: impl Consumer) -> Self {
        made::serve(consumer)
    }
}
