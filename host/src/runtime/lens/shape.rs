//! What wasmtime says of a function, as a [`FunctionShape`].

use lattice::wire::value::{FunctionShape, Shape};
use wasmtime::component::{Type, types::ComponentFunc};

/// A type that cannot leave its component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} cannot cross the lattice")]
pub(in super::super) struct UnsupportedType(&'static str);

/// The shape of a function's parameters and result.
pub(in super::super) fn function_shape(function: &ComponentFunc) -> Result<FunctionShape, UnsupportedType> {
    let params = function.params().map(|(name, ty)| Ok((name.into(), shape(&ty)?)));
    Ok(FunctionShape {
        params: params.collect::<Result<_, _>>()?,
        result: function.results().next().map(|ty| shape(&ty)).transpose()?,
    })
}

/// What a stream or a future carries: values that are whole in themselves.
fn carried(ty: Option<Type>) -> Result<Option<Box<Shape>>, UnsupportedType> {
    let Some(carried) = ty.as_ref().map(shape).transpose()? else { return Ok(None) };
    if carried.has_handles() {
        return Err(UnsupportedType("a stream or future of resources"));
    }
    if carried.has_streams() {
        return Err(UnsupportedType("a stream or future of streams or futures"));
    }
    Ok(Some(Box::new(carried)))
}

fn shape(ty: &Type) -> Result<Shape, UnsupportedType> {
    let boxed = |ty: Type| shape(&ty).map(Box::new);
    let named = |names: &mut dyn Iterator<Item = &str>| names.map(Into::into).collect::<Box<[Box<str>]>>();
    Ok(match ty {
        Type::Bool => Shape::Bool,
        Type::S8 => Shape::S8,
        Type::U8 => Shape::U8,
        Type::S16 => Shape::S16,
        Type::U16 => Shape::U16,
        Type::S32 => Shape::S32,
        Type::U32 => Shape::U32,
        Type::S64 => Shape::S64,
        Type::U64 => Shape::U64,
        Type::Float32 => Shape::F32,
        Type::Float64 => Shape::F64,
        Type::Char => Shape::Char,
        Type::String => Shape::String,
        Type::List(list) => Shape::List(boxed(list.ty())?),
        Type::FixedLengthList(list) => Shape::FixedList(boxed(list.ty())?, list.len()),
        Type::Map(map) => Shape::Map(Box::new((shape(&map.key())?, shape(&map.value())?))),
        Type::Record(record) => {
            let field = |field: wasmtime::component::types::Field<'_>| Ok((field.name.into(), shape(&field.ty)?));
            Shape::Record(record.fields().map(field).collect::<Result<_, _>>()?)
        }
        Type::Tuple(tuple) => Shape::Tuple(tuple.types().map(|ty| shape(&ty)).collect::<Result<_, _>>()?),
        Type::Variant(variant) => {
            let case = |case: wasmtime::component::types::Case<'_>| {
                Ok((case.name.into(), case.ty.map(|ty| shape(&ty)).transpose()?))
            };
            Shape::Variant(variant.cases().map(case).collect::<Result<_, _>>()?)
        }
        Type::Enum(of) => Shape::Enum(named(&mut of.names())),
        Type::Option(option) => Shape::Option(boxed(option.ty())?),
        Type::Result(result) => {
            Shape::Result(result.ok().map(boxed).transpose()?, result.err().map(boxed).transpose()?)
        }
        Type::Flags(flags) => Shape::Flags(named(&mut flags.names())),
        Type::Own(_) => Shape::Own,
        Type::Borrow(_) => Shape::Borrow,
        Type::Future(future) => Shape::Future(carried(future.ty())?),
        Type::Stream(stream) => Shape::Stream(carried(stream.ty())?),
        Type::ErrorContext => return Err(UnsupportedType("an error context")),
    })
}
