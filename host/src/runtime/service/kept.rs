//! The instances of a component that may take another call.

use std::sync::{Arc, Mutex, MutexGuard};

use super::instance::{Door, Live};

/// The instances of one component that may take another call.
#[derive(Default)]
pub(in super::super) struct Instances(Mutex<Kept>);

/// Under one lock, held for a look at a few entries, because an instance must not be joined while it goes from the
/// second list to the first.
#[derive(Default)]
struct Kept {
    /// With nothing to do.
    idle: Vec<Live>,
    /// In tasks of their own.
    busy: Vec<Arc<Door>>,
}

/// How many busy instances are looked at for a place. With more of them a fresh one is as good.
const LOOKED_AT: usize = 8;

/// Where a call goes.
pub(super) enum Place {
    Idle(Live),
    Busy(Arc<Door>),
    None,
}

impl Instances {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// An instance that takes one more call; the call is counted.
    pub(super) fn take(&self) -> Place {
        let mut kept = self.kept();
        if let Some(live) = kept.idle.pop() {
            // An idle instance is always open, and nobody else sees it.
            live.door.admit();
            return Place::Idle(live);
        }
        let from = kept.busy.len().saturating_sub(LOOKED_AT);
        for at in (from..kept.busy.len()).rev() {
            let door = &kept.busy[at];
            if door.admit() {
                return Place::Busy(door.clone());
            }
            if !door.is_open() {
                kept.busy.swap_remove(at);
            }
        }
        Place::None
    }

    pub(super) fn share(&self, door: &Arc<Door>) {
        if door.is_open() {
            self.kept().busy.push(door.clone());
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
        if live.door.is_open() {
            kept.idle.push(live);
        } else {
            // Its memory is given back after the lock.
            drop(kept);
            drop(live);
        }
        None
    }
}
