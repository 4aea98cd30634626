//! From bytes to JSON.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};

use super::super::{
    Shape, ValueError,
    binary::{Content, Reader},
    elements::is_bytes,
};

pub(super) fn value(shape: &Shape, from: &mut Reader<'_>) -> Result<Value, ValueError> {
    Ok(match shape {
        Shape::Bool => from.bool()?.into(),
        Shape::S8 => (from.byte()? as i8).into(),
        Shape::U8 => from.byte()?.into(),
        Shape::S16 => from.integer::<i16>()?.into(),
        Shape::U16 => from.unsigned::<u16>()?.into(),
        Shape::S32 => from.integer::<i32>()?.into(),
        Shape::U32 | Shape::Own | Shape::Borrow => from.unsigned::<u32>()?.into(),
        Shape::S64 => from.signed()?.into(),
        Shape::U64 => from.varint()?.into(),
        Shape::F32 => f32_value(f32::from_le_bytes(from.array()?)),
        Shape::F64 => f64_value(f64::from_le_bytes(from.array()?)),
        Shape::Char => from.char()?.to_string().into(),
        Shape::String => from.text()?.into(),
        Shape::List(of) if **of == Shape::U8 => BASE64.encode(from.bytes()?).into(),
        Shape::List(of) => {
            let length = from.length()?;
            elements(of, length, from)?
        }
        Shape::FixedList(of, length) => elements(of, *length as usize, from)?,
        Shape::Map(of) => map(&of.0, &of.1, from)?,
        Shape::Record(fields) => {
            let field = |(name, shape): &(Box<str>, Shape)| Ok((name.to_string(), value(shape, from)?));
            Value::Object(fields.iter().map(field).collect::<Result<Map<_, _>, ValueError>>()?)
        }
        Shape::Tuple(parts) => Value::Array(parts.iter().map(|part| value(part, from)).collect::<Result<_, _>>()?),
        Shape::Variant(cases) => {
            let (name, payload) = &cases[from.case(cases.len())? as usize];
            match payload {
                Some(payload) => tagged(name, value(payload, from)?),
                None => (&**name).into(),
            }
        }
        Shape::Enum(names) => (&*names[from.case(names.len())? as usize]).into(),
        Shape::Option(of) => match from.bool()? {
            false => Value::Null,
            true if of.nullable() => tagged("some", value(of, from)?),
            true => value(of, from)?,
        },
        Shape::Result(ok, err) => {
            let (name, payload) = if from.case(2)? == 0 { ("ok", ok) } else { ("err", err) };
            tagged(name, payload.as_ref().map_or(Ok(Value::Null), |payload| value(payload, from))?)
        }
        Shape::Flags(names) => {
            let bits = from.take(names.len().div_ceil(8))?;
            let set = |n: usize| bits[n / 8] >> (n % 8) & 1 == 1;
            names.iter().enumerate().filter(|(n, _)| set(*n)).map(|(_, name)| Value::from(&**name)).collect()
        }
        Shape::Stream(of) => stream(of.as_deref(), content(from)?)?,
        Shape::Future(of) => {
            let mut from = Reader::new(content(from)?);
            let resolved = of.as_ref().map_or(Ok(Value::Null), |of| value(of, &mut from))?;
            from.finish()?;
            resolved
        }
    })
}

/// What a stream carries, when all of it is here.
fn content<'b>(from: &mut Reader<'b>) -> Result<&'b [u8], ValueError> {
    match from.content()? {
        Content::Here(content) => Ok(content),
        Content::Elsewhere(_) => Err(ValueError::Elsewhere),
    }
}

fn stream(of: Option<&Shape>, content: &[u8]) -> Result<Value, ValueError> {
    if is_bytes(of) {
        return Ok(BASE64.encode(content).into());
    }
    let (mut from, mut values) = (Reader::new(content), Vec::new());
    while !from.rest().is_empty() {
        let mut element = Reader::new(from.bytes()?);
        values.push(of.map_or(Ok(Value::Null), |of| value(of, &mut element))?);
        element.finish()?;
    }
    Ok(Value::Array(values))
}

fn elements(of: &Shape, length: usize, from: &mut Reader<'_>) -> Result<Value, ValueError> {
    let mut values = Vec::with_capacity(length.min(from.rest().len()));
    for _ in 0..length {
        values.push(value(of, from)?);
    }
    Ok(Value::Array(values))
}

fn map(key: &Shape, of: &Shape, from: &mut Reader<'_>) -> Result<Value, ValueError> {
    let length = from.length()?;
    if *key == Shape::String {
        let mut object = Map::new();
        for _ in 0..length {
            let name = from.text()?.to_owned();
            object.insert(name, value(of, from)?);
        }
        return Ok(Value::Object(object));
    }
    let mut pairs = Vec::with_capacity(length);
    for _ in 0..length {
        pairs.push(Value::Array(vec![value(key, from)?, value(of, from)?]));
    }
    Ok(Value::Array(pairs))
}

fn tagged(name: &str, value: Value) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value)]))
}

/// JSON has numbers that end; the others are texts, and a NaN keeps its bits.
fn f64_value(value: f64) -> Value {
    if value.is_nan() {
        return if value.to_bits() == f64::NAN.to_bits() {
            "nan".into()
        } else {
            format!("nan:{:#x}", value.to_bits()).into()
        };
    }
    serde_json::Number::from_f64(value)
        .map_or_else(|| if value > 0.0 { "inf".into() } else { "-inf".into() }, Value::Number)
}

/// A NaN's bits are those of the narrow type: widening may change them.
fn f32_value(value: f32) -> Value {
    if value.is_nan() {
        return if value.to_bits() == f32::NAN.to_bits() {
            "nan".into()
        } else {
            format!("nan:{:#x}", value.to_bits()).into()
        };
    }
    f64_value(value.into())
}
