//! Values as JSON, for people and for languages without postcard.
//!
//! | WIT | JSON |
//! |---|---|
//! | numbers | number; `nan`, `inf`, `-inf` as texts (`nan:0x7fc00001` for a NaN with other bits); read also from a text of digits |
//! | char, string, enum | text |
//! | list, tuple, fixed-length list | array; `list<u8>` is base64 text (an array of numbers is read, too) |
//! | record | object |
//! | map | object when its keys are texts, else array of pairs |
//! | variant | `"case"`, or `{"case": value}` |
//! | option | `null` or the value; an option of an option that is there is `{"some": ...}` |
//! | result | `{"ok": value}` or `{"err": value}` |
//! | flags | array of names |
//! | resource | number |
//! | stream | array; `stream<u8>` is base64 text: all that it carries, when it has ended |
//! | future | its value, `null` without a type |

mod read;
mod write;

use serde_json::Value;

use super::{FunctionShape, Shape, ValueError, binary::Reader};

/// The result in `bytes` as JSON.
pub fn result_to_json(shape: Option<&Shape>, bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut reader = Reader::new(bytes);
    let value = match shape {
        Some(shape) => write::value(shape, &mut reader)?,
        None => Value::Null,
    };
    reader.finish()?;
    Ok(text(&value))
}

/// The arguments in JSON (an array) as bytes.
pub fn arguments_from_json(function: &FunctionShape, json: &[u8]) -> Result<Vec<u8>, ValueError> {
    let value: Value = if json.is_empty() { Value::Array(Vec::new()) } else { parse(json)? };
    let mut out = Vec::with_capacity(json.len());
    let Value::Array(values) = &value else {
        return Err(read::wrong("arguments", "an array with the arguments", &value));
    };
    if values.len() != function.params.len() {
        let names: Vec<&str> = function.params.iter().map(|(name, _)| &**name).collect();
        let expected = format!("{} arguments ({})", names.len(), names.join(", "));
        return Err(ValueError::Json { at: "arguments".into(), expected, found: values.len().to_string() });
    }
    for (value, (name, shape)) in values.iter().zip(&function.params) {
        read::value(shape, value, &mut out).map_err(|error| error.inside(name))?;
    }
    Ok(out)
}

/// The arguments in `bytes` as a JSON array.
pub fn arguments_to_json(function: &FunctionShape, bytes: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut reader = Reader::new(bytes);
    let values = function.params.iter().map(|(_, shape)| write::value(shape, &mut reader));
    let value = Value::Array(values.collect::<Result<_, _>>()?);
    reader.finish()?;
    Ok(text(&value))
}

/// The result in JSON as bytes.
pub fn result_from_json(shape: Option<&Shape>, json: &[u8]) -> Result<Vec<u8>, ValueError> {
    let mut out = Vec::with_capacity(json.len());
    let value = if json.is_empty() { Value::Null } else { parse(json)? };
    match shape {
        Some(shape) => read::value(shape, &value, &mut out).map_err(|error| error.inside("result"))?,
        None if value.is_null() => {}
        None => return Err(read::wrong("result", "null", &value)),
    }
    Ok(out)
}

fn parse(json: &[u8]) -> Result<Value, ValueError> {
    serde_json::from_slice(json).map_err(|error| ValueError::Syntax(error.to_string()))
}

fn text(value: &Value) -> Vec<u8> {
    // Writing a tree of JSON values to memory cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

impl ValueError {
    /// The same error, one level further out.
    fn inside(self, outer: &str) -> Self {
        match self {
            Self::Json { at, expected, found } => {
                let at = if at.is_empty() { outer.to_owned() } else { format!("{outer}.{at}") };
                Self::Json { at, expected, found }
            }
            other => other,
        }
    }
}
