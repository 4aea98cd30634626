//! From JSON to bytes.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

use super::super::{
    Shape, ValueError,
    binary::{put_bytes, put_char, put_content, put_signed, put_varint},
    elements::is_bytes,
};

/// The error for a value that is not what its type asks for.
pub(super) fn wrong(at: &str, expected: impl Into<String>, found: &Value) -> ValueError {
    let mut found = found.to_string();
    if found.len() > 60 {
        let cut = (0..=60).rev().find(|at| found.is_char_boundary(*at)).unwrap_or(0);
        found.truncate(cut);
        found.push('…');
    }
    ValueError::Json { at: at.to_owned(), expected: expected.into(), found }
}

pub(super) fn value(shape: &Shape, from: &Value, out: &mut Vec<u8>) -> Result<(), ValueError> {
    match shape {
        Shape::Bool => out.push(from.as_bool().ok_or_else(|| wrong("", "true or false", from))?.into()),
        Shape::U8 => out.push(unsigned(from, u8::MAX.into(), "u8")? as u8),
        Shape::U16 => put_varint(out, unsigned(from, u16::MAX.into(), "u16")?),
        Shape::U32 | Shape::Own | Shape::Borrow => put_varint(out, unsigned(from, u32::MAX.into(), "u32")?),
        Shape::U64 => put_varint(out, unsigned(from, u64::MAX, "u64")?),
        Shape::S8 => out.push(signed(from, i8::MIN.into(), i8::MAX.into(), "s8")? as u8),
        Shape::S16 => put_signed(out, signed(from, i16::MIN.into(), i16::MAX.into(), "s16")?),
        Shape::S32 => put_signed(out, signed(from, i32::MIN.into(), i32::MAX.into(), "s32")?),
        Shape::S64 => put_signed(out, signed(from, i64::MIN, i64::MAX, "s64")?),
        Shape::F32 => out.extend_from_slice(&f32_bits(from)?.to_le_bytes()),
        Shape::F64 => out.extend_from_slice(&f64_bits(from)?.to_le_bytes()),
        Shape::Char => {
            let mut chars = text(from, "a text of one character")?.chars();
            match (chars.next(), chars.next()) {
                (Some(char), None) => put_char(out, char),
                _ => return Err(wrong("", "a text of one character", from)),
            }
        }
        Shape::String => put_bytes(out, text(from, "a text")?.as_bytes()),
        Shape::List(of) if **of == Shape::U8 && from.is_string() => {
            let bytes = BASE64.decode(text(from, "base64")?).map_err(|_| wrong("", "base64", from))?;
            put_bytes(out, &bytes);
        }
        Shape::List(of) => {
            let values = array(from)?;
            put_varint(out, values.len() as u64);
            elements(of, values, out)?;
        }
        Shape::FixedList(of, length) => {
            let values = array(from)?;
            if values.len() != *length as usize {
                return Err(wrong("", format!("an array of {length} values"), from));
            }
            elements(of, values, out)?;
        }
        Shape::Map(of) => map(&of.0, &of.1, from, out)?,
        Shape::Record(fields) => record(fields, from, out)?,
        Shape::Tuple(parts) => {
            let values = array(from)?;
            if values.len() != parts.len() {
                return Err(wrong("", format!("an array of {} values", parts.len()), from));
            }
            for (index, (part, from)) in parts.iter().zip(values).enumerate() {
                value(part, from, out).map_err(|error| error.inside(&index.to_string()))?;
            }
        }
        Shape::Variant(cases) => {
            let names = || cases.iter().map(|(name, _)| &**name);
            let (name, payload) = tagged(from).ok_or_else(|| wrong("", one_of(names()), from))?;
            let index = names().position(|n| n == name).ok_or_else(|| wrong("", one_of(names()), from))?;
            put_varint(out, index as u64);
            content(name, cases[index].1.as_ref(), payload, from, out)?;
        }
        Shape::Enum(names) => {
            let known = || names.iter().map(|name| &**name);
            let name = text(from, "the name of a case")?;
            let index = known().position(|n| n == name).ok_or_else(|| wrong("", one_of(known()), from))?;
            put_varint(out, index as u64);
        }
        Shape::Option(of) => option(of, from, out)?,
        Shape::Result(ok, err) => {
            let expected = "{\"ok\": ...} or {\"err\": ...}";
            let (name, payload) = tagged(from).ok_or_else(|| wrong("", expected, from))?;
            let (index, shape) = match name {
                "ok" => (0, ok),
                "err" => (1, err),
                _ => return Err(wrong("", expected, from)),
            };
            put_varint(out, index);
            content(name, shape.as_deref(), payload, from, out)?;
        }
        Shape::Flags(names) => flags(names, from, out)?,
        Shape::Stream(of) => put_content(out, &stream(of.as_deref(), from)?),
        Shape::Future(of) => {
            let mut content = Vec::new();
            match of {
                Some(of) => value(of, from, &mut content)?,
                None if from.is_null() => {}
                None => return Err(wrong("", "null", from)),
            }
            put_content(out, &content);
        }
    }
    Ok(())
}

