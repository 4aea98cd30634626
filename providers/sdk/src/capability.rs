//! What a provider serves, and how it is called.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, CallHandler},
    wire::{CallError, CallHead, Interface, value::FunctionShape},
};

use crate::{
    blobstore::{self, Blobstore},
    http::{self, HttpClient, HttpClientServed},
    keyvalue::{self, KeyValue},
};

/// What a provider serves.
#[derive(Clone)]
pub enum Capability {
    KeyValue(Arc<dyn KeyValue>),
    Blobstore(Arc<dyn Blobstore>),
    /// What sends HTTP requests out of the lattice.
    HttpClient(Arc<dyn HttpClient>),
    /// Interfaces of the author's own: what `serve` returns that [`generate!`](crate::generate) makes.
    Wit(Interfaces),
}

impl Capability {
    /// A key-value backend, with the limits that all of them share put in front of it.
    pub fn key_value(backend: impl KeyValue) -> Self {
        Self::KeyValue(Arc::new(keyvalue::Limited(backend)))
    }

    /// A store of objects, with the limits that all of them share put in front of it.
    pub fn blobstore(backend: impl Blobstore) -> Self {
        Self::Blobstore(Arc::new(blobstore::Limited(backend)))
    }

    /// What answers calls from the lattice, with bodies and streams that follow them on `bus`.
    pub fn handler(&self, bus: &Bus) -> Arc<dyn CallHandler> {
        match self {
            Self::HttpClient(client) => Arc::new(HttpClientServed { client: client.clone(), bus: bus.clone() }),
            Self::KeyValue(backend) => Arc::new(keyvalue::KeyValueHandler(backend.clone())),
            Self::Blobstore(backend) => Arc::new(blobstore::BlobstoreHandler(backend.clone(), bus.exchange())),
            Self::Wit(interfaces) => Arc::new(interfaces.clone()),
        }
    }

    /// The interfaces that it answers over the lattice.
    pub fn interfaces(&self) -> Vec<Interface> {
        match self {
            Self::KeyValue(_) => vec![keyvalue::interface()],
            Self::Blobstore(_) => vec![blobstore::interface()],
            Self::HttpClient(_) => vec![http::client_interface()],
            Self::Wit(interfaces) => interfaces.0.iter().map(|(interface, _)| interface.clone()).collect(),
        }
    }
}

/// Interfaces, and what answers the calls of each.
#[derive(Clone)]
pub struct Interfaces(Arc<[(Interface, Arc<dyn CallHandler>)]>);

impl FromIterator<(Interface, Arc<dyn CallHandler>)> for Interfaces {
    fn from_iter<I: IntoIterator<Item = (Interface, Arc<dyn CallHandler>)>>(interfaces: I) -> Self {
        Self(interfaces.into_iter().collect())
    }
}

#[async_trait]
impl CallHandler for Interfaces {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        let named = |interface: &Interface| interface.unversioned() == head.interface.unversioned();
        match self.0.iter().find(|(interface, _)| named(interface)) {
            // It looks at the version.
            Some((_, handler)) => handler.call(head, payload).await,
            None => {
                let own: Vec<_> = self.0.iter().map(|(interface, _)| interface.to_string()).collect();
                Err(CallError::NotServed(format!("{}; this provider serves {}", head.interface, own.join(", "))))
            }
        }
    }
}

/// Sends a call to wherever a link leads.
#[async_trait]
pub trait Caller: Send + Sync + 'static {
    /// The reply's payload. Arguments and reply are in postcard; with the `shape` of the function, whoever answers may
    /// speak JSON alone.
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        shape: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError>;
}
