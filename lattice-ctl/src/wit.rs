//! WIT packages: those beside a program in the user's files, and what the lattice keeps of them.

use std::{collections::BTreeMap, path::Path, time::Duration};

use bytes::Bytes;
use lattice::{
    bus::Bus,
    model::{app::ProgramSpec, shape::InterfaceShape},
    wire::{
        Interface,
        value::{FunctionShape, Shape},
    },
};
use wit_component::DecodedWasm;
use wit_parser::{Handle, InterfaceId, Resolve, Type, TypeDefKind};

use crate::shape::Shapes;

/// So many parts a function's types may have, all in all: WIT shares types, and what is made of few lines may be larger
/// than any memory.
const MAX_PARTS: usize = 10_000;
/// How long the lattice may take to give the WIT of a program.
const FETCH: Duration = Duration::from_secs(5);

/// Interfaces that were described in WIT.
#[derive(Debug)]
pub(crate) struct Wit {
    resolve: Resolve,
}

impl Wit {
    /// The package in a folder or file of WIT, and its binary form.
    pub(crate) fn read(path: &Path) -> Result<(Self, Bytes), String> {
        let mut resolve = Resolve::default();
        let pushed = resolve.push_path(path);
        let (package, _) = pushed.map_err(|error| error.to_string())?;
        let bytes = wit_component::encode(&resolve, package).map_err(|error| format!("{error:#}"))?;
        Ok((Self { resolve }, bytes.into()))
    }

