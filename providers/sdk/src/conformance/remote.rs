//! A backend as others on the lattice see it.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler, Pace, Serving},
    wire::{
        CallError, CallHead, CallSubject, ContentType, DEFAULT_DEADLINE, IdError, Interface, Served, UnitId,
        value::{FunctionShape, json},
    },
};
use tokio::sync::watch;

use crate::{
    Caller, Capability, Health, HealthReporter, StartContext,
    blobstore::{Blobstore, BlobstoreRemote},
    keyvalue::{KeyValue, KeyValueRemote},
};

/// What a backend of `unit` is started with, and the health that it reports.
pub fn context(unit: &UnitId, data_dir: &Path, bus: &Bus) -> (StartContext, watch::Receiver<Health>) {
    let (health, healths) = HealthReporter::new();
    (
        StartContext {
            unit: unit.clone(),
            data_dir: data_dir.to_owned(),
            bus: bus.clone(),
            health,
            subscriptions: Vec::new(),
            schedules: Vec::new(),
            watches: Vec::new(),
            work: Default::default(),
        },
        healths,
    )
}

/// Calls one instance.
pub struct LatticeCaller {
    pub bus: Bus,
    pub served: Served,
    pub deadline: Duration,
}

#[async_trait]
impl Caller for LatticeCaller {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        self.send(&head(interface, function, self.deadline), payload).await
    }
}

impl LatticeCaller {
    async fn send(&self, head: &CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        let Served { lattice, unit, instance } = self.served.clone();
        let interface = head.interface.unversioned();
        let interface = interface.parse().map_err(|e: IdError| CallError::BadMessage(e.to_string()))?;
        self.bus.call(&CallSubject { lattice, unit, instance, interface }, head, payload).await
    }
}

/// Calls one instance that speaks JSON alone, as a host does it.
pub struct JsonCaller(pub LatticeCaller);

#[async_trait]
impl Caller for JsonCaller {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let Self(LatticeCaller { bus, deadline, .. }) = self;
        let shape = shape.ok_or_else(|| CallError::NotServed(format!("{interface} in JSON")))?;
        let arguments = bus.exchange().arguments_in_json(shape, &payload).await?;
        let head = CallHead { content_type: ContentType::Json, ..head(interface, function, *deadline) };
        let reply = self.0.send(&head, arguments).await?;
        let wrong = |error| CallError::Transport(format!("an answer with a wrong value: {error}"));
        Ok(json::result_from_json(shape.result.as_ref(), &reply).map_err(wrong)?.into())
    }
}

/// Calls what is in this process, without a lattice.
pub struct DirectCaller(pub Arc<dyn CallHandler>);

#[async_trait]
impl Caller for DirectCaller {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        self.0.call(head(interface, function, DEFAULT_DEADLINE), payload).await
    }
}

fn head(interface: &Interface, function: &'static str, deadline: Duration) -> CallHead {
    CallHead {
        interface: interface.clone(),
        function: function.into(),
        deadline,
        caller: None,
        content_type: ContentType::Postcard,
        traceparent: None,
        session: None,
    }
}

/// Serves a capability on one connection and returns it as it is seen from another.
pub async fn through_lattice(
    capability: &Capability,
    served: Served,
    (server, client): (&Bus, &Bus),
) -> Result<(Serving, Arc<dyn KeyValue>), CallError> {
    let serving = server.serve(&served, capability.handler(server), Pace::Light).await?;
    let caller = LatticeCaller { bus: client.clone(), served, deadline: Duration::from_secs(10) };
    Ok((serving, Arc::new(KeyValueRemote(Arc::new(caller)))))
}

/// The same of a store of objects.
pub async fn blobs_through_lattice(
    capability: &Capability,
    served: Served,
    (server, client): (&Bus, &Bus),
) -> Result<(Serving, Arc<dyn Blobstore>), CallError> {
    let serving = server.serve(&served, capability.handler(server), Pace::Light).await?;
    let caller = LatticeCaller { bus: client.clone(), served, deadline: Duration::from_secs(120) };
    Ok((serving, Arc::new(BlobstoreRemote(Arc::new(caller), client.exchange()))))
}
