//! The instances of a component that may take another call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use super::instance::{Door, Live};

/// The most calls that one instance has at a time which anybody may call.
pub(super) const AT_ONCE: u32 = 16;

/// Instances that may take another call: those of a component, or the one of a session.
pub(in super::super) struct Instances {
    /// Calls that one of them may have in its life.
    calls: u32,
    /// There is one alone, which those who hold its resources call.
    session: bool,
    kept: Mutex<Kept>,
}

/// Under one lock, held for a look at a few entries, because an instance must not be joined while it goes from the
/// second list to the first.
#[derive(Default)]
struct Kept {
    /// With nothing to do.
    idle: Vec<Live>,
    /// In tasks of their own.
    busy: Vec<Arc<Door>>,
    /// Whether there was any.
    begun: bool,
}

/// How many busy instances are looked at for a place. With more of them a fresh one is as good.
const LOOKED_AT: usize = 8;

/// Where a call goes; it is counted.
pub(super) enum Found {
    Idle(Live),
    Busy(Arc<Door>),
    /// Into a fresh one.
    None,
    /// The one of the session has ended.
    Gone,
}

impl Instances {
    /// Those of a component, each for `reuse` calls.
    pub(in super::super) fn pool(reuse: u32) -> Self {
        Self { calls: reuse, session: false, kept: Mutex::default() }
    }

    /// One for all calls of a session.
    pub(in super::super) fn session() -> Self {
        Self { calls: u32::MAX, session: true, kept: Mutex::default() }
    }

    /// Calls that one instance may have.
    pub(super) fn calls(&self) -> u32 {
        self.calls
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance that takes one more call.
    pub(super) fn find(&self) -> Found {
        if self.calls <= 1 {
            return Found::None;
        }
        let mut kept = self.kept();
        if let Some(live) = kept.idle.pop() {
            // An idle instance is always open, and nobody else sees it.
            live.door.admit();
            if self.session {
                // Others have no other one to go to.
                kept.busy.push(live.door.clone());
            }
            return Found::Idle(live);
        }
        let from = kept.busy.len().saturating_sub(LOOKED_AT);
        for at in (from..kept.busy.len()).rev() {
            let door = &kept.busy[at];
            if !door.is_open() {
                kept.busy.swap_remove(at);
            } else if self.session || door.has_room() {
                door.admit();
                return Found::Busy(door.clone());
            }
        }
        match self.session && std::mem::replace(&mut kept.begun, true) {
            true => Found::Gone,
            false => Found::None,
        }
    }

    pub(super) fn share(&self, door: &Arc<Door>) {
        let mut kept = self.kept();
        if door.is_open() && !kept.busy.iter().any(|known| Arc::ptr_eq(known, door)) {
            kept.busy.push(door.clone());
        }
    }

    pub(super) fn forget(&self, door: &Arc<Door>) {
        self.kept().busy.retain(|known| !Arc::ptr_eq(known, door));
    }

    /// Keeps an instance that has nothing to do, or throws it away when it has served its calls. Gives it back when a
    /// call has come in meanwhile.
    pub(super) fn park(&self, live: Live) -> Option<Live> {
        let mut kept = self.kept();
        kept.busy.retain(|door| !Arc::ptr_eq(door, &live.door));
        if !live.door.is_idle() {
            if live.door.is_open() {
                kept.busy.push(live.door.clone());
            }
            return Some(live);
        }
        // One that keeps a stream without reading it keeps the place of a call, and with it its component.
        if live.door.is_open() && (self.session || live.door.streams.load(Ordering::Acquire) == 0) {
            kept.idle.push(live);
        } else {
            // Its memory is given back after the lock.
            drop(kept);
            drop(live);
        }
        None
    }
}
