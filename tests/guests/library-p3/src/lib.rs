//! The library's `echo` out of a component of WASI 0.3, and functions that wait without being in the way of others.

use exports::test::waits::waits::Guest;
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

export!(Library);
