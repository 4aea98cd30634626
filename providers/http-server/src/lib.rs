//! The HTTP server: listeners that live in the host and hand requests to components.
//!
//! A listener belongs to an address, not to a unit: units of several apps that name the same address share one, and a
//! unit whose routes change keeps it. It closes when the last route is gone.
//!
//! ```text
//! connection task: TLS -> hyper -> routes (swapped as a whole) -> HttpHandler (a component here, or a link to another host)
//! ```

mod access;
mod config;
mod connection;
mod cors;
mod listener;
mod respond;
mod table;
mod tls;

use std::{
    collections::{HashMap, hash_map},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use lattice::{
    model::routes::Pattern,
    wire::{InstanceId, UnitId},
};
use lattice_provider::http::HttpHandler;
use tokio::sync::Mutex;

pub use config::{Config, ConfigError};
pub use cors::Cors;
use listener::{Entry, Listener};
use tls::Certificate;
pub use tls::{PemSource, TlsError, TlsFiles};

/// All listeners of a process.
#[derive(Clone, Default)]
pub struct HttpServers {
    /// A lock, held over `bind`, because two units that come at the same time must share one listener. Requests never
    /// take it: they read the listener's swapped table.
    listeners: Arc<Mutex<HashMap<SocketAddr, Listener>>>,
}

/// Why a unit does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("address {address} is already in use by another program; stop it or choose another address")]
    InUse { address: SocketAddr },
    #[error("this machine has no address {address}; choose one of its own, 127.0.0.1 or 0.0.0.0")]
    NotOurs { address: SocketAddr },
    #[error("cannot listen on {address}: {source}")]
    Other { address: SocketAddr, source: io::Error },
    #[error("http-server: tls: {0}")]
    Tls(#[from] TlsError),
}

/// The routes of one unit on a listener.
pub struct Listening {
    servers: HttpServers,
    owner: InstanceId,
    /// The key of the listener: the address as it was asked for.
    key: SocketAddr,
    /// Where it really listens; differs from what was asked for when the port was 0.
    pub address: SocketAddr,
}

impl HttpServers {
    /// Adds the routes of `owner` to the listener of its address, which begins to listen if it does not yet. Where two
    /// owners have the same route the one that came last has it. Requests are traced as those of `unit`, where there is one.
    pub async fn add(
        &self,
        owner: InstanceId,
        unit: Option<UnitId>,
        config: &Config,
        routes: Vec<(Pattern, Arc<dyn HttpHandler>)>,
    ) -> Result<Listening, ListenError> {
        let certificate = match &config.tls {
            Some(files) => Some(Arc::new(Certificate::load(files.clone()).await?)),
            None => None,
        };
        let mut listeners = self.listeners.lock().await;
        let key = config.address;
        let listener = match listeners.entry(key) {
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(entry) => {
                entry.insert(Listener::bind(config).await.map_err(|source| explain(key, source))?)
            }
        };
        let added = listener.add(Entry { owner: owner.clone(), unit, config: config.clone(), certificate, routes });
        let address = listener.address;
        if let Err(error) = added {
            if listener.is_empty() {
                listeners.remove(&key);
            }
            return Err(error.into());
        }
        Ok(Listening { servers: self.clone(), owner, key, address })
    }
}

fn explain(address: SocketAddr, source: io::Error) -> ListenError {
    match source.kind() {
        io::ErrorKind::AddrInUse => ListenError::InUse { address },
        io::ErrorKind::AddrNotAvailable => ListenError::NotOurs { address },
        _ => ListenError::Other { address, source },
    }
}

impl Listening {
    /// Takes the unit's routes away. When they were the listener's last it stops accepting, and requests under way
    /// have `limit` to end.
    pub async fn close(self, limit: Duration) {
        let mut listeners = self.servers.listeners.lock().await;
        let Some(listener) = listeners.get_mut(&self.key) else { return };
        listener.remove(&self.owner);
        let closed = if listener.is_empty() { listeners.remove(&self.key) } else { None };
        drop(listeners);
        if let Some(listener) = closed {
            listener.drain(limit).await;
        }
    }
}
