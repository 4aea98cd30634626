//! Instances that are kept because others hold resources of theirs.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use lattice::wire::{CallError, SESSION_LEASE};
use tokio::sync::Notify;
use uuid::Uuid;
use wasmtime::component::Instance;

use super::{component::LoadedComponent, guest::GuestStore, lens::Held};

/// An instance, its store, and what it gave away.
pub(super) struct Live {
    pub(super) store: GuestStore,
    pub(super) instance: Instance,
    pub(super) held: Held,
}

/// One caller's instance.
pub(super) struct Session {
    /// `None` when it has failed. Held over a call: an instance does one thing at a time, and who calls it waits within
    /// their deadline.
    place: tokio::sync::Mutex<Option<Live>>,
    /// Wakes whoever works on the instance's streams between calls: somebody wants to call it.
    wanted: Notify,
    /// Somebody does.
    attended: AtomicBool,
}

impl Session {
    pub(super) fn new(live: Live) -> Self {
        Self { place: tokio::sync::Mutex::new(Some(live)), wanted: Notify::new(), attended: AtomicBool::new(false) }
    }

    /// The instance, for a call.
    pub(super) async fn lock(&self) -> tokio::sync::MutexGuard<'_, Option<Live>> {
        let mut place = pin!(self.place.lock());
        let first = poll_fn(|cx| Poll::Ready(place.as_mut().poll(cx))).await;
        if let Poll::Ready(free) = first {
            return free;
        }
        // In line by now, so that whoever lets go for us does not get it back before.
        self.wanted.notify_one();
        place.await
    }

    /// Works on what goes on in the instance between its calls. One task does, for as long as there is something.
    pub(super) async fn attend(&self, component: &LoadedComponent) {
        if self.attended.swap(true, Ordering::AcqRel) {
            return;
        }
        loop {
            let mut place = self.place.lock().await;
            let turn = match place.as_mut() {
                Some(live) => live.go_on(component, self.wanted.notified()).await,
                None => Turn::Ended,
            };
            if turn == Turn::Wanted {
                continue;
            }
            if turn == Turn::Failed {
                *place = None;
            }
            // Before the place is free: whoever calls next finds out whether to attend.
            self.attended.store(false, Ordering::Release);
            return;
        }
    }
}

/// Why an instance does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It has nothing to do.
    Ended,
    /// Somebody wants to call it.
    Wanted,
    /// It trapped, or its time is over.
    Failed,
}

impl Live {
    /// Whether its streams may be open, or its tasks under way, when its call was answered.
    pub(super) fn goes_on(&self) -> bool {
        !self.store.data().flows.open().is_empty()
    }

    /// Works on what a call began and that goes on when it was answered, until all streams are closed and all tasks have
    /// ended, the call's time is over, or `wanted` is ready.
    pub(super) async fn go_on(&mut self, component: &LoadedComponent, wanted: impl Future<Output = ()>) -> Turn {
        let guest = self.store.data();
        let (open, until, allowed) = (guest.flows.open(), guest.until(), guest.allowed);
        let work = self.store.run_concurrent(async |accessor| {
            let ended = async {
                open.wait().await;
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            };
            // Inside, because an event loop may only be left when it is at rest. All arms only wait.
            tokio::select! {
                biased;
                () = ended => Ok(Turn::Ended),
                () = wanted => Ok(Turn::Wanted),
                () = tokio::time::sleep_until(until.into()) => Err(CallError::Deadline(allowed)),
            }
        });
        let error = match work.await {
            Ok(Ok(turn)) => return turn,
            Ok(Err(late)) => late,
            Err(trap) => component.explain(&self.store, &trap),
        };
        component.record(&error);
        self.store.data().flows.end(|| error);
        Turn::Failed
    }
}

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
    pub(super) fn begin(self: &Arc<Self>, id: Uuid, live: Live) -> Result<Arc<Session>, CallError> {
        let session = Arc::new(Session::new(live));
        let mut all = self.all();
        if all.len() >= MAX_SESSIONS {
            return Err(CallError::Overloaded(format!("a component with {MAX_SESSIONS} sessions")));
        }
        tokio::spawn(watch(Arc::downgrade(self), id, Arc::downgrade(&session)));
        all.insert(id, (session.clone(), Instant::now()));
        Ok(session)
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
