//! Messages: `wasmcloud:messaging@0.2.0`. A provider serves [`Consumer`], and calls the [`MessageHandler`] of each of its
//! subscriptions.

use lattice::model::messages::SubscriptionSpec;

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

impl Capability {
    /// What sends messages.
    pub fn messaging(consumer: impl Consumer) -> Self {
        made::serve(consumer)
    }
}
