//! What the interfaces of a component are made of, in the canonical words that [`lattice::model::shape`] compares.

use std::collections::{BTreeMap, BTreeSet};

use lattice::{
    model::shape::{FunctionShape, InterfaceShape, ResourceName},
    wire::Digest,
};
use wit_parser::{
    Function, Handle, InterfaceId, Param, Resolve, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, World, WorldItem,
    WorldKey,
};

/// The longest text of one type, in bytes. WIT shares types, so a text can be exponentially longer than what it is
/// made of; beyond this a digest stands for it, which is as good to compare.
const MAX_TYPE: usize = 8 * 1024;

/// Turns types into words. Every type is written once. How deep they nest is limited by the decoder.
pub(crate) struct Shapes<'r> {
    resolve: &'r Resolve,
    written: BTreeMap<TypeId, Written>,
    /// Interfaces that a world describes in place, by their names there.
    inline: BTreeMap<InterfaceId, &'r str>,
}

/// A type in words, and what is in it.
#[derive(Clone, Default)]
struct Written {
    text: String,
    inside: Inside,
}

/// What of importance is in the types of a function.
#[derive(Clone, Default)]
struct Inside {
    resources: BTreeSet<ResourceName>,
    /// Streams or futures.
    flows: bool,
    /// What cannot leave a component.
    stuck: Option<&'static str>,
}

impl Inside {
    fn add(&mut self, other: Self) {
        self.resources.extend(other.resources);
        self.flows |= other.flows;
        self.stuck = self.stuck.or(other.stuck);
    }

    /// Of a stream or a future of this: what it carries must be whole in itself.
    fn carried(self) -> Self {
        let stuck = match &self {
            Self { stuck: Some(stuck), .. } => Some(*stuck),
            Self { flows: true, .. } => Some("a stream or future of streams or futures"),
            Self { resources, .. } if !resources.is_empty() => Some("a stream or future of resources"),
            _ => None,
        };
        Self { flows: true, stuck, ..self }
    }
}

impl<'r> Shapes<'r> {
    pub(crate) fn new(resolve: &'r Resolve) -> Self {
        Self { resolve, written: BTreeMap::new(), inline: BTreeMap::new() }
    }

    /// As [`Self::new`], for what a world imports and exports.
    pub(crate) fn of_world(resolve: &'r Resolve, world: &'r World) -> Self {
        let named = |(key, item): (&'r WorldKey, &WorldItem)| match (key, item) {
            (WorldKey::Name(name), WorldItem::Interface { id, .. }) => Some((*id, name.as_str())),
            _ => None,
        };
        let inline = world.imports.iter().chain(&world.exports).filter_map(named).collect();
        Self { inline, ..Self::new(resolve) }
    }

    /// The shape of one interface.
    pub(crate) fn of(&mut self, interface: InterfaceId) -> InterfaceShape {
        let resolve = self.resolve;
        let functions = &resolve.interfaces[interface].functions;
        InterfaceShape {
            functions: functions.iter().map(|(name, function)| (name.clone(), self.function(function))).collect(),
        }
    }

    /// The shape of one function.
    pub(crate) fn function(&mut self, function: &Function) -> FunctionShape {
        let mut inside = Inside::default();
        let param = |param: &Param| format!("{}: {}", param.name, self.add(param.ty, &mut inside));
        let params: Vec<_> = function.params.iter().map(param).collect();
        let word = if function.kind.is_async() { "async func" } else { "func" };
        let result = function.result.map(|ty| format!(" -> {}", self.add(ty, &mut inside))).unwrap_or_default();
        let Inside { resources, stuck, .. } = inside;
        FunctionShape { signature: format!("{word}({}){result}", params.join(", ")), resources, stuck }
    }

    /// The text of `ty`; what is in it goes to `inside`.
    fn add(&mut self, ty: Type, inside: &mut Inside) -> String {
        let written = self.write(ty);
        inside.add(written.inside);
        written.text
    }

    /// The text of what a stream or a future carries.
    fn carried(&mut self, ty: Option<Type>, inside: &mut Inside) -> Option<String> {
        let written = ty.map(|ty| self.write(ty)).unwrap_or_default();
        inside.add(written.inside.carried());
        ty.map(|_| written.text)
    }

