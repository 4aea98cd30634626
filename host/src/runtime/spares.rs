//! Fresh instances that are made before they are asked for, on the engine for WASI 0.2.
//!
//! ```text
//! maker, a thread of the engine    instances that have had their calls    -> the next one of the same component
//! ```
//!
//! To end an instance and to make the next one takes longer than many a call. Where one caller at a time calls a component,
//! this is done between two calls. It is a thread, not a task: a task would be in the way of the answer that has just been
//! sent to another one, or wake a worker for itself. While the workers are busy there is no such between: the maker would
//! take its time from other calls, and waking it is a cost of its own. Then whoever needs an instance makes it and ends it.

use std::{
    sync::{
        Arc, OnceLock, Weak,
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use super::{component::LoadedComponent, plain::PlainInstance, workers::Workers};

/// Of the instances that the pool of an engine holds, one in so many may be there ahead of its call.
const SHARE: u32 = 8;

/// How long one is kept that nobody asks for; at most twice that, as it is looked after only so often.
const KEPT: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(5) };

/// Instances that wait for the maker. Whoever brings one more ends it.
const QUEUE: usize = 4;

/// An instance that has had its calls, and whose it was.
type Ended = (Arc<LoadedComponent>, PlainInstance);

/// What is made ahead for the components of one engine.
pub(super) struct Spares {
    places: Arc<Semaphore>,
    /// The thread's; begun when a component has had its first call. `None` when it cannot be.
    maker: OnceLock<Option<Maker>>,
}

/// The thread that makes them, and those on whose time it would do that.
struct Maker {
    ended: SyncSender<Ended>,
    workers: Workers,
}

/// What says of an instance that it was made ahead and has had no call.
pub(super) struct Spare {
    made: Instant,
    _place: OwnedSemaphorePermit,
}

impl Spare {
    fn is_old(&self) -> bool {
        self.made.elapsed() >= KEPT
    }
}

impl Spares {
    /// For an engine whose pool holds `slots` instances.
    pub(super) fn new(slots: u32) -> Self {
        Self { places: Arc::new(Semaphore::new((slots / SHARE) as usize)), maker: OnceLock::new() }
    }

    /// Ends an instance that has had its calls, and has the next one made if this was the only call.
    pub(super) fn replace(&self, component: &Arc<LoadedComponent>, ended: PlainInstance) {
        if component.in_flight() > 1 || !component.idle.is_empty() {
            return;
        }
        let maker = self.maker.get_or_init(|| {
            // What instances hold may want to be ended inside of the runtime that they were in.
            let runtime = Handle::try_current().ok()?;
            let workers = Workers::of(&runtime);
            let (sender, receiver) = sync_channel(QUEUE);
            let made_ahead = MadeAhead { places: self.places.clone(), components: Vec::new(), look_at: Instant::now() };
            let work = move || made_ahead.run(&runtime, &receiver);
            let thread = std::thread::Builder::new().name("spares".into()).spawn(work);
            let thread = thread.inspect_err(|error| tracing::warn!(%error, "no instances are made ahead"));
            thread.is_ok().then_some(Maker { ended: sender, workers })
        });
        if let Some(maker) = maker.as_ref().filter(|maker| !maker.workers.are_busy()) {
            let _ = maker.ended.try_send((component.clone(), ended));
        }
    }
}

/// What the maker knows.
struct MadeAhead {
    places: Arc<Semaphore>,
    /// Those that may have an instance that was made ahead.
    components: Vec<Weak<LoadedComponent>>,
    look_at: Instant,
}

impl MadeAhead {
    /// Works for as long as there is a component of the engine, or an engine.
    fn run(mut self, runtime: &Handle, ended: &Receiver<Ended>) {
        let _entered = runtime.enter();
        loop {
            let next = match self.components.is_empty() {
                true => ended.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => ended.recv_timeout(self.look_at.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok((component, instance)) => {
                    drop(instance);
                    self.make(&component);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if !self.components.is_empty() && self.look_at <= Instant::now() {
                self.look();
            }
        }
    }

    /// Makes an instance, if there is none and there is a place for it.
    fn make(&mut self, component: &Arc<LoadedComponent>) {
        if !component.idle.is_empty() {
            return;
        }
        let Ok(place) = self.places.clone().try_acquire_owned() else { return };
        // A guest that waits before it has its first call is nothing that can be made ahead.
        match component.fresh_instance(component.timeout).now_or_never() {
            Some(Ok(mut instance)) => {
                instance.spare = Some(Spare { made: Instant::now(), _place: place });
                component.idle.push(instance);
                if !component.has_spares.swap(true, Ordering::Relaxed) {
                    if self.components.is_empty() {
                        self.look_at = Instant::now() + KEPT;
                    }
                    self.components.push(Arc::downgrade(component));
                }
            }
            // Whoever calls next is told.
            Some(Err(error)) => tracing::debug!(unit = %component.unit(), %error, "cannot make an instance ahead"),
            None => {}
        }
    }

    /// Ends those that nobody has asked for.
    fn look(&mut self) {
        self.look_at = Instant::now() + KEPT;
        self.components.retain(|component| {
            let Some(component) = component.upgrade() else { return false };
            drop(component.idle.take(|instance| instance.spare.as_ref().is_some_and(Spare::is_old)));
            let some = component.idle.any(|instance| instance.spare.is_some());
            component.has_spares.store(some, Ordering::Relaxed);
            some
        });
    }
}

#[cfg(test)]
mod tests {
    use lattice::{
        bus::{Bus, CallHandler},
        model::app::ComponentSpec,
        wire::{CallHead, ContentType, Digest},
    };
    use wasmtime::component::Component;

    use super::{
        super::{LoadedFunctions, Runtime, grants::Grants},
        *,
    };
    use crate::links::ComponentLinks;

    /// Says how often it was called.
    const COUNTER: &str = r#"(component
        (core module $m
            (global $calls (mut i32) (i32.const 0))
            (func (export "count") (result i32)
                (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                (global.get $calls)))
        (core instance $i (instantiate $m))
        (func $count (result u32) (canon lift (core func $i "count")))
        (instance $e (export "count" (func $count)))
        (export "test:counter/calls" (instance $e)))"#;

    struct Counter {
        loaded: Arc<LoadedComponent>,
        functions: LoadedFunctions,
    }

    impl Counter {
        fn load(reuse: u32) -> Self {
            let runtime = Runtime::new().unwrap();
            let bytes = wat::parse_str(COUNTER).unwrap();
            let component = Component::new(runtime.engine(), &bytes).unwrap();
            let spec = ComponentSpec { reuse, ..ComponentSpec::of(Digest::of(&bytes)) };
            let unit = "app/counter".parse().unwrap();
            let loaded =
                runtime.prepare(&component, unit, &spec, ComponentLinks::default(), Grants::default()).unwrap();
            let exchange = Bus::memory("test".parse().unwrap()).exchange();
            Self { functions: LoadedFunctions::new(loaded.clone(), &component, exchange), loaded }
        }

        /// What an instance says that was called once more.
        async fn count(&self) -> u8 {
            let head = CallHead {
                interface: "test:counter/calls".parse().unwrap(),
                function: "count".into(),
                deadline: Duration::from_secs(5),
                caller: None,
                content_type: ContentType::Postcard,
                traceparent: None,
                session: None,
            };
            // Small numbers are one byte in postcard.
            self.functions.call(head, bytes::Bytes::new()).await.unwrap()[0]
        }

        fn spares(&self) -> usize {
            usize::from(self.loaded.idle.any(|instance| instance.spare.is_some()))
        }

        async fn are_there(&self, spares: usize, wait: Duration) -> bool {
            let wait = tokio::time::timeout(wait, async {
                while self.spares() != spares {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
            wait.await.is_ok()
        }

        /// Until one is made ahead: while the machine does much else none is, and the next calls may have it made. `calls` is
        /// what the calls of one instance say.
        async fn until_one_is_there(&self, calls: &[u8]) {
            let begun = Instant::now();
            while !self.are_there(1, Duration::from_millis(100)).await {
                assert!(begun.elapsed() < Duration::from_secs(20));
                for count in calls {
                    assert_eq!(self.count().await, *count);
                }
            }
        }
    }

    #[tokio::test]
    async fn one_is_there_for_the_next_call_and_has_had_none() {
        let counter = Counter::load(1);
        assert_eq!(counter.spares(), 0);
        for _ in 0..3 {
            assert_eq!(counter.count().await, 1);
            counter.until_one_is_there(&[1]).await;
        }
        // However soon the next call comes.
        for _ in 0..1000 {
            assert_eq!(counter.count().await, 1);
        }
    }

    #[tokio::test]
    async fn one_that_nobody_asks_for_is_ended() {
        let counter = Counter::load(1);
        counter.count().await;
        counter.until_one_is_there(&[1]).await;
        assert!(counter.are_there(0, Duration::from_secs(10)).await);
        assert_eq!(counter.count().await, 1);
        counter.until_one_is_there(&[1]).await;
    }

    #[tokio::test]
    async fn an_instance_that_may_be_used_again_is_followed_when_it_has_had_its_calls() {
        let counter = Counter::load(2);
        assert_eq!((counter.count().await, counter.spares()), (1, 0));
        assert_eq!(counter.count().await, 2);
        counter.until_one_is_there(&[1, 2]).await;
        assert_eq!((counter.count().await, counter.count().await), (1, 2));
    }

    #[tokio::test]
    async fn without_a_place_none_is_made() {
        let counter = Counter::load(1);
        counter.loaded.spares.places.forget_permits(usize::MAX);
        let before = Arc::strong_count(&counter.loaded);
        assert_eq!(counter.count().await, 1);
        // While the maker works at it, it holds the component.
        let done = async {
            while Arc::strong_count(&counter.loaded) > before {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), done).await.unwrap();
        assert_eq!(counter.spares(), 0);
    }
}
