//! Any key of any bucket as a key of JetStream: `<bucket>.<key>`, each a token of `[-/_a-zA-Z0-9]`. Other bytes are
//! written `=XX`, and an empty text is a lone `=`, so what people name is what `nats kv ls` shows.

use std::fmt::Write;

use async_nats::HeaderMap;

fn escape(text: &str, out: &mut String) {
    if text.is_empty() {
        out.push('=');
    }
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'/' | b'_' => out.push(byte.into()),
            // Writing to a string cannot fail.
            other => drop(write!(out, "={other:02X}")),
        }
    }
}

fn unescape(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = if *first == b'=' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            after
        } else {
            bytes.push(*first);
            after
        };
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

/// The name of a key in JetStream.
pub(crate) fn name(bucket: &str, key: &str) -> String {
    let mut name = in_bucket(bucket);
    escape(key, &mut name);
    name
}

/// What the names of a bucket's keys begin with.
pub(crate) fn in_bucket(bucket: &str) -> String {
    let mut name = String::new();
    escape(bucket, &mut name);
    name.push('.');
    name
}

/// Whether a message with these headers says that a key is gone.
pub(crate) fn is_gone(headers: Option<&HeaderMap>) -> bool {
    let operation = headers.and_then(|headers| headers.get("KV-Operation"));
    operation.is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
}

/// The key, from what follows [`in_bucket`]; `None` when others have made that name.
pub(crate) fn key(token: &str) -> Option<String> {
    unescape(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_comes_back_from_an_allowed_name() {
        let long = "é".repeat(512);
        for text in ["", "=", ".", "a.b *>/=:\n%", "plain/key_1-2", "\0", "ключ", "=2E", &long] {
            let name = name(text, text);
            assert!(name.bytes().all(|b| b"-/_=.".contains(&b) || b.is_ascii_alphanumeric()), "{name}");
            let (bucket, token) = name.split_once('.').unwrap_or_default();
            assert_eq!(unescape(bucket).as_deref(), Some(text));
            assert_eq!(key(token).as_deref(), Some(text));
        }
    }

    #[test]
    fn names_of_others_are_no_keys() {
        for other in ["", "=2", "=G0", "=FF", "a="] {
            assert_eq!(key(other), None, "{other}");
        }
    }
}
