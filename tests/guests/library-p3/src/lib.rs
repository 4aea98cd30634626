//! The library's `echo` out of a component of WASI 0.3, and functions that wait without being in the way of others.

use std::{
    cell::Cell,
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
};

use exports::test::waits::{
    visits::{self, GuestGuard, GuestLock},
    waits::Guest,
};
use wasi::clocks::monotonic_clock;

#[path = "../../library/src/echo.rs"]
mod echo;

wit_bindgen::generate!({
    inline: r#"
        package test:library-p3;
        world library {
            import wasi:clocks/monotonic-clock@0.3.0;
            export test:library/echo@1.2.0;
            export test:waits/waits@1.0.0;
            export test:waits/visits@1.0.0;
        }
    "#,
    path: ["../../../wit/p3", "../library/wit", "wit"],
    world: "test:library-p3/library",
    generate_all,
});

struct Library;

impl Guest for Library {
    async fn wait(milliseconds: u64, value: String) -> String {
        monotonic_clock::wait_for(milliseconds * 1_000_000).await;
        value
    }

    async fn outcome(milliseconds: u64, value: Option<String>) -> Result<String, String> {
        monotonic_clock::wait_for(milliseconds * 1_000_000).await;
        value.ok_or_else(|| "there is none".to_owned())
    }

    async fn bytes(milliseconds: u64, value: Vec<u8>) -> Vec<u8> {
        monotonic_clock::wait_for(milliseconds * 1_000_000).await;
        value
    }
}

static BEGUN: AtomicU32 = AtomicU32::new(0);
static INSIDE: AtomicU32 = AtomicU32::new(0);

impl visits::Guest for Library {
    type Lock = Lock;
    type Guard = Guard;

    async fn visit(milliseconds: u64) -> (u32, u32) {
        let begun = BEGUN.fetch_add(1, Ordering::Relaxed) + 1;
        INSIDE.fetch_add(1, Ordering::Relaxed);
        monotonic_clock::wait_for(milliseconds * 1_000_000).await;
        (begun, INSIDE.load(Ordering::Relaxed))
    }
}

/// Its guard's number, while there is one, and the next one's.
#[derive(Default)]
struct Lock {
    held: Rc<Cell<bool>>,
    turns: Cell<u32>,
}

impl GuestLock for Lock {
    fn new() -> Self {
        Self::default()
    }

    async fn acquire(&self) -> visits::Guard {
        while self.held.get() {
            monotonic_clock::wait_for(1_000_000).await;
        }
        self.held.set(true);
        self.turns.set(self.turns.get() + 1);
        visits::Guard::new(Guard { held: self.held.clone(), turn: self.turns.get() })
    }
}

struct Guard {
    held: Rc<Cell<bool>>,
    turn: u32,
}

impl GuestGuard for Guard {
    fn turn(&self) -> u32 {
        self.turn
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.held.set(false);
    }
}

export!(Library);
