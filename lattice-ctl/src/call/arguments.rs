//! The arguments: a JSON array, sent as it was written.

use std::io::{self, Read};

use bytes::Bytes;
use serde_json::Value;

use super::CallFailure;

/// The most that is read from stdin, in bytes.
const MAX_ARGUMENTS: u64 = 64 * 1024 * 1024;
/// A value up to this long is shown again in the way out.
const MAX_SHOWN: usize = 60;

const HELP: &str =
    "write a JSON array with one value for each parameter, in quotes for the shell, such as '[\"key\", 1]'";

/// The arguments in `text`, or on stdin when it is `-`.
pub(super) fn read(text: &str) -> Result<Bytes, CallFailure> {
    if text != "-" {
        return check(text.as_bytes().to_vec());
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_ARGUMENTS + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(format!("cannot read the arguments from stdin: {error}"), HELP))?;
    if bytes.len() as u64 > MAX_ARGUMENTS {
        return Err(wrong(format!("the arguments are longer than {MAX_ARGUMENTS} bytes"), "pass large data in parts"));
    }
    check(bytes)
}

fn wrong(message: impl Into<String>, help: impl Into<String>) -> CallFailure {
    CallFailure::Arguments { message: message.into(), help: help.into() }
}

fn check(bytes: Vec<u8>) -> Result<Bytes, CallFailure> {
    if bytes.trim_ascii().is_empty() {
        return Err(wrong("the arguments are empty", "write '[]' for a function without parameters"));
    }
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("the arguments are not JSON: {error}"), HELP))?;
    let what = match value {
        Value::Array(_) => return Ok(bytes.into()),
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Object(_) => "an object",
    };
    let text = String::from_utf8_lossy(bytes.trim_ascii()).into_owned();
    let help = if text.len() <= MAX_SHOWN && !text.contains(['\'', '\n']) {
        format!("for one parameter write an array of one value: '[{text}]'")
    } else {
        HELP.to_owned()
    };
    Err(wrong(format!("the arguments are {what}, not an array"), help))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, String) {
        match read(text).unwrap_err() {
            CallFailure::Arguments { message, help } => (message, help),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn arguments_are_sent_as_they_were_written() {
        for text in ["[]", " [ 1.50, \"a\" ] ", "[18446744073709551615]"] {
            assert_eq!(read(text).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_no_array_says_how_to_write_it() {
        assert_eq!(
            refused("\"key\""),
            (
                "the arguments are a text, not an array".to_owned(),
                "for one parameter write an array of one value: '[\"key\"]'".to_owned()
            )
        );
        assert_eq!(refused("{}").0, "the arguments are an object, not an array");
        assert_eq!(refused(" ").0, "the arguments are empty");
        let (message, help) = refused("[key]");
        assert_eq!(message, "the arguments are not JSON: expected value at line 1 column 2");
        assert!(help.starts_with("write a JSON array"), "{help}");
        let deep = "[".repeat(1_000_000);
        assert!(refused(&deep).0.starts_with("the arguments are not JSON: recursion limit"), "no stack is enough");
    }
}
