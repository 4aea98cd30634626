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

wit_bindgen::generate!({ path: "../library/wit", world: "caller", additional_derives: [PartialEq, Clone] });

use test::library::{
    echo::{self, Color, Many, Point, Shape, Small, Wide},
    faults,
    things::{self, Counter},
};

struct Caller;

impl Guest for Caller {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let (path, query) = target(&request);
        let milliseconds = number(&query, "ms").unwrap_or(0);
        let answer = match path.as_str() {
            "/all" => all(),
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

/// The names of those that came back otherwise.
fn all() -> String {
    let mut wrong = Vec::new();
    let mut check = |name: &str, same: bool| {
        if !same {
            wrong.push(name.to_owned());
        }
    };
    let integers = (u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN);
    let (a, b, c, d, e, f, g, h) = integers;
    check("integers", echo::integers(a, b, c, d, e, f, g, h) == integers);
    for (narrow, wide) in [
        (-0.0, -0.0),
        (f32::from_bits(0x7fc0_1234), f64::from_bits(0x7ff8_0000_dead_beef)),
        (f32::INFINITY, f64::NEG_INFINITY),
        (f32::MIN_POSITIVE, f64::MAX),
    ] {
        let back = echo::floats(narrow, wide);
        check("floats", back.0.to_bits() == narrow.to_bits() && back.1.to_bits() == wide.to_bits());
    }
    check("truth", echo::truth(true) && !echo::truth(false));
    check("letter", ['a', 'é', '😀', '\0', char::MAX].into_iter().all(|letter| echo::letter(letter) == letter));
    check("text", ["", "plain", "grün 😀\0"].into_iter().all(|text| echo::text(text) == text));
    check("bytes", echo::bytes(&[0, 255, 7]) == [0, 255, 7] && echo::bytes(&[]).is_empty());
    let texts = vec![String::new(), "x".repeat(1000)];
    check("texts", echo::texts(&texts) == texts);
    let numbers: Vec<u64> = (0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    check("numbers", echo::numbers(&numbers) == numbers);
    let nested = vec![vec![], vec![Some(1), None], vec![None]];
    check("nested", echo::nested(&nested) == nested);
    let point = Point { x: -3, y: 0.1 };
    check("point", echo::one_point(point) == point);
    let wide = Wide {
        a: 1 << 63,
        b: "b".into(),
        c: vec![1, 2, 3],
        d: 1.5,
        e: 'ß',
        f: Some("there".into()),
        g: true,
        h: (1, -1, 2, -2),
        i: -1,
    };
    check("wide", echo::one_wide(&wide, &wide) == wide);
    let shapes = vec![
        Shape::Empty,
        Shape::Circle(2.5),
        Shape::Named("n".into()),
        Shape::Polygon(vec![point; 3]),
        Shape::Either(Ok(7)),
        Shape::Either(Err("e".into())),
    ];
    check("shapes", echo::shapes(&shapes) == shapes);
    check("shape", shapes.iter().all(|shape| echo::one_shape(shape) == *shape));
    check("color", [Color::Red, Color::Green, Color::Blue].into_iter().all(|color| echo::one_color(color) == color));
    check("small", echo::few_flags(Small::A | Small::C) == Small::A | Small::C);
    check("many", echo::all_flags(Many::F0 | Many::F15 | Many::F31) == Many::F0 | Many::F15 | Many::F31);
    check("maybe", [None, Some(None), Some(Some(9))].into_iter().all(|maybe| echo::maybe(maybe) == maybe));
    let outcomes = [Ok(1), Err("no".to_owned())];
    check(
        "outcome",
        outcomes.iter().all(|outcome| echo::outcome(outcome.as_ref().map(|n| *n).map_err(|e| e.as_str())) == *outcome),
    );
    echo::nothing();
    if wrong.is_empty() { "all the same".to_owned() } else { format!("changed: {wrong:?}") }
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