/// What a stream of these elements carries.
fn stream(of: Option<&Shape>, from: &Value) -> Result<Vec<u8>, ValueError> {
    if is_bytes(of)
        && let Value::String(text) = from
    {
        return BASE64.decode(text).map_err(|_| wrong("", "base64", from));
    }
    let (mut content, mut element) = (Vec::new(), Vec::new());
    for (index, from) in array(from)?.iter().enumerate() {
        element.clear();
        let read = match of {
            Some(of) => value(of, from, &mut element),
            None if from.is_null() => Ok(()),
            None => Err(wrong("", "null", from)),
        };
        read.map_err(|error| error.inside(&index.to_string()))?;
        if is_bytes(of) { content.extend_from_slice(&element) } else { put_bytes(&mut content, &element) }
    }
    Ok(content)
}

fn elements(of: &Shape, values: &[Value], out: &mut Vec<u8>) -> Result<(), ValueError> {
    for (index, from) in values.iter().enumerate() {
        value(of, from, out).map_err(|error| error.inside(&index.to_string()))?;
    }
    Ok(())
}

fn map(key: &Shape, of: &Shape, from: &Value, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if let (Shape::String, Value::Object(object)) = (key, from) {
        put_varint(out, object.len() as u64);
        for (name, from) in object {
            put_bytes(out, name.as_bytes());
            value(of, from, out).map_err(|error| error.inside(name))?;
        }
        return Ok(());
    }
    let pairs = array(from)?;
    put_varint(out, pairs.len() as u64);
    for (index, pair) in pairs.iter().enumerate() {
        let Value::Array(pair) = pair else { return Err(wrong(&index.to_string(), "a pair", pair)) };
        let [first, second] = pair.as_slice() else {
            return Err(wrong(&index.to_string(), "a pair", &Value::Array(pair.clone())));
        };
        value(key, first, out).and_then(|()| value(of, second, out)).map_err(|e| e.inside(&index.to_string()))?;
    }
    Ok(())
}

fn record(fields: &[(Box<str>, Shape)], from: &Value, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let names = || fields.iter().map(|(name, _)| &**name);
    let object = from.as_object().ok_or_else(|| wrong("", format!("an object with {}", list(names())), from))?;
    if let Some(unknown) = object.keys().find(|key| !names().any(|name| name == *key)) {
        let expected = format!("an object with {}", list(names()));
        return Err(ValueError::Json { at: String::new(), expected, found: format!("the key `{unknown}`") });
    }
    for (name, shape) in fields {
        // A field that may be `null` may be left out.
        let null = Value::Null;
        let from = match object.get(&**name) {
            Some(from) => from,
            None if shape.nullable() => &null,
            None => {
                let expected = format!("an object with {}", list(names()));
                return Err(ValueError::Json { at: String::new(), expected, found: format!("none with `{name}`") });
            }
        };
        value(shape, from, out).map_err(|error| error.inside(name))?;
    }
    Ok(())
}

