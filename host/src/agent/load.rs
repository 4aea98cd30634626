//! How busy components are that follow their load: looked at between two signs of life, and told with them.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use lattice::{model::scale::Load, wire::UnitId};
use tokio::time::{MissedTickBehavior, interval};

use crate::{links::Router, runtime::LoadedComponent};

/// Between two looks at the calls under way. Looking costs the calls nothing, where counting their time would.
const LOOK: Duration = Duration::from_millis(20);

/// The components of this host that follow their load.
pub(crate) type Followed = Arc<ArcSwap<Vec<(UnitId, Arc<LoadedComponent>)>>>;

/// What was seen since the load was told last.
pub(crate) struct Meter {
    followed: Followed,
    router: Arc<Router>,
    looks: tokio::time::Interval,
    looked: u64,
    /// The sum of the calls that were under way at each look.
    sums: Load,
}

impl Meter {
    pub(crate) fn new(followed: Followed, router: Arc<Router>) -> Self {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { followed, router, looks, looked: 0, sums: Load::new() }
    }

    /// Looks again and again; returns when somebody waits for a unit of which there is no copy. Cancel-safe.
    pub(crate) async fn watch(&mut self) {
        // A host without any of them has no reason to wake up; it is seen at the next beat when it has one.
        if self.followed.load().is_empty() {
            return self.router.asleep().called().await;
        }
        loop {
            tokio::select! {
                () = self.router.asleep().called() => return,
                _ = self.looks.tick() => self.look(),
            }
        }
    }

    fn look(&mut self) {
        let followed = self.followed.load();
        self.looked += 1;
        for (unit, component) in followed.iter() {
            let calls = u64::from(component.in_flight());
            match self.sums.get_mut(unit) {
                Some(sum) => *sum += calls,
                None => drop(self.sums.insert(unit.clone(), calls)),
            }
        }
    }

    /// The load since this was asked last.
    pub(crate) fn tell(&mut self) -> Load {
        let looked = std::mem::take(&mut self.looked).max(1);
        let sums = std::mem::take(&mut self.sums).into_iter();
        let mut load: Load =
            sums.filter(|(_, sum)| *sum > 0).map(|(unit, sum)| (unit, (sum * 1000).div_ceil(looked))).collect();
        self.router.asleep().add_to(&mut load);
        load
    }
}
