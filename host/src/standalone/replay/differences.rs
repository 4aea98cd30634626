//! What is otherwise than it was recorded, in words.

use bytes::Bytes;
use lattice::{
    model::recording::{RawCall, RawOutcome},
    wire::{
        CallError, RequestHead, ResponseHead, decode_http,
        value::{FunctionShape, json},
    },
};

/// What of a value is shown, in characters.
const SHOWN: usize = 200;

/// A call: of an HTTP request its method and URI.
pub(super) fn name(call: &RawCall, is_http: bool) -> String {
    match decode_http::<RequestHead>(&call.arguments.0) {
        Ok((head, _)) if is_http => format!("{} {}", head.method, head.uri),
        _ => format!("{}.{}", call.interface.unversioned(), call.function),
    }
}

/// A value, if it is known.
pub(super) fn shown(json: Option<Vec<u8>>) -> String {
    short(&json.map_or("?".to_owned(), |json| String::from_utf8_lossy(&json).into_owned()))
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// What is otherwise of a function's result.
pub(super) fn of_results(
    shape: Option<&FunctionShape>,
    recorded: &RawOutcome,
    outcome: &Result<Bytes, CallError>,
) -> Option<String> {
    let text = |outcome: &Result<Bytes, CallError>| match (outcome, shape) {
        (Ok(bytes), Some(shape)) => shown(json::result_to_json(shape.result.as_ref(), bytes).ok()),
        (Ok(bytes), None) => format!("{} bytes", bytes.len()),
        (Err(error), _) => short(&error.to_string()),
    };
    let recorded = recorded.answer();
    (recorded != *outcome).then(|| format!("it returned {}, and had returned {}", text(outcome), text(&recorded)))
}

/// What is otherwise of an HTTP response. Its date is that of its day.
pub(super) fn of_responses(recorded: &RawOutcome, outcome: &Result<Bytes, CallError>) -> Vec<String> {
    let (recorded, outcome) = match (recorded.answer(), outcome) {
        (Ok(recorded), Ok(outcome)) => (recorded, outcome),
        (recorded, outcome) => {
            let text = |outcome: &Result<Bytes, CallError>| match outcome {
                Ok(_) => "with a response".to_owned(),
                Err(error) => format!("with the error \"{}\"", short(&error.to_string())),
            };
            let differs = recorded.as_ref().err() != outcome.as_ref().err();
            let difference = || format!("it answered {}, and had answered {}", text(outcome), text(&recorded));
            return differs.then(difference).into_iter().collect();
        }
    };
    let both = [outcome, &recorded].map(decode_http::<ResponseHead>);
    let [Ok((now, body)), Ok((then, old))] = both else { return vec!["a response cannot be read".to_owned()] };
    let mut differences = Vec::new();
    if now.status != then.status {
        differences.push(format!("it answered with status {}, and had with {}", now.status, then.status));
    }
    let headers = |head: &ResponseHead| {
        let mut headers: Vec<_> = head.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
        headers.sort();
        headers
    };
    let (now, then) = (headers(&now), headers(&then));
    let text = |(name, value): &(String, Bytes)| format!("{name}: {}", short(&String::from_utf8_lossy(value)));
    let only = |these: &[(String, Bytes)], those: &[(String, Bytes)]| {
        these.iter().filter(|header| !those.contains(header)).map(text).collect::<Vec<_>>()
    };
    differences.extend(only(&now, &then).into_iter().map(|header| format!("it answered with the header {header}")));
    differences.extend(only(&then, &now).into_iter().map(|header| format!("it had answered with the header {header}")));
    if body != old {
        let [body, old] = [&body, &old].map(|bytes| short(&String::from_utf8_lossy(bytes)));
        differences.push(format!("it answered {body:?}, and had answered {old:?}"));
    }
    differences
}