/// `"case"` or `{"case": value}`.
fn tagged(from: &Value) -> Option<(&str, Option<&Value>)> {
    match from {
        Value::String(name) => Some((name, None)),
        Value::Object(object) if object.len() == 1 => object.iter().next().map(|(name, v)| (name.as_str(), Some(v))),
        _ => None,
    }
}

fn content(
    name: &str,
    shape: Option<&Shape>,
    payload: Option<&Value>,
    whole: &Value,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    match (shape, payload) {
        (Some(shape), Some(payload)) => value(shape, payload, out).map_err(|error| error.inside(name)),
        (Some(_), None) => Err(wrong("", format!("{{\"{name}\": value}}"), whole)),
        (None, None | Some(Value::Null)) => Ok(()),
        (None, Some(_)) => Err(wrong("", format!("\"{name}\", which has no value"), whole)),
    }
}

fn option(of: &Shape, from: &Value, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if from.is_null() {
        out.push(0);
        return Ok(());
    }
    out.push(1);
    if !of.nullable() {
        return value(of, from, out);
    }
    match tagged(from) {
        Some(("some", Some(inner))) => value(of, inner, out).map_err(|error| error.inside("some")),
        _ => Err(wrong("", "null or {\"some\": ...}", from)),
    }
}

fn flags(names: &[Box<str>], from: &Value, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let start = out.len();
    out.resize(start + names.len().div_ceil(8), 0);
    for flag in array(from)? {
        let index = flag.as_str().and_then(|flag| names.iter().position(|name| **name == *flag));
        let index = index.ok_or_else(|| wrong("", one_of(names.iter().map(|name| &**name)), flag))?;
        out[start + index / 8] |= 1 << (index % 8);
    }
    Ok(())
}

fn text<'v>(from: &'v Value, expected: &str) -> Result<&'v str, ValueError> {
    from.as_str().ok_or_else(|| wrong("", expected, from))
}

fn array(from: &Value) -> Result<&[Value], ValueError> {
    from.as_array().map(Vec::as_slice).ok_or_else(|| wrong("", "an array", from))
}

fn list<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn one_of<'n>(names: impl Iterator<Item = &'n str>) -> String {
    format!("one of {}", list(names))
}

/// A number, or a text of digits: not every language keeps 64 bits in a number.
fn unsigned(from: &Value, max: u64, expected: &str) -> Result<u64, ValueError> {
    let number = from.as_u64().or_else(|| from.as_str()?.parse().ok());
    number.filter(|number| *number <= max).ok_or_else(|| wrong("", expected, from))
}

fn signed(from: &Value, min: i64, max: i64, expected: &str) -> Result<i64, ValueError> {
    let number = from.as_i64().or_else(|| from.as_str()?.parse().ok());
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| wrong("", expected, from))
}

/// The bits after `nan:0x`.
fn nan_bits(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("nan:0x")?, 16).ok()
}

fn f64_bits(from: &Value) -> Result<u64, ValueError> {
    let value = match from {
        Value::Number(number) => number.as_f64().map(f64::to_bits),
        Value::String(text) => match text.as_str() {
            "nan" => Some(f64::NAN.to_bits()),
            "inf" => Some(f64::INFINITY.to_bits()),
            "-inf" => Some(f64::NEG_INFINITY.to_bits()),
            text => nan_bits(text).filter(|bits| f64::from_bits(*bits).is_nan()),
        },
        _ => None,
    };
    value.ok_or_else(|| wrong("", "a number, or \"nan\", \"inf\", \"-inf\"", from))
}

fn f32_bits(from: &Value) -> Result<u32, ValueError> {
    let narrow = from.as_str().and_then(nan_bits).and_then(|bits| u32::try_from(bits).ok());
    match narrow.filter(|bits| f32::from_bits(*bits).is_nan()) {
        Some(bits) => Ok(bits),
        None if from.as_str() == Some("nan") => Ok(f32::NAN.to_bits()),
        None => f64_bits(from).map(|bits| (f64::from_bits(bits) as f32).to_bits()),
    }
}
