//! One address: accepting connections and serving them.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use lattice::wire::InstanceId;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    respond::respond,
    table::{Route, Table},
};

/// What a connection task reads; swapped as a whole when a unit comes or goes.
struct Live {
    table: Table,
    max_body: usize,
}

struct Entry {
    owner: InstanceId,
    max_body: usize,
    routes: Vec<Route>,
}

pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    entries: Vec<Entry>,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    connections: TaskTracker,
}

/// After an accept that failed (no file handles left, say), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Listener {
    pub(crate) async fn bind(config: &Config) -> io::Result<Self> {
        let socket = TcpListener::bind(config.address).await?;
        let address = socket.local_addr()?;
        let live = Arc::new(ArcSwap::from_pointee(Live { table: Table::default(), max_body: config.max_body }));
        let listener = Self {
            address,
            entries: Vec::new(),
            live,
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(config.header_timeout).max_buf_size(config.max_headers);
        let accept = accept(socket, http, listener.live.clone(), listener.stop.clone(), listener.connections.clone());
        listener.connections.spawn(accept);
        listener.connections.close();
        tracing::info!(%address, "listening for HTTP");
        Ok(listener)
    }

    pub(crate) fn add(&mut self, owner: InstanceId, config: &Config, routes: Vec<Route>) {
        self.entries.retain(|entry| entry.owner != owner);
        self.entries.push(Entry { owner, max_body: config.max_body, routes });
        self.publish();
    }

    /// Whether nothing is left.
    pub(crate) fn remove(&mut self, owner: &InstanceId) -> bool {
        self.entries.retain(|entry| entry.owner != *owner);
        self.publish();
        self.entries.is_empty()
    }

    fn publish(&self) {
        let table = Table::new(self.entries.iter().flat_map(|entry| &entry.routes));
        let max_body = self.entries.iter().map(|entry| entry.max_body).max().unwrap_or(0);
        self.live.store(Arc::new(Live { table, max_body }));
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

async fn accept(
    socket: TcpListener,
    http: http1::Builder,
    live: Arc<ArcSwap<Live>>,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => drop(connections.spawn(serve(stream, http.clone(), live.clone(), stop.clone()))),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, http: http1::Builder, live: Arc<ArcSwap<Live>>, stop: CancellationToken) {
    // Small answers leave at once. A connection that refuses the option is served all the same.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| {
        let live = live.load_full();
        async move { Ok::<_, Infallible>(respond(&live.table, live.max_body, request).await) }
    });
    let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
    // Cancel-safe: the connection is polled on after the stop was seen.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
