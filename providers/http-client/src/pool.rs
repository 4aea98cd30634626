//! Connections that wait for another request, and how many there are.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hyper::client::conn::{http1, http2};
use lattice::model::outbound::Origin;

use crate::body::Upload;

/// The way into a connection.
pub(crate) enum Sender {
    /// HTTP/1.1: one request at a time.
    Older(http1::SendRequest<Upload>),
    /// HTTP/2.
    Newer(http2::SendRequest<Upload>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Older(sender) => sender.is_closed(),
            Self::Newer(sender) => sender.is_closed(),
        }
    }
}

/// A connection that can be had.
struct Kept {
    sender: Sender,
    /// Where it leads: another request may not be allowed there.
    address: IpAddr,
    used: Instant,
}

#[derive(Default)]
struct Connections {
    /// Those used last are at the end.
    kept: Vec<Kept>,
    /// All that there are, kept or in use.
    open: usize,
}

/// The connections of a client.
pub(crate) struct Pool {
    // A lock for a few lines at the beginning and the end of a request, never over a wait.
    origins: Mutex<HashMap<Origin, Connections>>,
    max: usize,
    keep_alive: Duration,
    swept: AtomicBool,
}

/// A connection counts for as long as its permit is there.
pub(crate) struct Permit {
    pool: Arc<Pool>,
    origin: Origin,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut origins = self.pool.origins();
        if let Some(connections) = origins.get_mut(&self.origin) {
            connections.open = connections.open.saturating_sub(1);
            if connections.open == 0 && connections.kept.is_empty() {
                origins.remove(&self.origin);
            }
        }
    }
}

impl Pool {
    pub(crate) fn new(max: usize, keep_alive: Duration) -> Self {
        Self { origins: Mutex::default(), max, keep_alive, swept: AtomicBool::new(false) }
    }

    fn origins(&self) -> MutexGuard<'_, HashMap<Origin, Connections>> {
        self.origins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection to `origin` whose address `admits` lets through.
    pub(crate) fn take(&self, origin: &Origin, admits: impl Fn(IpAddr) -> bool) -> Option<(Sender, IpAddr)> {
        let mut origins = self.origins();
        let kept = &mut origins.get_mut(origin)?.kept;
        kept.retain(|one| !one.sender.is_closed());
        let found = kept.iter().rposition(|one| admits(one.address))?;
        if let Kept { sender: Sender::Newer(sender), address, used } = &mut kept[found] {
            *used = Instant::now();
            return Some((Sender::Newer(sender.clone()), *address));
        }
        let Kept { sender, address, .. } = kept.remove(found);
        Some((sender, address))
    }

    /// Room for one more connection to `origin`; `None` at the limit: a request never waits for another to end.
    pub(crate) fn permit(self: &Arc<Self>, origin: &Origin) -> Option<Permit> {
        let mut origins = self.origins();
        let connections = origins.entry(origin.clone()).or_default();
        if connections.open >= self.max {
            return None;
        }
        connections.open += 1;
        drop(origins);
        if !self.swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self), self.keep_alive));
        }
        Some(Permit { pool: self.clone(), origin: origin.clone() })
    }

    /// Keeps a connection for another request.
    pub(crate) fn keep(&self, origin: &Origin, sender: Sender, address: IpAddr) {
        if sender.is_closed() {
            return;
        }
        if let Some(connections) = self.origins().get_mut(origin) {
            connections.kept.push(Kept { sender, address, used: Instant::now() });
        }
    }

    /// Closes what has waited too long.
    fn close_idle(&self) {
        let mut closed = Vec::new();
        let mut origins = self.origins();
        for connections in origins.values_mut() {
            let idle = |one: &mut Kept| one.sender.is_closed() || one.used.elapsed() >= self.keep_alive;
            closed.extend(connections.kept.extract_if(.., idle));
        }
        origins.retain(|_, connections| connections.open > 0 || !connections.kept.is_empty());
        // Their ends come back here for the lock.
        drop(origins);
        drop(closed);
    }
}

async fn sweep(pool: Weak<Pool>, keep_alive: Duration) {
    let pause = (keep_alive / 4).max(Duration::from_millis(50));
    loop {
        tokio::time::sleep(pause).await;
        match pool.upgrade() {
            Some(pool) => pool.close_idle(),
            None => return,
        }
    }
}
