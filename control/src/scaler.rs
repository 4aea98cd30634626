//! How many copies there shall be of units that follow their load. Pure: the load and the clock come from outside.
//!
//! - There are more at once, as many as the load needs. There are fewer when fewer were enough all through the unit's window: a lull
//!   between two requests moves nothing.
//! - What is new has a copy until it has run, also where none is needed: so that it is known whether it runs. Who begins to plan
//!   takes what was planned before for what is needed.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use lattice::{
    model::{
        app::{AppRecord, Follow, Scale},
        scale::Load,
    },
    wire::{AppName, UnitId},
};

use crate::plan::World;

#[derive(Default)]
pub(crate) struct Scaler(BTreeMap<UnitId, Track>);

/// What a unit needed lately.
struct Track {
    /// The unit's revision.
    revision: u64,
    /// When it needed how many, each more than all after it: the first is the most of the window.
    needs: VecDeque<(Duration, u32)>,
}

impl Track {
    fn new(revision: u64, now: Duration, need: u32) -> Self {
        Self { revision, needs: [(now, need)].into() }
    }

    fn most(&self) -> u32 {
        self.needs.front().map_or(0, |(_, need)| *need)
    }

    fn needs(&mut self, now: Duration, need: u32, window: Duration) {
        while self.needs.back().is_some_and(|(_, before)| *before <= need) {
            self.needs.pop_back();
        }
        self.needs.push_back((now, need));
        while self.needs.len() > 1 && self.needs.front().is_some_and(|(at, _)| now > *at + window) {
            self.needs.pop_front();
        }
    }
}

/// The units of `apps` that follow their load.
fn following(apps: &BTreeMap<AppName, AppRecord>) -> impl Iterator<Item = (UnitId, u64, Follow)> {
    apps.values().flat_map(AppRecord::unit_ids).filter_map(|(unit, record)| match record.spec.scale() {
        Scale::Follow(follow) => Some((unit, record.revision, follow)),
        _ => None,
    })
}

impl Scaler {
    /// Looks at the load of the live hosts, and tells the world how many copies there shall be.
    pub(crate) fn tell(&mut self, now: Duration, load: &Load, world: &mut World) {
        let mut tracks = BTreeMap::new();
        for (unit, revision, follow) in following(&world.apps) {
            // However short the window is: a start takes as long as it takes.
            let is_new = world.complete(&unit.app) < revision;
            let least = if is_new { follow.first() } else { 0 };
            let need = follow.needs(load.get(&unit).copied().unwrap_or(0)).max(least);
            let known = self.0.remove(&unit).filter(|track| track.revision == revision);
            let mut track = known.unwrap_or_else(|| {
                let planned = world.planned(&unit).map_or(0, |planned| planned.wanted);
                Track::new(revision, now, follow.within(planned))
            });
            track.needs(now, need, Duration::from_millis(follow.window_ms));
            world.scales.insert(unit.clone(), follow.within(track.most()));
            tracks.insert(unit, track);
        }
        self.0 = tracks;
    }

    /// Whether a unit needs more copies than it was last told to have.
    pub(crate) fn is_short(&self, load: &Load, scale: impl Fn(&UnitId) -> Option<Scale>) -> bool {
        load.iter().any(|(unit, load)| match scale(unit) {
            Some(Scale::Follow(follow)) => self.0.get(unit).is_some_and(|track| follow.needs(*load) > track.most()),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lattice::{
        model::{
            app::{ComponentSpec, UnitSpec},
            assignment::{PlanReport, PlannedUnit},
            rollout::RolloutReport,
        },
        wire::Digest,
    };

    use super::*;

    struct Story {
        scaler: Scaler,
        world: World,
        now: Duration,
    }

    impl Story {
        fn new(min: u32, max: u32) -> Self {
            let scale = Scale::Follow(Follow { min, max, in_flight: 10, window_ms: 60_000 });
            let spec = UnitSpec::Component(ComponentSpec { scale, ..ComponentSpec::of(Digest::of(b"a")) });
            let units = BTreeMap::from([("hello".parse().unwrap(), spec)]);
            let name: AppName = "shop".parse().unwrap();
            let app = AppRecord::next(name.clone(), None, String::new(), BTreeMap::new(), units, BTreeMap::new());
            let world = World { apps: [(name, app.unwrap())].into(), ..World::default() };
            Self { scaler: Scaler::default(), world, now: Duration::ZERO }
        }

        /// The newest revision has run.
        fn has_run(&mut self) {
            let rollout = Some(RolloutReport { complete: 1, failed: None });
            let report = PlanReport { version: 1, revision: 1, units: BTreeMap::new(), rollout };
            self.world.reports.insert("shop".parse().unwrap(), report);
        }

        /// How many copies there shall be after `seconds` with so many calls under way.
        fn after(&mut self, seconds: u64, calls: u64) -> u32 {
            let load = Load::from([("shop/hello".parse().unwrap(), calls * 1000)]);
            for _ in 0..seconds {
                self.now += Duration::from_secs(1);
                self.scaler.tell(self.now, &load, &mut self.world);
            }
            self.world.scales[&"shop/hello".parse().unwrap()]
        }
    }

    #[test]
    fn it_grows_at_once_and_shrinks_when_the_window_is_over() {
        let mut story = Story::new(1, 20);
        assert_eq!(story.after(1, 0), 1);
        assert_eq!(story.after(1, 41), 5);
        assert_eq!(story.after(1, 4000), 20);
        assert_eq!(story.after(1, 50), 20);
        assert_eq!(story.after(58, 50), 20);
        assert_eq!(story.after(3, 50), 5);
        assert_eq!(story.after(50, 0), 5);
        assert_eq!(story.after(1, 45), 5, "a lull moves nothing");
        assert_eq!(story.after(50, 0), 5);
        assert_eq!(story.after(12, 0), 1);
    }

    #[test]
    fn it_sleeps_and_wakes() {
        let mut story = Story::new(0, 3);
        assert_eq!(story.after(100, 0), 1, "what is new is tried, however long it takes to start");
        story.has_run();
        assert_eq!(story.after(62, 0), 0);
        let one = Load::from([("shop/hello".parse().unwrap(), 1)]);
        let scale =
            |world: &World| world.apps.values().flat_map(|app| app.units.values()).next().map(|u| u.spec.scale());
        assert!(story.scaler.is_short(&one, |_| scale(&story.world)));
        assert_eq!(story.after(1, 1), 1);
        assert!(!story.scaler.is_short(&one, |_| scale(&story.world)));
    }

    #[test]
    fn who_begins_to_plan_keeps_what_there_is_for_a_window() {
        let mut story = Story::new(0, 20);
        let planned = PlannedUnit { wanted: 7, ..PlannedUnit::default() };
        let units = BTreeMap::from([("hello".parse().unwrap(), planned)]);
        story.has_run();
        story.world.reports.values_mut().for_each(|report| report.units = units.clone());
        assert_eq!(story.after(60, 0), 7);
        assert_eq!(story.after(3, 0), 0);
    }
}
