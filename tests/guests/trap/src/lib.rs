//! Misbehaves on request, each way that a host must survive.

use guest_http::{
    Guest, respond, target,
    wasi::http::types::{IncomingRequest, ResponseOutparam},
};

struct Trap;

impl Guest for Trap {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        match target(&request).0.as_str() {
            "/trap" => panic!("asked to panic"),
            "/loop" => spin(),
            "/eat" => eat(),
            "/stack" => respond(out, 200, dive(1).to_string()),
            "/silent" => drop(out),
            _ => respond(out, 200, "ok\n"),
        }
    }
}

fn spin() -> ! {
    let mut turns = 0u64;
    loop {
        turns = std::hint::black_box(turns).wrapping_add(1);
    }
}

/// Takes memory until there is none: what happens then is the allocator's business, and it aborts.
fn eat() -> ! {
    let mut eaten = Vec::new();
    loop {
        eaten.push(std::hint::black_box(vec![1u8; 1 << 20]));
    }
}

/// Too deep for any stack; the work after the call and the frame's size keep it from becoming a loop.
fn dive(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if std::hint::black_box(depth) == 0 {
        return 0;
    }
    dive(depth + 1) + frame[depth as usize % frame.len()]
}

guest_http::export!(Trap);
