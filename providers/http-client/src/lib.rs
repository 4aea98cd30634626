//! Sends the HTTP requests of components out of the lattice: HTTP/1.1 and HTTP/2, over kept connections, to what a link
//! allows and nothing else.
//!
//! A request goes this way: its URI has one reading ([`lattice::model::outbound`]); the link must allow what that names; the
//! name is looked up once; each address is checked, and a connection goes to one that was checked. Redirects are answers
//! like any other: a component that follows one sends a new request. Proxies of the environment are not used.

mod body;
mod client;
mod config;
mod connect;
mod fault;
mod pool;
mod resolve;
mod tls;

use std::sync::Arc;

use async_trait::async_trait;
use lattice_provider::{Capability, Provider, StartContext, StartError};

pub use self::{
    client::Client,
    config::{Config, Private},
    resolve::{Resolver, SystemResolver},
    tls::TlsError,
};

/// The provider.
pub struct HttpClientProvider;

#[async_trait]
impl Provider for HttpClientProvider {
    const KIND: &'static str = "http-client";
    type Config = Config;

    async fn start(_: StartContext, config: Config) -> Result<Capability, StartError> {
        let client = Client::new(&config, Arc::new(SystemResolver));
        let client = client.map_err(|error| StartError::Config(format!("{}: {error}", Self::KIND)))?;
        Ok(Capability::HttpClient(Arc::new(client)))
    }
}
