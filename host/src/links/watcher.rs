//! The way of a change in a bucket to the component that watches it.

use std::sync::Arc;

use async_trait::async_trait;
use lattice::{
    bus::Bus,
    model::watch::{WATCHER, WatchSpec},
    trace::{self, Kind, spanned},
    wire::{CallError, ContentType, Interface, UnitId, encode},
};
use lattice_provider::{
    NotDone,
    keyvalue::{Change, Watcher},
};

use super::{function::FunctionLink, router::Router};

/// From a watch of `caller` to the component that is told.
pub(crate) fn watcher(bus: &Bus, router: &Arc<Router>, caller: &UnitId, spec: &WatchSpec) -> Arc<dyn Watcher> {
    Arc::new(Told(FunctionLink::to_component(bus, router, caller, &spec.to, spec.timeout_ms)))
}

struct Told(FunctionLink);

#[async_trait]
impl Watcher for Told {
    async fn changed(&self, Change { bucket, key, value }: &Change) -> Result<(), NotDone> {
        let wrong = |error: &dyn std::fmt::Display| NotDone::Failed(error.to_string());
        let interface: Interface = WATCHER.parse().map_err(|error| wrong(&error))?;
        let (function, payload) = match value {
            Some(value) => ("on-set", encode(ContentType::Postcard, &(bucket, key, value))),
            None => ("on-delete", encode(ContentType::Postcard, &(bucket, key))),
        };
        let payload = payload.map_err(|error| wrong(&error))?;
        let open = trace::root(Kind::Consumer, self.0.caller(), || format!("changed {bucket}"));
        let told = spanned(open, self.0.call_once(&interface, function, None, payload)).await;
        told.map(drop).map_err(|error: CallError| error.into())
    }
}
