//! wasmtime's own road for any type, by trees of values: what the lens is compared with.

use lattice::wire::value::{
    FunctionShape, Shape,
    binary::{Reader, put_bytes, put_char, put_signed, put_varint},
};
use wasmtime::{
    Result, Store, bail,
    component::{Func, Val},
};

use super::Lifted;

/// Calls `func` with the arguments in `bytes`.
pub(super) async fn call<T: Send>(
    function: &FunctionShape,
    store: &mut Store<T>,
    func: Func,
    bytes: &[u8],
) -> Result<Lifted> {
    let mut from = Reader::new(bytes);
    let params = function.params.iter().map(|(_, shape)| read(shape, &mut from));
    let params = params.collect::<Result<Vec<_>>>()?;
    from.finish()?;
    let mut results = vec![Val::Bool(false); usize::from(function.result.is_some())];
    func.call_async(store, &params, &mut results).await?;
    let mut lifted = Lifted::default();
    if let (Some(shape), Some(value)) = (&function.result, results.first()) {
        write(shape, value, &mut lifted)?;
    }
    Ok(lifted)
}

fn read(shape: &Shape, from: &mut Reader<'_>) -> Result<Val> {
    let list = |of: &Shape, length: usize, from: &mut Reader<'_>| {
        (0..length).map(|_| read(of, from)).collect::<Result<Vec<_>>>()
    };
    let some =
        |shape: Option<&Shape>, from: &mut Reader<'_>| shape.map(|shape| read(shape, from).map(Box::new)).transpose();
    Ok(match shape {
        Shape::Bool => Val::Bool(from.bool()?),
        Shape::S8 => Val::S8(from.byte()? as i8),
        Shape::U8 => Val::U8(from.byte()?),
        Shape::S16 => Val::S16(from.integer()?),
        Shape::U16 => Val::U16(from.unsigned()?),
        Shape::S32 => Val::S32(from.integer()?),
        Shape::U32 => Val::U32(from.unsigned()?),
        Shape::S64 => Val::S64(from.signed()?),
        Shape::U64 => Val::U64(from.varint()?),
        Shape::F32 => Val::Float32(f32::from_le_bytes(from.array()?)),
        Shape::F64 => Val::Float64(f64::from_le_bytes(from.array()?)),
        Shape::Char => Val::Char(from.char()?),
        Shape::String => Val::String(from.text()?.to_owned()),
        Shape::List(of) => {
            let length = from.length()?;
            Val::List(list(of, length, from)?)
        }
        Shape::FixedList(of, length) => Val::FixedLengthList(list(of, *length as usize, from)?),
        Shape::Map(of) => {
            let length = from.length()?;
            let entry = |_| Ok((read(&of.0, from)?, read(&of.1, from)?));
            Val::Map((0..length).map(entry).collect::<Result<_>>()?)
        }
        Shape::Record(fields) => {
            let field = |(name, shape): &(Box<str>, Shape)| Ok((name.to_string(), read(shape, from)?));
            Val::Record(fields.iter().map(field).collect::<Result<_>>()?)
        }
        Shape::Tuple(parts) => Val::Tuple(parts.iter().map(|part| read(part, from)).collect::<Result<_>>()?),
        Shape::Variant(cases) => {
            let (name, payload) = &cases[from.case(cases.len())? as usize];
            Val::Variant(name.to_string(), some(payload.as_ref(), from)?)
        }
        Shape::Enum(names) => Val::Enum(names[from.case(names.len())? as usize].to_string()),
        Shape::Option(of) => Val::Option(some(from.bool()?.then_some(of), from)?),
        Shape::Result(ok, err) => Val::Result(match from.case(2)? {
            0 => Ok(some(ok.as_deref(), from)?),
            _ => Err(some(err.as_deref(), from)?),
        }),
        Shape::Flags(names) => {
            let bits = from.take(names.len().div_ceil(8))?;
            let set = |n: usize| bits[n / 8] >> (n % 8) & 1 == 1;
            Val::Flags(names.iter().enumerate().filter(|(n, _)| set(*n)).map(|(_, name)| name.to_string()).collect())
        }
        Shape::Own | Shape::Borrow | Shape::Stream(_) | Shape::Future(_) => bail!("not a plain value"),
    })
}

