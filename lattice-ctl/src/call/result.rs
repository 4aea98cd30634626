//! What a call has returned, as JSON.

use bytes::Bytes;
use serde_json::Value;

use super::CallFailure;
use crate::{
    cli::{CallArgs, Format},
    failure::Result,
    output::Output,
};

/// Prints a reply; an error that the function returned is printed as well, and then is a failure.
pub(super) fn print(reply: &Bytes, args: &CallArgs, output: &mut Output) -> Result<()> {
    let value = read(reply, args)?;
    match output.format {
        Format::Yaml => output.value(&value)?,
        Format::Table if output.out_is_terminal => output.line(&harmless(&format!("{value:#}")))?,
        Format::Table | Format::Json => output.line(&harmless(&value.to_string()))?,
    }
    if is_error(&value) {
        let (unit, function) = (args.unit.clone(), args.function.function.clone());
        return Err(CallFailure::Returned { unit, function }.into());
    }
    Ok(())
}

fn read(reply: &Bytes, args: &CallArgs) -> std::result::Result<Value, CallFailure> {
    if reply.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(reply)
        .map_err(|error| CallFailure::Reply { unit: args.unit.clone(), reason: error.to_string() })
}

/// Whether a value is the error of a WIT `result`.
fn is_error(value: &Value) -> bool {
    let Value::Object(fields) = value else { return false };
    fields.len() == 1 && fields.contains_key("err")
}

/// JSON without the characters that a terminal would obey. Those below a space are escaped already; the rest can stand
/// only inside texts, where an escape means the same.
fn harmless(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_are_told_from_values() {
        assert!(is_error(&json!({"err": "no-such-store"})) && is_error(&json!({"err": {"other": "x"}})));
        for value in [json!({"ok": null}), json!({"Err": 1}), json!(null), json!(["err"]), json!({"err": 1, "more": 2})]
        {
            assert!(!is_error(&value), "{value}");
        }
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        let value = json!("a\u{1b}[31m\u{9b}31m\u{7f}\u{e4}");
        let text = harmless(&value.to_string());
        assert_eq!(text, "\"a\\u001b[31m\\u009b31m\\u007f\u{e4}\"");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
