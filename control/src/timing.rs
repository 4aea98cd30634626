//! The times that the controller goes by.

use std::time::Duration;

/// Between renewals of the lease.
pub const RENEW: Duration = Duration::from_secs(1);
/// A lease that has not changed for so long may be taken over.
pub const TAKEOVER: Duration = Duration::from_secs(3);
/// A lease that has not changed for so long may soon be taken over. Whoever may do so begins to listen to the hosts, so as to know
/// by then who is silent. Longer than [`RENEW`] by more than a renewal takes.
pub const LATE: Duration = Duration::from_millis(1250);
/// A holder that could not renew for so long stops acting. Shorter than [`TAKEOVER`], so that clocks may run at
/// different speeds (by a sixth) and two holders still never overlap.
pub const STEP_DOWN: Duration = Duration::from_millis(2500);
/// A host whose sign of life has not changed for so long is lost. Hosts give one each second.
pub const HOST_LOST_AFTER: Duration = Duration::from_secs(3);
/// How long nobody is declared lost when most hosts fell silent at once.
pub const MASS_SILENCE_HOLD: Duration = Duration::from_secs(15);
/// More than this part of the hosts is most of them, in percent.
pub const HOLD_ABOVE: u32 = 50;
/// Of hosts that stay silent after that, so many are given up at a time, in percent of all; one at least.
pub const EVICTED_AT_ONCE: u32 = 10;
/// Between two looks at everything when nothing changes.
pub const TICK: Duration = Duration::from_secs(1);
/// Changes come in groups; so long they are gathered.
pub const DEBOUNCE: Duration = Duration::from_millis(20);

/// The times that one controller goes by. All controllers of a lattice must agree on `takeover` and `step_down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    pub renew: Duration,
    pub takeover: Duration,
    pub late: Duration,
    pub step_down: Duration,
    pub host_lost_after: Duration,
    pub mass_silence_hold: Duration,
    pub hold_above: u32,
    pub tick: Duration,
    pub debounce: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            renew: RENEW,
            takeover: TAKEOVER,
            late: LATE,
            step_down: STEP_DOWN,
            host_lost_after: HOST_LOST_AFTER,
            mass_silence_hold: MASS_SILENCE_HOLD,
            hold_above: HOLD_ABOVE,
            tick: TICK,
            debounce: DEBOUNCE,
        }
    }
}

impl Timing {
    /// A host that said nothing for so long missed a beat, lost or not.
    pub(crate) fn quiet_after(&self) -> Duration {
        self.host_lost_after / 2
    }
}