fn write(shape: &Shape, value: &Val, to: &mut Lifted) -> Result<()> {
    match (shape, value) {
        (Shape::Bool, Val::Bool(value)) => to.bytes.push((*value).into()),
        (Shape::S8, Val::S8(value)) => to.bytes.push(*value as u8),
        (Shape::U8, Val::U8(value)) => to.bytes.push(*value),
        (Shape::S16, Val::S16(value)) => put_signed(&mut to.bytes, (*value).into()),
        (Shape::U16, Val::U16(value)) => put_varint(&mut to.bytes, (*value).into()),
        (Shape::S32, Val::S32(value)) => put_signed(&mut to.bytes, (*value).into()),
        (Shape::U32, Val::U32(value)) => put_varint(&mut to.bytes, (*value).into()),
        (Shape::S64, Val::S64(value)) => put_signed(&mut to.bytes, *value),
        (Shape::U64, Val::U64(value)) => put_varint(&mut to.bytes, *value),
        (Shape::F32, Val::Float32(value)) => to.bytes.extend_from_slice(&value.to_le_bytes()),
        (Shape::F64, Val::Float64(value)) => to.bytes.extend_from_slice(&value.to_le_bytes()),
        (Shape::Char, Val::Char(value)) => put_char(&mut to.bytes, *value),
        (Shape::String, Val::String(value)) => put_bytes(&mut to.bytes, value.as_bytes()),
        (Shape::List(of), Val::List(values)) => {
            put_varint(&mut to.bytes, values.len() as u64);
            values.iter().try_for_each(|value| write(of, value, to))?;
        }
        (Shape::FixedList(of, _), Val::FixedLengthList(values)) => {
            values.iter().try_for_each(|value| write(of, value, to))?;
        }
        (Shape::Map(of), Val::Map(entries)) => {
            put_varint(&mut to.bytes, entries.len() as u64);
            for (key, value) in entries {
                write(&of.0, key, to)?;
                write(&of.1, value, to)?;
            }
        }
        (Shape::Record(fields), Val::Record(values)) => {
            for ((_, shape), (_, value)) in fields.iter().zip(values) {
                write(shape, value, to)?;
            }
        }
        (Shape::Tuple(parts), Val::Tuple(values)) => {
            for (shape, value) in parts.iter().zip(values) {
                write(shape, value, to)?;
            }
        }
        (Shape::Variant(cases), Val::Variant(name, payload)) => {
            let Some(case) = cases.iter().position(|(n, _)| **n == **name) else { bail!("there is no case {name}") };
            put_varint(&mut to.bytes, case as u64);
            payload_of(cases[case].1.as_ref(), payload.as_deref(), to)?;
        }
        (Shape::Enum(names), Val::Enum(name)) => {
            let Some(case) = names.iter().position(|n| **n == **name) else { bail!("there is no case {name}") };
            put_varint(&mut to.bytes, case as u64);
        }
        (Shape::Option(of), Val::Option(value)) => {
            to.bytes.push(value.is_some().into());
            payload_of(Some(of), value.as_deref(), to)?;
        }
        (Shape::Result(ok, err), Val::Result(value)) => {
            to.bytes.push(value.is_err().into());
            match value {
                Ok(value) => payload_of(ok.as_deref(), value.as_deref(), to)?,
                Err(value) => payload_of(err.as_deref(), value.as_deref(), to)?,
            }
        }
        (Shape::Flags(names), Val::Flags(set)) => {
            let start = to.bytes.len();
            to.bytes.resize(start + names.len().div_ceil(8), 0);
            for (n, _) in names.iter().enumerate().filter(|(_, name)| set.iter().any(|flag| **flag == ***name)) {
                to.bytes[start + n / 8] |= 1 << (n % 8);
            }
        }
        (shape, _) => bail!("a value is not of its type {shape:?}"),
    }
    Ok(())
}

fn payload_of(shape: Option<&Shape>, value: Option<&Val>, to: &mut Lifted) -> Result<()> {
    match (shape, value) {
        (Some(shape), Some(value)) => write(shape, value, to),
        _ => Ok(()),
    }
}
