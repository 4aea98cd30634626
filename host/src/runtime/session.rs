//! Instances that are kept because others hold resources of theirs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use lattice::wire::{CallError, SESSION_LEASE};
use uuid::Uuid;

use super::{
    component::LoadedComponent,
    concurrent::{self, Instances},
    functions::{Answer, FunctionCall},
    guest::Guest,
    lens::Held,
    plain::PlainInstance,
};

/// One caller's instance.
pub(super) struct Session {
    /// What it gave away.
    pub(super) held: Arc<Held>,
    place: Place,
}

enum Place {
    /// `None` when it has failed. Held over a call: on this engine an instance does one thing at a time, and who calls it
    /// waits within their deadline.
    Plain(tokio::sync::Mutex<Option<PlainInstance>>),
    Concurrent(Arc<Instances>),
}

impl Session {
    /// With a fresh instance, whose first call may take `allowed`.
    pub(super) async fn begin(component: &LoadedComponent, allowed: Duration) -> Result<Self, CallError> {
        let place = match component.concurrent {
            true => Place::Concurrent(Arc::new(Instances::session())),
            false => Place::Plain(tokio::sync::Mutex::new(Some(component.plain_instance(allowed).await?))),
        };
        Ok(Self { held: Arc::default(), place })
    }

    /// Calls a function in its instance.
    pub(super) async fn call(
        &self,
        component: &Arc<LoadedComponent>,
        mut call: FunctionCall,
    ) -> Result<Answer, CallError> {
        call.intake.held = Some(self.held.clone());
        let place = match &self.place {
            Place::Concurrent(instances) => return concurrent::call(component, instances, call).await,
            Place::Plain(place) => place,
        };
        let mut place = place.lock().await;
        // While it runs it is not in its place: a call that is given up leaves an instance in the middle of something.
        let Some(mut instance) = place.take() else { return Err(component.session_ended()) };
        Guest::begin(&mut instance.store, call.allowed);
        let answer = instance.call(component, call).await?;
        *place = Some(instance);
        Ok(answer)
    }

    /// Runs the destructors of resources that their holder has done with.
    pub(super) async fn drop_resources(
        &self,
        component: &Arc<LoadedComponent>,
        numbers: &[u32],
        allowed: Duration,
    ) -> Result<(), CallError> {
        let resources = numbers.iter().filter_map(|number| self.held.take(*number)).collect();
        let place = match &self.place {
            Place::Concurrent(instances) => {
                return concurrent::drop_resources(component, instances, resources, allowed).await;
            }
            Place::Plain(place) => place,
        };
        let mut place = place.lock().await;
        let Some(mut instance) = place.take() else { return Err(component.session_ended()) };
        Guest::begin(&mut instance.store, allowed);
        for resource in resources {
            let dropped = resource.resource_drop_async(&mut instance.store).await;
            dropped.map_err(|error| component.explain(&instance.store, &error))?;
        }
        *place = Some(instance);
        Ok(())
    }
}

/// Sessions of one component at the most.
const MAX_SESSIONS: usize = 1000;
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

    /// Keeps a session for the caller who named it `id`, for as long as they are heard.
    pub(super) fn keep(self: &Arc<Self>, id: Uuid, session: Session) -> Result<(), CallError> {
        let session = Arc::new(session);
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
