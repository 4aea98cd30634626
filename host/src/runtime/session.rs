//! Instances that are kept because others hold resources of theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use lattice::wire::{CallError, SESSION_LEASE};
use uuid::Uuid;
use wasmtime::{Store, component::Instance};

use super::{guest::Guest, lens::Held};

/// An instance, its store, and what it gave away.
pub(super) struct Live {
    pub(super) store: Store<Guest>,
    pub(super) instance: Instance,
    pub(super) held: Held,
}

/// One caller's instance.
pub(super) struct Session {
    /// `None` when it has failed. Held over a call: an instance does one thing at a time, and who calls it waits within
    /// their deadline.
    pub(super) live: tokio::sync::Mutex<Option<Live>>,
    /// When its caller was last heard. A lock around a copy.
    heard: Mutex<Instant>,
}

/// Sessions of one component at the most.
const MAX_SESSIONS: usize = 1000;
/// Resources that one session may give away at the most.
pub(super) const MAX_RESOURCES: usize = 10_000;

/// All sessions of a component. A lock around a look-up.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Uuid, Arc<Session>>>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    fn heard(&self) {
        *locked(&self.heard) = Instant::now();
    }

    fn silence(&self) -> Duration {
        locked(&self.heard).elapsed()
    }
}

impl Sessions {
    /// The session `id`; its lease begins anew.
    pub(super) fn find(&self, id: &Uuid) -> Option<Arc<Session>> {
        let session = locked(&self.0).get(id).cloned()?;
        session.heard();
        Some(session)
    }

    pub(super) fn end(&self, id: &Uuid) {
        let ended = locked(&self.0).remove(id);
        // Dropping an instance takes a while; not under the lock.
        drop(ended);
    }

    /// Keeps `live` for the caller who named `id`, for as long as they are heard.
    pub(super) fn begin(self: &Arc<Self>, id: Uuid, live: Live) -> Result<(), CallError> {
        let session =
            Arc::new(Session { live: tokio::sync::Mutex::new(Some(live)), heard: Mutex::new(Instant::now()) });
        let mut sessions = locked(&self.0);
        if sessions.len() >= MAX_SESSIONS {
            return Err(CallError::Overloaded(format!("a component with {MAX_SESSIONS} sessions")));
        }
        tokio::spawn(watch(Arc::downgrade(self), id, Arc::downgrade(&session)));
        sessions.insert(id, session);
        Ok(())
    }
}

/// Ends a session whose caller is silent for a lease.
async fn watch(sessions: Weak<Sessions>, id: Uuid, session: Weak<Session>) {
    loop {
        let Some(silence) = session.upgrade().map(|session| session.silence()) else { return };
        if silence >= SESSION_LEASE {
            if let Some(sessions) = sessions.upgrade() {
                tracing::debug!(session = %id, "its holder is silent; its resources are freed");
                sessions.end(&id);
            }
            return;
        }
        tokio::time::sleep(SESSION_LEASE - silence).await;
    }
}
