//! One address: its units, and what they together make of a connection.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use lattice::{
    model::routes::Pattern,
    wire::{InstanceId, UnitId},
};
use lattice_provider::http::HttpHandler;
use tokio::net::TcpListener;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    connection,
    table::{Policy, Route, Table},
    tls::{self, Certificate, TlsError},
};

/// What connections and requests read; swapped as a whole when a unit comes or goes.
pub(crate) struct Live {
    pub(crate) table: Table,
    /// The settings of the unit that came last: what is for whole connections is as it wants it.
    pub(crate) newest: Config,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    /// Whether requests without a route are logged.
    pub(crate) access_log: bool,
}

/// A unit with routes on the address.
pub(crate) struct Entry {
    pub(crate) owner: InstanceId,
    /// Whose requests they are, where they are traced.
    pub(crate) unit: Option<UnitId>,
    pub(crate) config: Config,
    pub(crate) certificate: Option<Arc<Certificate>>,
    pub(crate) routes: Vec<(Pattern, Arc<dyn HttpHandler>)>,
}

pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// Until the first unit is there: nobody connects to a listener without routes.
    socket: Option<TcpListener>,
    entries: Vec<(Entry, Arc<Policy>)>,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl Listener {
    pub(crate) async fn bind(config: &Config) -> io::Result<Self> {
        let socket = TcpListener::bind(config.address).await?;
        let live = Live { table: Table::default(), newest: config.clone(), tls: None, access_log: false };
        Ok(Self {
            address: socket.local_addr()?,
            socket: Some(socket),
            entries: Vec::new(),
            live: Arc::new(ArcSwap::from_pointee(live)),
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        })
    }

    /// Takes a unit, in the place of what its owner had before. When it fails nothing has changed.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), TlsError> {
        let policy = Policy {
            max_body: entry.config.max_body,
            cors: entry.config.cors.clone(),
            forwarded: entry.config.forwarded,
            access_log: entry.config.access_log,
            traced: entry.unit.clone(),
        };
        let others = self.entries.iter().filter(|(other, _)| other.owner != entry.owner);
        let certificates = others.filter_map(|(other, _)| other.certificate.clone()).chain(entry.certificate.clone());
        let secured = entry.certificate.is_some();
        let tls = secured.then(|| tls::accepting(certificates.collect(), entry.config.http2)).transpose()?;
        let newest = entry.config.clone();
        self.entries.retain(|(other, _)| other.owner != entry.owner);
        self.entries.push((entry, Arc::new(policy)));
        self.publish(newest, tls);
        if let Some(socket) = self.socket.take() {
            tracing::info!(address = %self.address, tls = secured, "listening for HTTP");
            let (live, stop, connections) = (self.live.clone(), self.stop.clone(), self.connections.clone());
            self.connections.spawn(connection::accept(socket, live, stop, connections));
            self.connections.close();
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes a unit's routes away.
    pub(crate) fn remove(&mut self, owner: &InstanceId) {
        self.entries.retain(|(entry, _)| entry.owner != *owner);
        let last = self.live.load();
        self.publish(last.newest.clone(), last.tls.clone());
    }

    fn publish(&self, newest: Config, tls: Option<Arc<ServerConfig>>) {
        let routes: Vec<_> = self
            .entries
            .iter()
            .flat_map(|(entry, policy)| entry.routes.iter().map(move |route| (route, policy)))
            .map(|((pattern, handler), policy)| Route {
                pattern: pattern.clone(),
                handler: handler.clone(),
                policy: policy.clone(),
            })
            .collect();
        let access_log = self.entries.iter().any(|(entry, _)| entry.config.access_log);
        self.live.store(Arc::new(Live { table: Table::new(routes), newest, tls, access_log }));
    }

    /// Accepts no more; connections end after the request that they are at.
    pub(crate) async fn drain(self, limit: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(limit, self.connections.wait()).await.is_err() {
            tracing::warn!(address = %self.address, connections = self.connections.len(), "connections are still open; closing all the same");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
