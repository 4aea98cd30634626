//! Values of types that the input chooses.

use super::{Input, Target};
use crate::wire::value::{
    FunctionShape, Shape,
    elements::Splitter,
    json,
    samples::{self, Dice},
};

/// Levels of a type.
const DEPTH: usize = 4;

pub(super) const BYTES: Target = Target { name: "value_bytes", run: bytes, samples: &[] };
pub(super) const JSON: Target = Target {
    name: "value_json",
    run: text,
    samples: &[b"\0\0\0\0\0\0\0\0[1,\"nan:0x7fc00001\",{\"ok\":null},{\"some\":null}]", b"\0\0\0\0\0\0\0\x01\"AQID\""],
};
pub(super) const ROUND_TRIP: Target = Target { name: "value_round_trip", run: round_trip, samples: &[] };

pub(super) const ELEMENTS: Target = Target { name: "value_elements", run: elements, samples: &[b"\x02ab\0\x01c"] };

/// However a stream is cut, the same elements are in it, and it ends in the same way.
fn elements(data: &[u8]) {
    let split = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut splitter, mut found) = (Splitter::default(), Vec::new());
        for piece in pieces {
            splitter.push(piece);
            loop {
                match splitter.split() {
                    Ok(Some(element)) => found.push(element),
                    Ok(None) => break,
                    Err(error) => return (found, Err(error)),
                }
            }
        }
        (found, splitter.finish())
    };
    assert_eq!(split(&mut std::iter::once(data)), split(&mut data.chunks(3)));
}

fn shape(input: &mut Input<'_>) -> Shape {
    let mut dice = Dice::new(input.number());
    if dice.below(4) == 0 { samples::streams(DEPTH, &mut dice) } else { samples::shape(DEPTH, &mut dice) }
}

/// Whether `bytes` are a value of `shape`.
fn is_value(shape: &Shape, bytes: &[u8]) -> bool {
    let function = FunctionShape { params: [].into(), result: Some(shape.clone()) };
    function.scan_result(bytes).is_ok()
}

/// Any bytes are a value or an error, and all readers agree on it.
fn bytes(data: &[u8]) {
    let mut input = Input(data);
    let shape = shape(&mut input);
    let text = json::result_to_json(Some(&shape), input.0);
    // What a stream carries is read only by who takes it.
    if !shape.has_streams() {
        assert_eq!(text.is_ok(), is_value(&shape, input.0), "{shape:?}");
    }
    let Ok(text) = text else { return };
    // Numbers may have been written longer than needed, so that it is compared what is read.
    let back = json::result_from_json(Some(&shape), &text);
    let Ok(back) = back else { panic!("{back:?}: {}", String::from_utf8_lossy(&text)) };
    assert_eq!(json::result_to_json(Some(&shape), &back), Ok(text), "{shape:?}");
}

/// Any text is a value in JSON or an error.
fn text(data: &[u8]) {
    let mut input = Input(data);
    let shape = shape(&mut input);
    let function = FunctionShape { params: [("x".into(), shape.clone())].into(), result: None };
    if let Ok(bytes) = json::arguments_from_json(&function, input.0) {
        assert!(is_value(&shape, &bytes), "{shape:?}");
    }
    let Ok(bytes) = json::result_from_json(Some(&shape), input.0) else { return };
    let text = json::result_to_json(Some(&shape), &bytes);
    let Ok(text) = text else { panic!("{text:?}: {shape:?}") };
    assert_eq!(json::result_from_json(Some(&shape), &text), Ok(bytes), "{shape:?}");
}

/// A value comes back from JSON as it was.
fn round_trip(data: &[u8]) {
    let mut input = Input(data);
    let shape = shape(&mut input);
    let bytes = samples::value(&shape, &mut Dice::new(input.number()));
    assert!(is_value(&shape, &bytes), "{shape:?}");
    let text = json::result_to_json(Some(&shape), &bytes);
    let Ok(text) = text else { panic!("{text:?}: {shape:?}") };
    assert_eq!(json::result_from_json(Some(&shape), &text), Ok(bytes), "{shape:?}");
}
