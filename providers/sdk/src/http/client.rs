//! Sending requests out of the lattice, as a capability: in this process, or over the lattice to where the client is.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use lattice::{
    bus::{Bus, CallHandler},
    model::outbound::AllowedOrigin,
    wire::{
        CallError, CallHead, ClientReplyHead, ClientRequestHead, HttpFault, Interface, Timeouts, decode_http,
        encode_http,
    },
};

use super::{
    Body,
    remote::{Sent, answered, arrived, bad, received},
};
use crate::Caller;

/// The function that a request is sent to over the lattice.
const SEND: &str = "send";

/// What a client answers over the lattice.
pub fn interface() -> Interface {
    static INTERFACE: std::sync::LazyLock<Interface> = std::sync::LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a literal in this file, parsed by a test")]
        "lattice:http/client@0.1.0".parse().expect("a literal interface")
    });
    INTERFACE.clone()
}

/// What sends requests out of the lattice.
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    /// The response to a request with an absolute URI, or why there is none. Where the request may go, by name and by
    /// address, is looked at here. The response's body may still be on its way when this returns; it ends with an error
    /// where it is not whole.
    async fn send(&self, request: Request<Body>, terms: Terms) -> Result<Response<Body>, HttpFault>;
}

/// On which terms a request is sent.
#[derive(Debug, Clone)]
pub struct Terms {
    /// What the caller's link allows.
    pub allow: Arc<[AllowedOrigin]>,
    /// The client has its own, and the shorter one counts.
    pub timeouts: Timeouts,
}

/// The caller's side.
pub struct HttpClientRemote {
    pub caller: Arc<dyn Caller>,
    pub bus: Bus,
}

impl HttpClientRemote {
    async fn call(&self, request: Request<Body>, terms: Terms) -> Result<Result<Response<Body>, HttpFault>, CallError> {
        let Sent { head, begin, rest } = Sent::new(request, &self.bus).await?;
        let allow = terms.allow.iter().map(ToString::to_string).collect();
        let head = ClientRequestHead { request: head, allow, timeouts: terms.timeouts };
        let payload = encode_http(&head, &begin).map_err(|e| bad(&e))?;
        let reply = self.caller.call(&interface(), SEND, None, payload).await?;
        let (head, begin): (ClientReplyHead, Bytes) = decode_http(&reply).map_err(|e| bad(&e))?;
        match head {
            Ok(head) => arrived(head, begin, rest, &self.bus).await.map(Ok),
            Err(fault) => Ok(Err(fault)),
        }
    }
}

#[async_trait]
impl HttpClient for HttpClientRemote {
    async fn send(&self, request: Request<Body>, terms: Terms) -> Result<Response<Body>, HttpFault> {
        self.call(request, terms).await.unwrap_or_else(|error| Err(HttpFault::from(&error)))
    }
}

/// The client's side.
pub struct HttpClientServed {
    pub client: Arc<dyn HttpClient>,
    pub bus: Bus,
}

#[async_trait]
impl CallHandler for HttpClientServed {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        if !interface().satisfies(&head.interface) || head.function != SEND {
            return Err(CallError::NotServed(format!("{}#{}", head.interface, head.function)));
        }
        let (head, begin): (ClientRequestHead, Bytes) = decode_http(&payload).map_err(|e| bad(&e))?;
        // What cannot be read allows nothing that it was meant to allow, which the sender must know.
        let allow: Result<Vec<AllowedOrigin>, _> = head.allow.iter().map(|entry| entry.parse()).collect();
        let terms = Terms { allow: allow.map_err(|e| bad(&e))?.into(), timeouts: head.timeouts };
        let request = received(head.request, begin, &self.bus).await?;
        let (head, begin): (ClientReplyHead, Bytes) = match self.client.send(request, terms).await {
            Ok(response) => {
                let (head, begin) = answered(response, &self.bus).await?;
                (Ok(head), begin)
            }
            Err(fault) => (Err(fault), Bytes::new()),
        };
        encode_http(&head, &begin).map_err(|e| bad(&e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_that_of_the_catalog() {
        let served: Vec<_> = lattice::model::catalog::HTTP_CLIENT.interfaces().collect();
        assert_eq!(served, [interface()]);
    }
}
