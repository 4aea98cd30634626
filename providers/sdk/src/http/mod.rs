//! HTTP as a capability: something that turns a request into a response.

mod body;
mod client;
mod remote;
#[cfg(test)]
mod tests;
mod transfer;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use lattice::wire::{CallError, Interface};

pub use self::{
    body::{Body, BodyError, Capped, Overflow, recorded},
    client::{HttpClient, HttpClientRemote, HttpClientServed, Terms, interface as client_interface},
    remote::{HttpRemote, HttpServed},
};

/// What answers HTTP requests: a component, here or on another host.
#[async_trait]
pub trait HttpHandler: Send + Sync + 'static {
    /// The response, or why there is none. A response's body may still be on its way when this returns.
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError>;
}

/// The function that a request is sent to over the lattice.
pub const HANDLE: &str = "handle";

/// `wasi:http/incoming-handler`, as it is called over the lattice: any 0.2 version serves any other.
pub fn interface() -> Interface {
    static INTERFACE: std::sync::LazyLock<Interface> = std::sync::LazyLock::new(|| {
        #[expect(clippy::expect_used, reason = "a literal in this file, parsed by a test")]
        "wasi:http/incoming-handler@0.2.0".parse().expect("a literal interface")
    });
    INTERFACE.clone()
}

fn pairs(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), Bytes::copy_from_slice(value.as_bytes()))).collect()
}

fn header_map(pairs: Vec<(String, Bytes)>) -> Result<HeaderMap, CallError> {
    let bad = |e: &dyn std::fmt::Display| CallError::BadMessage(format!("an HTTP header: {e}"));
    let mut map = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(&e))?;
        let value = HeaderValue::from_maybe_shared(value).map_err(|e| bad(&e))?;
        map.append(name, value);
    }
    Ok(map)
}
