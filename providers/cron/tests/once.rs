#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use lattice::{
    bus::Bus,
    model::schedule::{DEFAULT_LATE_MS, Missed, ScheduleSpec, Tick, When},
    wire::UnitId,
};
use lattice_provider::{
    NotDone, Provider, Work, conformance,
    schedule::{Schedule, Scheduled},
};
use lattice_provider_cron::{Config, CronProvider};

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<CronProvider>(&[]).unwrap();
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A component that notes when it is called, by which instance of the provider.
#[derive(Default)]
struct Calls {
    made: Mutex<Vec<(usize, u64)>>,
    under_way: AtomicUsize,
}

struct ByInstance {
    calls: Arc<Calls>,
    instance: usize,
    takes: Duration,
}

#[async_trait]
impl Scheduled for ByInstance {
    async fn run(&self) -> Result<(), NotDone> {
        assert_eq!(self.calls.under_way.fetch_add(1, Ordering::SeqCst), 0, "two calls at a time");
        self.calls.made.lock().unwrap().push((self.instance, now()));
        tokio::time::sleep(self.takes).await;
        self.calls.under_way.fetch_sub(1, Ordering::SeqCst);
        Err(NotDone::Failed("it returned an error".into()))
    }
}

fn spec(missed: Missed) -> ScheduleSpec {
    ScheduleSpec {
        name: "beat".into(),
        when: When::every(1000).unwrap(),
        to: "shop/report".parse().unwrap(),
        interface: "wasi:cli/run@0.2.0".parse().unwrap(),
        function: "run".into(),
        fallible: true,
        timeout_ms: 1000,
        missed,
        late_ms: DEFAULT_LATE_MS,
    }
}

/// An instance of the provider with one schedule.
async fn start(bus: &Bus, spec: &ScheduleSpec, calls: &Arc<Calls>, instance: usize, takes: Duration) -> Work {
    let unit: UnitId = "shop/clock".parse().unwrap();
    let (mut context, _health) = conformance::context(&unit, std::env::temp_dir().as_path(), bus);
    let to = Arc::new(ByInstance { calls: calls.clone(), instance, takes });
    context.schedules = vec![Schedule { spec: spec.clone(), to }];
    let work = context.work.clone();
    CronProvider::start(context, Config {}).await.unwrap();
    work
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_instances_one_makes_each_call_also_while_some_end() {
    let bus = Bus::memory("default".parse().unwrap());
    let (spec, calls) = (spec(Missed::Skip), Arc::<Calls>::default());
    let mut works = Vec::new();
    for instance in 0..3 {
        works.push(start(&bus, &spec, &calls, instance, Duration::from_millis(50)).await);
    }
    let begun = now();
    while calls.made.lock().unwrap().len() < 6 {
        assert!(now() - begun < 20_000, "no calls: {:?}", calls.made.lock().unwrap());
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The first two end one after another; the third goes on by itself.
        let ending = calls.made.lock().unwrap().len() / 2;
        if ending > 0 && works.len() > 1 && works.len() > 3 - ending.min(2) {
            works.remove(0).drain(Duration::from_secs(5)).await;
        }
    }
    let last = works.remove(0);
    last.drain(Duration::from_secs(5)).await;
    // Some may be late on a busy machine, so that the seconds of two calls may be the same; their number is that of the seconds.
    let (made, seconds) = (calls.made.lock().unwrap().clone(), now() / 1000 - begun / 1000);
    assert!(made.len() as u64 <= seconds + 1 && made.len() as u64 + 2 >= seconds, "{made:?} in {seconds} s");
    assert_eq!(made[made.len() - 1].0, 2, "the last one goes on by itself");
    let made = calls.made.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(calls.made.lock().unwrap().len(), made, "nothing is called after the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_calls_are_made_up_for_as_the_policy_says() {
    for (missed, at_least) in [(Missed::Skip, 0), (Missed::Once, 1), (Missed::All, 5)] {
        let bus = Bus::memory("default".parse().unwrap());
        let spec = ScheduleSpec { late_ms: 2000, when: When::every(3_600_000).unwrap(), ..spec(missed) };
        // Nobody was there for five hours and a half.
        let at = now() / 3_600_000 * 3_600_000 - 5 * 3_600_000;
        let tick = Tick { version: Tick::VERSION, at, open: false };
        bus.store().ticks().put("shop.clock.beat", &tick).await.unwrap();
        let calls = Arc::<Calls>::default();
        let work = start(&bus, &spec, &calls, 0, Duration::ZERO).await;
        let begun = now();
        let newest = now() / 3_600_000 * 3_600_000;
        let caught_up = async || {
            let tick = bus.store().ticks().get("shop.clock.beat").await.unwrap().unwrap().value;
            !tick.open && tick.at >= newest
        };
        while !caught_up().await {
            assert!(now() - begun < 10_000, "{missed:?} does not catch up");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        work.drain(Duration::from_secs(5)).await;
        let made = calls.made.lock().unwrap().len();
        // The hour may have ended just now, or begin now.
        assert!((at_least..=at_least + 1).contains(&made), "{missed:?}: {made}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_caller_is_gone_is_not_made_again_and_holds_nothing_up_for_ever() {
    let bus = Bus::memory("default".parse().unwrap());
    let spec = ScheduleSpec { timeout_ms: 100, late_ms: 100, ..spec(Missed::Skip) };
    let tick = Tick { version: Tick::VERSION, at: now() / 1000 * 1000, open: true };
    bus.store().ticks().put("shop.clock.beat", &tick).await.unwrap();
    let calls = Arc::<Calls>::default();
    let work = start(&bus, &spec, &calls, 0, Duration::ZERO).await;
    let begun = now();
    while calls.made.lock().unwrap().is_empty() {
        assert!(now() - begun < 20_000, "the schedule stands still");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(now() - begun >= 9_000, "the other one had its time");
    work.drain(Duration::from_secs(5)).await;
}

/// A component that is not there at first.
struct Absent {
    asked: Arc<AtomicUsize>,
    until: usize,
}

#[async_trait]
impl Scheduled for Absent {
    async fn run(&self) -> Result<(), NotDone> {
        if self.asked.fetch_add(1, Ordering::SeqCst) + 1 < self.until {
            return Err(NotDone::NotBegun("no instance of shop/report answers".into()));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_has_not_begun_is_made_when_the_component_is_there() {
    let bus = Bus::memory("default".parse().unwrap());
    let spec = ScheduleSpec { when: When::every(3_600_000).unwrap(), missed: Missed::Once, ..spec(Missed::Once) };
    let tick = Tick { version: Tick::VERSION, at: now() / 3_600_000 * 3_600_000 - 3_600_000, open: false };
    bus.store().ticks().put("shop.clock.beat", &tick).await.unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let (mut context, _health) =
        conformance::context(&"shop/clock".parse().unwrap(), std::env::temp_dir().as_path(), &bus);
    context.schedules = vec![Schedule { spec, to: Arc::new(Absent { asked: asked.clone(), until: 3 }) }];
    let work = context.work.clone();
    CronProvider::start(context, Config {}).await.unwrap();
    let begun = now();
    loop {
        let tick = bus.store().ticks().get("shop.clock.beat").await.unwrap().unwrap().value;
        if asked.load(Ordering::SeqCst) == 3 && !tick.open {
            break;
        }
        assert!(now() - begun < 20_000, "asked {} times", asked.load(Ordering::SeqCst));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    work.drain(Duration::from_secs(5)).await;
}
