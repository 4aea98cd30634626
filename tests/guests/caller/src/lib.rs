//! Calls the library of another component, and answers over HTTP what came of it.
//!
//! - `/all` sends values of every type there and back; `/bytes?n=N` that many bytes
//! - `/things` makes, uses and drops resources; `/hold?ms=N` uses one, waits, and uses it again
//! - over the interface `work`: calls in a row
//! - `/trap`, `/trap-with-result`, `/trap-with-case`, `/sleep?ms=N`, `/sleep-with-result?ms=N`, `/eat`, `/spin`

use std::{thread, time::Duration};

use guest_http::{
    Guest, number, respond, target,
    wasi::http::types::{IncomingRequest, ResponseOutparam},
};

mod all;

wit_bindgen::generate!({ path: "../library/wit", world: "caller", additional_derives: [PartialEq, Clone] });

use test::library::{
    echo, faults,
    things::{self, Counter},
};

struct Caller;

impl Guest for Caller {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        let milliseconds = number(&query, "ms").unwrap_or(0);
        let answer = match path.as_str() {
            "/all" => all::all(),
            "/bytes" => bytes(number(&query, "n").unwrap_or(0) as usize),
            "/things" => resources(),
            "/hold" => hold(milliseconds),
            "/trap" => {
                faults::trap();
                "went on".to_owned()
            }
            "/trap-with-result" => format!("{:?}", faults::trap_with_result()),
            "/trap-with-case" => format!("{:?}", faults::trap_with_case()),
            "/sleep" => format!("slept {}", faults::sleep(milliseconds)),
            "/sleep-with-result" => format!("{:?}", faults::sleep_with_result(milliseconds)),
            "/eat" => {
                faults::eat();
                "went on".to_owned()
            }
            "/spin" => format!("{:?}", faults::spin()),
            _ => "ok".to_owned(),
        };
        respond(out, 200, format!("{answer}\n"));
    }
}

fn bytes(count: usize) -> String {
    let sent: Vec<u8> = (0..count).map(|n| (n * 31 % 251) as u8).collect();
    if echo::bytes(&sent) == sent { format!("{count} bytes, the same") } else { "changed".to_owned() }
}

fn resources() -> String {
    let (a, b) = (Counter::new(10), Counter::new(5));
    let added = (a.add(1), a.add(2), b.get());
    let sum = Counter::sum(&a, &b);
    let alive = things::alive();
    drop(b);
    let after = things::alive();
    let finished = Counter::finish(a);
    let made: u32 = things::make(4).iter().map(Counter::get).sum();
    format!(
        "{added:?} sum {} alive {alive} then {after} finished {finished} made {made} left {}",
        sum.get(),
        things::alive()
    )
}

fn hold(milliseconds: u64) -> String {
    let counter = Counter::new(1);
    counter.add(1);
    println!("holding");
    thread::sleep(Duration::from_millis(milliseconds));
    format!("held {}", counter.add(1))
}

impl exports::test::library::work::Guest for Caller {
    fn small(times: u32) {
        for _ in 0..times {
            assert!(echo::truth(true));
        }
    }
    fn bytes(times: u32, size: u32) -> u64 {
        let sent = vec![7; size as usize];
        (0..times).map(|_| echo::bytes(&sent).len() as u64).sum()
    }
}

guest_http::export!(Caller);
export!(Caller);
