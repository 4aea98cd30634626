//! A bounded number of connections, and what is known of the database.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lattice_provider::{Health, HealthReporter, StartError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    config::Settings,
    connection::{Connection, Server, Unreachable},
    failure::Failure,
    tls,
};

/// How often it is asked whether the database is there.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// The same while it is away.
const AWAY_INTERVAL: Duration = Duration::from_millis(250);
/// How often all connections are in use when it is asked, before it is asked on another one.
const MISSED: u32 = 3;
/// How long it may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections to one database. Stops to look after it when dropped.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    _probe: AbortOnDropHandle<()>,
}

struct Shared {
    server: Arc<Server>,
    permits: Arc<Semaphore>,
    /// The newest one is used first. A lock, as calls take from it and give to it at the same time; held for a push or a pop.
    idle: Mutex<Vec<Connection>>,
    size: usize,
    wait: Duration,
    /// How often it was tried to reach the database.
    attempts: AtomicU64,
    known: watch::Sender<Known>,
    health: HealthReporter,
}

/// What is known of the database.
#[derive(Default)]
struct Known {
    /// From which attempt. One that began earlier says nothing of now, though it may end later.
    attempt: u64,
    /// Why it is away.
    away: Option<Arc<str>>,
}

impl Pool {
    /// With one connection, which shows that the settings are right.
    pub(crate) async fn start(settings: &Settings, health: HealthReporter) -> Result<Self, StartError> {
        let tls = tls::connector(settings.tls, settings.ca_file.as_deref())?;
        let server = Arc::new(Server::new(settings, tls));
        let first = server.connect().await.map_err(|error| StartError::Backend(error.to_string()))?;
        let shared = Arc::new(Shared {
            server,
            permits: Arc::new(Semaphore::new(settings.pool_size)),
            idle: Mutex::new(vec![first]),
            size: settings.pool_size,
            wait: settings.wait,
            attempts: AtomicU64::new(0),
            known: watch::Sender::default(),
            health,
        });
        let probe = AbortOnDropHandle::new(tokio::spawn(shared.clone().probe()));
        Ok(Self { shared, _probe: probe })
    }

    /// A connection for one call.
    pub(crate) async fn take(&self) -> Result<Lease, Failure> {
        let shared = &self.shared;
        let permit = match shared.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let permit = tokio::time::timeout(shared.wait, shared.permits.clone().acquire_owned()).await;
                // It is never closed.
                permit.ok().and_then(Result::ok).ok_or_else(|| {
                    Failure::Unavailable(format!(
                        "all {} connections of the pool are in use, and none became free within {:?} (`poolSize`, `waitTimeout`)",
                        shared.size, shared.wait
                    ))
                })?
            }
        };
        let connection = match shared.pop() {
            Some(connection) => connection,
            None => shared.connect().await?,
        };
        Ok(Lease { held: Some((connection, permit)), shared: shared.clone(), busy: false })
    }

    /// The outcome of `work`, or its end when the database no longer answers anyone.
    pub(crate) async fn while_there<T, E: From<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let mut known = self.shared.known.subscribe();
        // Cancel-safe: a statement that is dropped is cancelled, and its connection is closed.
        tokio::select! {
            biased;
            outcome = work => outcome,
            reason = gone(&mut known) => Err(Failure::Lost(reason).into()),
        }
    }
}

async fn gone(known: &mut watch::Receiver<Known>) -> String {
    // Whoever begins while it is away may be the first to see that it is back.
    known.borrow_and_update();
    loop {
        if known.changed().await.is_err() {
            return pending().await;
        }
        if let Some(reason) = known.borrow_and_update().away.as_deref() {
            return reason.to_owned();
        }
    }
}

impl Shared {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pop(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(connection) = idle.pop() {
            if !connection.is_closed() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let away = self.known.borrow().away.clone();
        // Only the probe tries while it is away: calls then fail at once.
        if let Some(reason) = away {
            return Err(Failure::Unavailable(reason.to_string()));
        }
        let attempt = self.begin();
        self.server.connect().await.map_err(|error| {
            self.failed(attempt, &error);
            Failure::Unavailable(error.to_string())
        })
    }

    /// The number of an attempt that begins now.
    fn begin(&self) -> u64 {
        self.attempts.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes what an attempt has shown for what is so now, unless a later one has shown something already. `learn` says
    /// whether those who wait for news have some.
    fn learned(&self, attempt: u64, learn: impl FnOnce(&mut Known) -> bool) {
        self.known.send_if_modified(|known| {
            let newest = attempt >= known.attempt;
            known.attempt = known.attempt.max(attempt);
            newest && learn(known)
        });
    }

    fn failed(&self, attempt: u64, error: &Unreachable) {
        let reason = error.to_string();
        self.learned(attempt, |known| {
            // A database that refuses, perhaps as it has too many connections, goes on with those that there are.
            if !error.refused {
                known.away = Some(reason.as_str().into());
                let idle = std::mem::take(&mut *self.idle());
                idle.into_iter().for_each(Connection::close);
            }
            self.health.report(Health::Degraded(reason.clone()));
            !error.refused
        });
    }

    async fn probe(self: Arc<Self>) {
        let mut missed = 0u32;
        loop {
            let away = self.known.borrow().away.is_some();
            tokio::time::sleep(if away { AWAY_INTERVAL } else { PROBE_INTERVAL }).await;
            let Ok(permit) = self.permits.clone().try_acquire_owned() else {
                missed += 1;
                if missed.is_multiple_of(MISSED) {
                    self.ask_beside().await;
                }
                continue;
            };
            let attempt = self.begin();
            match self.ask().await {
                Ok(connection) => self.learned(attempt, |known| {
                    self.idle().push(connection);
                    self.health.report(Health::Ready);
                    known.away.take().is_some()
                }),
                Err(error) => self.failed(attempt, &error),
            }
            drop(permit);
        }
    }

    /// Asks on a connection more than the pool has: all of its own are in use, and perhaps none will ever be answered.
    async fn ask_beside(&self) {
        let attempt = self.begin();
        match self.server.connect().await {
            Ok(connection) => connection.close(),
            Err(error) if error.refused => {}
            Err(error) => self.failed(attempt, &error),
        }
    }

    /// A connection on which the database has just answered: one that there is, else a new one.
    async fn ask(&self) -> Result<Connection, Unreachable> {
        if let Some(connection) = self.pop() {
            let asked = tokio::time::timeout(PROBE_TIMEOUT, connection.client.check_connection()).await;
            if matches!(asked, Ok(Ok(()))) {
                return Ok(connection);
            }
        }
        self.server.connect().await
    }
}

/// A connection in use. Dropped under a statement, the statement is cancelled and the connection is closed.
pub(crate) struct Lease {
    held: Option<(Connection, OwnedSemaphorePermit)>,
    shared: Arc<Shared>,
    /// Whether something was sent whose end was not seen.
    pub(crate) busy: bool,
}

impl Lease {
    pub(crate) fn connection(&mut self) -> Result<&mut Connection, Failure> {
        match &mut self.held {
            Some((connection, _)) => Ok(connection),
            None => Err(Failure::Unavailable("the connection was given back".into())),
        }
    }

    /// Closes the connection: it is not as it was before.
    pub(crate) fn discard(mut self) {
        if let Some((connection, _permit)) = self.held.take() {
            connection.close();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some((connection, permit)) = self.held.take() else { return };
        if !self.busy {
            // Before the permit is given back, so that who waits for it finds the connection.
            if !connection.is_closed() {
                self.shared.idle().push(connection);
            }
            drop(permit);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                connection.cancel_and_close().await;
                drop(permit);
            });
        }
    }
}