    fn write(&mut self, ty: Type) -> Written {
        let word = match ty {
            Type::Bool => "bool",
            Type::U8 => "u8",
            Type::U16 => "u16",
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::S8 => "s8",
            Type::S16 => "s16",
            Type::S32 => "s32",
            Type::S64 => "s64",
            Type::F32 => "f32",
            Type::F64 => "f64",
            Type::Char => "char",
            Type::String => "string",
            Type::ErrorContext => {
                let inside = Inside { stuck: Some("an error context"), ..Inside::default() };
                return Written { text: "error-context".to_owned(), inside };
            }
            Type::Id(id) => return self.named(id),
        };
        Written { text: word.to_owned(), inside: Inside::default() }
    }

    fn named(&mut self, id: TypeId) -> Written {
        if let Some(written) = self.written.get(&id) {
            return written.clone();
        }
        let resolve = self.resolve;
        let mut inside = Inside::default();
        let mut text = self.kind(&resolve.types[id], id, &mut inside);
        if text.len() > MAX_TYPE {
            text = format!("{} {}", resolve.types[id].kind.as_str(), Digest::of(text.as_bytes()));
        }
        let written = Written { text, inside };
        self.written.insert(id, written.clone());
        written
    }

    fn kind(&mut self, def: &TypeDef, id: TypeId, inside: &mut Inside) -> String {
        match &def.kind {
            TypeDefKind::Future(ty) => {
                return self.carried(*ty, inside).map_or("future".to_owned(), |ty| format!("future<{ty}>"));
            }
            TypeDefKind::Stream(ty) => {
                return self.carried(*ty, inside).map_or("stream".to_owned(), |ty| format!("stream<{ty}>"));
            }
            TypeDefKind::Resource => {
                let resource = self.resource(def, id);
                let text = resource.to_string();
                inside.resources.insert(resource);
                return text;
            }
            _ => {}
        }
        let mut add = |ty: &Type| self.add(*ty, inside);
        let mut case = |name: &String, ty: Option<&Type>| match ty {
            Some(ty) => format!("{name}({})", add(ty)),
            None => name.clone(),
        };
        match &def.kind {
            TypeDefKind::Type(ty) => add(ty),
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter().map(|field| format!("{}: {}", field.name, add(&field.ty)));
                format!("record {{ {} }}", fields.collect::<Vec<_>>().join(", "))
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter().map(|c| case(&c.name, c.ty.as_ref()));
                format!("variant {{ {} }}", cases.collect::<Vec<_>>().join(", "))
            }
            TypeDefKind::Enum(cases) => {
                let cases: Vec<_> = cases.cases.iter().map(|case| case.name.as_str()).collect();
                format!("enum {{ {} }}", cases.join(", "))
            }
            TypeDefKind::Flags(flags) => {
                let flags: Vec<_> = flags.flags.iter().map(|flag| flag.name.as_str()).collect();
                format!("flags {{ {} }}", flags.join(", "))
            }
            TypeDefKind::Tuple(tuple) => {
                format!("tuple<{}>", tuple.types.iter().map(add).collect::<Vec<_>>().join(", "))
            }
            TypeDefKind::Option(ty) => format!("option<{}>", add(ty)),
            TypeDefKind::Result(result) => match (&result.ok, &result.err) {
                (None, None) => "result".to_owned(),
                (Some(ok), None) => format!("result<{}>", add(ok)),
                (None, Some(err)) => format!("result<_, {}>", add(err)),
                (Some(ok), Some(err)) => format!("result<{}, {}>", add(ok), add(err)),
            },
            TypeDefKind::List(ty) => format!("list<{}>", add(ty)),
            TypeDefKind::FixedLengthList(ty, len) => format!("list<{}, {len}>", add(ty)),
            TypeDefKind::Map(key, value) => format!("map<{}, {}>", add(key), add(value)),
            TypeDefKind::Handle(Handle::Own(ty)) => add(&Type::Id(*ty)),
            TypeDefKind::Handle(Handle::Borrow(ty)) => format!("borrow<{}>", add(&Type::Id(*ty))),
            // Futures, streams and resources are above.
            _ => "unknown".to_owned(),
        }
    }

    fn resource(&self, def: &TypeDef, id: TypeId) -> ResourceName {
        let interface = match def.owner {
            TypeOwner::Interface(id) => {
                self.resolve.id_of(id).or_else(|| self.inline.get(&id).map(|name| (*name).to_owned()))
            }
            TypeOwner::World(_) | TypeOwner::None => None,
        };
        let interface = interface.map(|full| full.split('@').next().unwrap_or_default().to_owned());
        // Resources of a world have no interface; no two of them are the same.
        let interface = interface.unwrap_or_else(|| "world".to_owned());
        ResourceName { interface, name: def.name.clone().unwrap_or_else(|| format!("{}", id.index())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(wit: &str, interface: &str) -> InterfaceShape {
        let mut resolve = Resolve::default();
        resolve.push_source("test.wit", wit).unwrap();
        let (id, _) = resolve.interfaces.iter().find(|(_, i)| i.name.as_deref() == Some(interface)).unwrap();
        Shapes::new(&resolve).of(id)
    }

    fn signatures(wit: &str, interface: &str) -> Vec<String> {
        let shape = shape(wit, interface);
        shape.functions.iter().map(|(name, function)| format!("{name}: {}", function.signature)).collect()
    }

    #[test]
    fn names_of_types_are_replaced_by_what_they_stand_for() {
        let wit = "package acme:pricing@1.2.0;
            interface types { type cents = u64; record price { amount: cents, currency: currency }
                enum currency { eur, usd } flags mode { fast, exact } resource session { constructor(name: string);
                bump: func() -> cents; name: static func(of: borrow<session>) -> string; } }
            interface quote { use types.{price, mode, session};
                variant error { unknown(string), busy }
                type prices = list<price>;
                a: func(article: string, mode: mode) -> result<prices, error>;
                b: func(p: tuple<u8, option<char>>) -> result<_, error>;
                c: func(s: session) -> own<session>;
                d: async func(f: future<string>, s: stream<u8>) -> list<u8, 4>;
                e: func(m: map<string, f32>) -> result; }";
        let price = "record { amount: u64, currency: enum { eur, usd } }";
        let error = "variant { unknown(string), busy }";
        assert_eq!(
            signatures(wit, "quote"),
            [
                format!("a: func(article: string, mode: flags {{ fast, exact }}) -> result<list<{price}>, {error}>"),
                format!("b: func(p: tuple<u8, option<char>>) -> result<_, {error}>"),
                "c: func(s: acme:pricing/types.session) -> acme:pricing/types.session".to_owned(),
                "d: async func(f: future<string>, s: stream<u8>) -> list<u8, 4>".to_owned(),
                "e: func(m: map<string, f32>) -> result".to_owned(),
            ]
        );
        assert_eq!(
            signatures(wit, "types"),
            [
                "[constructor]session: func(name: string) -> acme:pricing/types.session",
                "[method]session.bump: func(self: borrow<acme:pricing/types.session>) -> u64",
                "[static]session.name: func(of: borrow<acme:pricing/types.session>) -> string",
            ]
        );
        let shape = shape(wit, "quote");
        let resources =
            |name: &str| shape.functions[name].resources.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(resources("c"), ["acme:pricing/types.session"]);
        assert!(resources("a").is_empty());
    }

    #[test]
    fn what_cannot_leave_a_component_is_known() {
        let wit = "package a:b; interface x { resource r; type s = stream<u8>; record deep { a: list<future<s>> }
            a: func(x: s) -> future<list<string>>; b: func(x: stream<r>); c: func() -> deep; d: func(x: own<r>, y: s);
            e: func(x: stream<future>); }";
        let (shape, nested) = (shape(wit, "x"), Some("a stream or future of streams or futures"));
        for (name, stuck) in
            [("a", None), ("b", Some("a stream or future of resources")), ("c", nested), ("d", None), ("e", nested)]
        {
            assert_eq!(shape.functions[name].stuck, stuck, "{name}");
        }
    }

    #[test]
    fn a_type_that_would_fill_the_memory_is_told_by_its_digest() {
        let doubled = |last: &str| {
            let types: String = (1..60).map(|n| format!("type t{n} = tuple<t{}, t{}>;\n", n - 1, n - 1)).collect();
            format!("package a:b; interface big {{ type t0 = {last};\n{types} f: func(x: t59); }}")
        };
        let (one, other) = (signatures(&doubled("u8"), "big"), signatures(&doubled("s8"), "big"));
        assert!(one[0].starts_with("f: func(x: tuple sha256:") && one[0].len() < 200, "{one:?}");
        assert_eq!(one, signatures(&doubled("u8"), "big"));
        assert_ne!(one, other);
    }
}
