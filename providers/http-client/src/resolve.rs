//! From a name to addresses.

use std::net::IpAddr;

use async_trait::async_trait;
use lattice::wire::{FaultCode, HttpFault};

/// What knows the addresses of names.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `name`, the best first; [`FaultCode::DnsError`] when there are none.
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpFault>;
}

/// The resolver of the system.
#[derive(Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, HttpFault> {
        let failed = |error: std::io::Error| HttpFault::new(FaultCode::DnsError, error);
        let addresses = tokio::net::lookup_host((name, 0)).await.map_err(failed)?;
        Ok(addresses.map(|address| address.ip()).collect())
    }
}