    /// What [`Self::read`] has encoded.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match wit_component::decode(bytes) {
            Ok(DecodedWasm::WitPackage(resolve, _)) => Some(Self { resolve }),
            _ => None,
        }
    }

    /// The WIT that came with a program. Without it a call goes on as one of a program that has none.
    pub(crate) async fn of(bus: &Bus, program: &ProgramSpec) -> Option<Self> {
        let fetched = tokio::time::timeout(FETCH, bus.artifacts().get(program.wit.as_ref()?)).await;
        Self::decode(&fetched.ok()?.ok()?)
    }

    /// Every interface, by its full name.
    pub(crate) fn shapes(&self) -> BTreeMap<Interface, InterfaceShape> {
        let mut shapes = Shapes::new(&self.resolve);
        self.interfaces().map(|(name, id)| (name, shapes.of(id))).collect()
    }

    fn interfaces(&self) -> impl Iterator<Item = (Interface, InterfaceId)> {
        let ids = self.resolve.interfaces.iter().map(|(id, _)| id);
        ids.filter_map(|id| Some((self.resolve.id_of(id)?.parse().ok()?, id)))
    }

    /// The types of a function, when values of all of them can be written down.
    pub(crate) fn function(&self, interface: &Interface, function: &str) -> Option<FunctionShape> {
        let (_, id) = self.interfaces().find(|(name, _)| name == interface)?;
        let function = self.resolve.interfaces[id].functions.get(function)?;
        let mut parts = MAX_PARTS;
        let params = function.params.iter();
        let params = params.map(|param| Some((param.name.as_str().into(), self.shape(param.ty, &mut parts)?)));
        let params = params.collect::<Option<_>>()?;
        let result = match function.result {
            Some(ty) => Some(self.shape(ty, &mut parts)?),
            None => None,
        };
        Some(FunctionShape { params, result })
    }

    /// How deep types nest is limited by who made `resolve`.
    fn shape(&self, ty: Type, parts: &mut usize) -> Option<Shape> {
        *parts = parts.checked_sub(1)?;
        Some(match ty {
            Type::Bool => Shape::Bool,
            Type::U8 => Shape::U8,
            Type::U16 => Shape::U16,
            Type::U32 => Shape::U32,
            Type::U64 => Shape::U64,
            Type::S8 => Shape::S8,
            Type::S16 => Shape::S16,
            Type::S32 => Shape::S32,
            Type::S64 => Shape::S64,
            Type::F32 => Shape::F32,
            Type::F64 => Shape::F64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::ErrorContext => return None,
            Type::Id(id) => self.kind(&self.resolve.types[id].kind, parts)?,
        })
    }

    fn kind(&self, kind: &TypeDefKind, parts: &mut usize) -> Option<Shape> {
        let mut part = |ty: &Type| self.shape(*ty, parts);
        Some(match kind {
            TypeDefKind::Type(ty) => part(ty)?,
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| Some((field.name.as_str().into(), part(&field.ty)?)));
                Shape::Record(fields.collect::<Option<_>>()?)
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|case| {
                    let payload = match &case.ty {
                        Some(ty) => Some(part(ty)?),
                        None => None,
                    };
                    Some((case.name.as_str().into(), payload))
                });
                Shape::Variant(cases.collect::<Option<_>>()?)
            }
            TypeDefKind::Enum(of) => Shape::Enum(of.cases.iter().map(|case| case.name.as_str().into()).collect()),
            TypeDefKind::Flags(of) => Shape::Flags(of.flags.iter().map(|flag| flag.name.as_str().into()).collect()),
            TypeDefKind::Tuple(tuple) => Shape::Tuple(tuple.types.iter().map(part).collect::<Option<_>>()?),
            TypeDefKind::Option(ty) => Shape::Option(Box::new(part(ty)?)),
            TypeDefKind::Result(result) => {
                let mut side = |ty: &Option<Type>| match ty {
                    Some(ty) => part(ty).map(|shape| Some(Box::new(shape))),
                    None => Some(None),
                };
                Shape::Result(side(&result.ok)?, side(&result.err)?)
            }
            TypeDefKind::List(ty) => Shape::List(Box::new(part(ty)?)),
            TypeDefKind::FixedLengthList(ty, len) => Shape::FixedList(Box::new(part(ty)?), *len),
            TypeDefKind::Map(key, value) => Shape::Map(Box::new((part(key)?, part(value)?))),
            TypeDefKind::Handle(Handle::Own(_)) => Shape::Own,
            TypeDefKind::Handle(Handle::Borrow(_)) => Shape::Borrow,
            // A resource stands for itself only in its own functions, as a handle.
            TypeDefKind::Resource => Shape::Own,
            TypeDefKind::Future(_) | TypeDefKind::Stream(_) | TypeDefKind::Unknown => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use lattice::wire::value::json;

    use super::*;

    fn wit(text: &str) -> Wit {
        let mut resolve = Resolve::default();
        resolve.push_source("test.wit", text).unwrap();
        Wit { resolve }
    }

    #[test]
    fn a_package_keeps_its_types_on_the_way_through_the_lattice() {
        let dir = tempfile::tempdir().unwrap();
        let text = "package acme:all@1.0.0; interface one {
            record r { a: option<u8>, b: list<u8>, c: tuple<s64, char>, d: f32 }
            variant v { none, some(r), many(list<r>) }
            enum e { x, y }
            flags f { p, q }
            resource thing { look: func(); }
            go: func(v: v, e: e, f: f, m: map<string, bool>) -> result<list<u64, 2>, string>;
            take: func(t: thing, b: borrow<thing>) -> result;
            later: func() -> stream<u8>;
        }";
        std::fs::write(dir.path().join("all.wit"), text).unwrap();
        let (read, bytes) = Wit::read(dir.path()).unwrap();
        assert_eq!(Wit::read(dir.path()).unwrap().1, bytes, "its digest means something");
        let decoded = Wit::decode(&bytes).unwrap();
        assert_eq!(decoded.shapes(), read.shapes());
        let one = "acme:all/one@1.0.0".parse().unwrap();
        for function in ["go", "take", "later", "[method]thing.look", "none"] {
            assert_eq!(decoded.function(&one, function), read.function(&one, function), "{function}");
        }
        let go = decoded.function(&one, "go").unwrap();
        let arguments = br#"[{"some":{"b":"AQI=","c":[-1,"x"],"d":0.5}},"y",["q"],{"k":true}]"#;
        let written = json::arguments_from_json(&go, arguments).unwrap();
        let back = String::from_utf8(json::arguments_to_json(&go, &written).unwrap()).unwrap();
        assert_eq!(back, r#"[{"some":{"a":null,"b":"AQI=","c":[-1,"x"],"d":0.5}},"y",["q"],{"k":true}]"#);
        assert!(json::arguments_from_json(&go, br#"["none","z",[],{}]"#).is_err());
        assert!(decoded.function(&one, "take").is_some() && decoded.function(&one, "later").is_none());
        assert!(Wit::decode(b"\0asm").is_none());
    }

    #[test]
    fn a_type_that_would_fill_the_memory_has_no_shape() {
        let types: String = (1..60).map(|n| format!("type t{n} = tuple<t{}, t{}>;\n", n - 1, n - 1)).collect();
        let big = wit(&format!("package a:b; interface big {{ type t0 = u8;\n{types} f: func(x: t59); }}"));
        assert_eq!(big.function(&"a:b/big".parse().unwrap(), "f"), None);
    }
}
