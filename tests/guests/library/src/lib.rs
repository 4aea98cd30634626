//! Exports interfaces of its own for other components: values of every type, resources, and faults.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

mod echo;

wit_bindgen::generate!({ path: "wit", world: "library" });

use exports::test::library::{
    faults,
    things::{self, CounterBorrow},
};

struct Library;

static ALIVE: AtomicU32 = AtomicU32::new(0);
static CALLS: AtomicU32 = AtomicU32::new(0);

struct Counter(Cell<u32>);

impl Counter {
    fn counted(start: u32) -> Self {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Self(Cell::new(start))
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

impl things::Guest for Library {
    type Counter = Counter;
    fn alive() -> u32 {
        ALIVE.load(Ordering::Relaxed)
    }
    fn calls() -> u32 {
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    }
    fn make(count: u32) -> Vec<things::Counter> {
        (0..count).map(|start| things::Counter::new(Counter::counted(start))).collect()
    }
}

impl things::GuestCounter for Counter {
    fn new(start: u32) -> Self {
        Self::counted(start)
    }
    fn add(&self, by: u32) -> u32 {
        self.0.set(self.0.get() + by);
        self.0.get()
    }
    fn get(&self) -> u32 {
        self.0.get()
    }
    fn sum(a: CounterBorrow<'_>, b: CounterBorrow<'_>) -> things::Counter {
        things::Counter::new(Self::counted(a.get::<Self>().0.get() + b.get::<Self>().0.get()))
    }
    fn finish(counter: things::Counter) -> u32 {
        counter.into_inner::<Self>().0.get()
    }
}

impl faults::Guest for Library {
    fn trap() {
        panic!("this library traps");
    }
    fn trap_with_result() -> Result<u32, String> {
        panic!("this library traps")
    }
    fn trap_with_case() -> Result<u32, faults::Error> {
        panic!("this library traps")
    }
    fn sleep(milliseconds: u64) -> u64 {
        println!("asleep");
        thread::sleep(Duration::from_millis(milliseconds));
        println!("awake");
        milliseconds
    }
    fn sleep_with_result(milliseconds: u64) -> Result<u64, String> {
        Ok(<Self as faults::Guest>::sleep(milliseconds))
    }
    fn eat() {
        let mut all = Vec::new();
        loop {
            all.push(vec![1u8; 1 << 20]);
        }
    }
    #[allow(clippy::empty_loop)]
    fn spin() -> Result<u32, String> {
        loop {}
    }
}

export!(Library);
