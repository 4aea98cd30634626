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

/// One caller's instance. `None` when it has failed. Held over a call: an instance does one thing at a time, and who
/// calls it waits within their deadline.
pub(super) type Session = tokio::sync::Mutex<Option<Live>>;

/// Sessions of one component at the most.
const MAX_SESSIONS: usize = 1000;
/// Resources that one session may give away at the most.
pub(super) const MAX_RESOURCES: usize = 10_000;

/// All sessions of a component, each with when its caller was last heard. A lock around a look-up.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Uuid, (Arc<Session>, Instant)>>);

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, (Arc<Session>, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session `id`; its lease begins anew.
    pub(super) fn find(&self, id: &Uuid) -> Option<Arc<Session>> {
        let mut all = self.all();
        let (session, heard) = all.get_mut(id)?;
        *heard = Instant::now();
        Some(session.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    pub(super) fn end_all(&self) {
        let ended = std::mem::take(&mut *self.all());
        drop(ended);
    }

    pub(super) fn end(&self, id: &Uuid) {
        let ended = self.all().remove(id);
        // Dropping an instance takes a while; not under the lock.
        drop(ended);
    }

    /// Keeps `live` for the caller who named `id`, for as long as they are heard.
    pub(super) fn begin(self: &Arc<Self>, id: Uuid, live: Live) -> Result<(), CallError> {
        let session = Arc::new(Session::new(Some(live)));
        let mut all = self.all();
        if all.len() >= MAX_SESSIONS {
            return Err(CallError::Overloaded(format!("a component with {MAX_SESSIONS} sessions")));
        }
        tokio::spawn(watch(Arc::downgrade(self), id, Arc::downgrade(&session)));
        all.insert(id, (session, Instant::now()));
        Ok(())
    }

    /// How long the caller of this session was silent; `None` when it has ended.
    fn silence(&self, id: &Uuid, session: &Weak<Session>) -> Option<Duration> {
        let all = self.all();
        let (current, heard) = all.get(id)?;
        std::ptr::eq(Arc::as_ptr(current), session.as_ptr()).then(|| heard.elapsed())
    }
}

/// Ends a session whose caller is silent for a lease.
async fn watch(sessions: Weak<Sessions>, id: Uuid, session: Weak<Session>) {
    while let Some(sessions) = sessions.upgrade() {
        let Some(silence) = sessions.silence(&id, &session) else { return };
        if silence >= SESSION_LEASE {
            tracing::debug!(session = %id, "its holder is silent; its resources are freed");
            sessions.end(&id);
            return;
        }
        // Not held over the wait: a component that is gone takes its sessions with it.
        drop(sessions);
        tokio::time::sleep(SESSION_LEASE - silence).await;
    }
}
