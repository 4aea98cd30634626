//! What a world asks for, and whether a provider can do that.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::Ident;
use wit_parser::{
    Case, Function, FunctionKind, InterfaceId, Resolve, Type, TypeDefKind, TypeId, TypeOwner, Variant, WorldId,
    WorldItem,
};

use crate::names::{camel_beside, snake};

/// Longest name of an interface with its version, in bytes, as the lattice has it.
const MAX_INTERFACE: usize = 200;
/// Longest name of a function, in bytes, as the lattice has it.
const MAX_FUNCTION: usize = 200;
/// Rust's own traits are there for tuples of so many parts.
const MAX_TUPLE: usize = 12;

/// Names that an interface's module needs for itself. The last one is in the code that `async_trait` makes.
const TAKEN: [&str; 3] = ["Handler", "Remote", "Box"];

/// Why a provider cannot serve or call what a world has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "interface `{interface}`: the type `{name}` is a resource; any instance of a provider answers any call, so that \
         none can keep something for its caller: pass a name or a number with each call instead"
    )]
    Resource { interface: String, name: String },
    #[error("interface `{interface}`: `{place}` has a {what} in it, which a provider can neither take nor return")]
    Type { interface: String, place: String, what: &'static str },
    #[error(
        "interface `{interface}`: `{place}` has a tuple of {parts} parts; a tuple has 1 to {MAX_TUPLE}, use a record"
    )]
    Tuple { interface: String, place: String, parts: usize },
    #[error(
        "world `{world}` has the {what} `{name}` outside of an interface; calls in a lattice are to functions of \
         interfaces, so move it into one"
    )]
    Loose { world: String, what: &'static str, name: String },
    #[error(
        "world `{world}` has the interface `{name}` inline, which gives it no name that others could call it by; move it \
         out of the world"
    )]
    Inline { world: String, name: String },
    #[error(
        "the interfaces `{first}` and `{second}` would both be the module `{module}`; use `generate!` twice, with a world \
         for each, in modules of your own"
    )]
    Collision { first: String, second: String, module: String },
    #[error("the name `{name}` is longer than the {limit} bytes that a lattice carries")]
    TooLong { name: String, limit: usize },
}

/// One interface, and what becomes of it.
pub(crate) struct Interface {
    pub(crate) id: InterfaceId,
    /// `namespace:package/name@version`.
    pub(crate) name: String,
    pub(crate) module: Ident,
    /// Whether it is served, and not only called.
    pub(crate) exported: bool,
}

/// A world that providers can serve.
pub(crate) struct World<'r> {
    pub(crate) resolve: &'r Resolve,
    /// In the order of the world; each once.
    pub(crate) interfaces: Vec<Interface>,
    /// Types that functions fail with.
    errors: BTreeSet<TypeId>,
}

impl<'r> World<'r> {
    pub(crate) fn new(resolve: &'r Resolve, id: WorldId) -> Result<Self, Refusal> {
        let mut world = Self { resolve, interfaces: Vec::new(), errors: BTreeSet::new() };
        let items = &resolve.worlds[id];
        for (exported, (key, item)) in
            items.imports.iter().map(|i| (false, i)).chain(items.exports.iter().map(|i| (true, i)))
        {
            let loose = |what| Refusal::Loose { world: items.name.clone(), what, name: resolve.name_world_key(key) };
            match item {
                WorldItem::Interface { id, .. } => world
                    .add(*id, exported)
                    .ok_or_else(|| Refusal::Inline { world: items.name.clone(), name: resolve.name_world_key(key) })?,
                WorldItem::Function(_) => return Err(loose("function")),
                // A `use` for the world's own functions, of which there are none.
                WorldItem::Type { .. } => {}
            }
        }
        world.distinct()?;
        for interface in &world.interfaces {
            Check { resolve, interface }.all()?;
            for function in resolve.interfaces[interface.id].functions.values() {
                if let Some(Outcome { error: Some(Type::Id(id)), .. }) = outcome(resolve, function) {
                    world.errors.insert(named(resolve, id));
                }
            }
        }
        Ok(world)
    }

    /// `None` when it has no name.
    fn add(&mut self, id: InterfaceId, exported: bool) -> Option<()> {
        let resolve = self.resolve;
        if let Some(known) = self.interfaces.iter_mut().find(|known| known.id == id) {
            known.exported |= exported;
            return Some(());
        }
        let (own, name) = (resolve.interfaces[id].name.as_deref()?, resolve.id_of(id)?);
        self.interfaces.push(Interface { id, name, module: snake(own), exported });
        Some(())
    }

    fn distinct(&self) -> Result<(), Refusal> {
        let mut modules = BTreeMap::new();
        for interface in &self.interfaces {
            if interface.name.len() > MAX_INTERFACE {
                return Err(Refusal::TooLong { name: interface.name.clone(), limit: MAX_INTERFACE });
            }
            if let Some(first) = modules.insert(interface.module.to_string(), &interface.name) {
                return Err(Refusal::Collision {
                    first: first.clone(),
                    second: interface.name.clone(),
                    module: interface.module.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The functions of an interface.
    pub(crate) fn functions(&self, interface: &Interface) -> Vec<&'r Function> {
        self.resolve.interfaces[interface.id].functions.values().collect()
    }

    /// The interfaces that are served.
    pub(crate) fn served(&self) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(|interface| interface.exported && !self.functions(interface).is_empty())
    }

    /// Whether a function of an interface takes or returns streams.
    pub(crate) fn has_streams(&self, interface: &Interface) -> bool {
        let types = |function: &&'r Function| function.params.iter().map(|param| param.ty).chain(function.result);
        self.functions(interface).iter().flat_map(types).any(|ty| has_stream(self.resolve, ty))
    }

    /// Whether functions fail with this type.
    pub(crate) fn is_error(&self, id: TypeId) -> bool {
        self.errors.contains(&id)
    }

    /// The name of an interface's trait.
    pub(crate) fn trait_name(&self, interface: InterfaceId) -> Ident {
        camel_beside(self.resolve.interfaces[interface].name.as_deref().unwrap_or_default(), &TAKEN)
    }

    /// The name of a type in its interface's module.
    pub(crate) fn type_name(&self, interface: InterfaceId, wit: &str) -> Ident {
        let [handler, remote, boxed] = TAKEN;
        camel_beside(wit, &[handler, remote, boxed, &self.trait_name(interface).to_string()])
    }

    /// The module of the interface that owns a type.
    pub(crate) fn module_of(&self, owner: InterfaceId) -> Option<&Ident> {
        self.interfaces.iter().find(|interface| interface.id == owner).map(|interface| &interface.module)
    }
}

/// What a function with a `result` returns, one or the other.
pub(crate) struct Outcome {
    pub(crate) ok: Option<Type>,
    pub(crate) error: Option<Type>,
}

/// The `result` of a function, when that is what it returns.
pub(crate) fn outcome(resolve: &Resolve, function: &Function) -> Option<Outcome> {
    let Some(Type::Id(id)) = function.result else { return None };
    match &resolve.types[named(resolve, id)].kind {
        TypeDefKind::Result(result) => Some(Outcome { ok: result.ok, error: result.err }),
        _ => None,
    }
}

/// The type behind names for it.
pub(crate) fn named(resolve: &Resolve, mut id: TypeId) -> TypeId {
    while let TypeDefKind::Type(Type::Id(next)) = resolve.types[id].kind {
        id = next;
    }
    id
}

/// How the error of a function takes up a call that failed on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// It is a text.
    Text,
    /// It is a variant with the case `other(string)` or `unexpected(string)`.
    Other,
    No,
}

pub(crate) fn carries(resolve: &Resolve, error: Option<Type>) -> Carries {
    match error {
        Some(Type::String) => Carries::Text,
        Some(Type::Id(id)) => match &resolve.types[named(resolve, id)].kind {
            TypeDefKind::Type(inner) => carries(resolve, Some(*inner)),
            TypeDefKind::Variant(variant) => {
                if rest_case(resolve, variant).is_some() {
                    Carries::Other
                } else {
                    Carries::No
                }
            }
            _ => Carries::No,
        },
        _ => Carries::No,
    }
}

/// The case of an error for what has no other.
pub(crate) fn rest_case<'v>(resolve: &Resolve, variant: &'v Variant) -> Option<&'v Case> {
    let is_rest = |case: &&Case| matches!(case.name.as_str(), "other" | "unexpected") && is_text(resolve, case.ty);
    variant.cases.iter().find(is_rest)
}

/// Whether it is `string`, by whatever name.
pub(crate) fn is_text(resolve: &Resolve, ty: Option<Type>) -> bool {
    match ty {
        Some(Type::String) => true,
        Some(Type::Id(id)) => match resolve.types[id].kind {
            TypeDefKind::Type(inner) => is_text(resolve, Some(inner)),
            _ => false,
        },
        _ => false,
    }
}

/// Whether a type may have streams in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streams {
    No,
    OfBytes,
}

/// Whether there is a stream in a type.
pub(crate) fn has_stream(resolve: &Resolve, ty: Type) -> bool {
    let Type::Id(id) = ty else { return false };
    let kind = &resolve.types[id].kind;
    matches!(kind, TypeDefKind::Stream(_)) || parts(kind).into_iter().any(|part| has_stream(resolve, part))
}

/// Whether a provider can have what an interface has.
struct Check<'a> {
    resolve: &'a Resolve,
    interface: &'a Interface,
}

impl Check<'_> {
    fn all(&self) -> Result<(), Refusal> {
        let interface = &self.resolve.interfaces[self.interface.id];
        for (name, id) in &interface.types {
            if matches!(self.resolve.types[named(self.resolve, *id)].kind, TypeDefKind::Resource) {
                return Err(Refusal::Resource { interface: self.interface.name.clone(), name: name.clone() });
            }
            // In a type with a name they would take its traits away: a stream is there once.
            self.inside(*id, name, Streams::No)?;
        }
        for function in interface.functions.values() {
            if function.name.len() > MAX_FUNCTION {
                return Err(Refusal::TooLong { name: function.name.clone(), limit: MAX_FUNCTION });
            }
            if !matches!(function.kind, FunctionKind::Freestanding | FunctionKind::AsyncFreestanding) {
                return Err(self.no(&function.name, "resource"));
            }
            let types = function.params.iter().map(|param| param.ty).chain(function.result);
            types.into_iter().try_for_each(|ty| self.ty(ty, &function.name, Streams::OfBytes))?;
        }
        Ok(())
    }

    fn no(&self, place: &str, what: &'static str) -> Refusal {
        Refusal::Type { interface: self.interface.name.clone(), place: place.to_owned(), what }
    }

    fn ty(&self, ty: Type, place: &str, streams: Streams) -> Result<(), Refusal> {
        match ty {
            Type::ErrorContext => Err(self.no(place, "error-context")),
            // A named type is checked where it is written.
            Type::Id(id) if self.resolve.types[id].name.is_some() && self.owned(id) => Ok(()),
            Type::Id(id) => self.inside(id, place, streams),
            _ => Ok(()),
        }
    }

    fn owned(&self, id: TypeId) -> bool {
        matches!(self.resolve.types[id].owner, TypeOwner::Interface(_))
    }

    /// What a type is made of.
    fn inside(&self, id: TypeId, place: &str, streams: Streams) -> Result<(), Refusal> {
        let kind = &self.resolve.types[id].kind;
        match kind {
            TypeDefKind::Handle(_) | TypeDefKind::Resource => return Err(self.no(place, "resource")),
            TypeDefKind::Stream(Some(Type::U8)) if streams == Streams::OfBytes => {}
            TypeDefKind::Stream(_) => return Err(self.no(place, "stream")),
            TypeDefKind::Future(_) => return Err(self.no(place, "future")),
            TypeDefKind::Unknown => return Err(self.no(place, "type that is not known")),
            TypeDefKind::Tuple(tuple) if tuple.types.is_empty() || tuple.types.len() > MAX_TUPLE => {
                return Err(Refusal::Tuple {
                    interface: self.interface.name.clone(),
                    place: place.to_owned(),
                    parts: tuple.types.len(),
                });
            }
            _ => {}
        }
        parts(kind).into_iter().try_for_each(|ty| self.ty(ty, place, streams))
    }
}

/// The types that a type is made of.
pub(crate) fn parts(kind: &TypeDefKind) -> Vec<Type> {
    match kind {
        TypeDefKind::Tuple(tuple) => tuple.types.clone(),
        TypeDefKind::Record(record) => record.fields.iter().map(|field| field.ty).collect(),
        TypeDefKind::Variant(variant) => variant.cases.iter().filter_map(|case| case.ty).collect(),
        TypeDefKind::Result(result) => result.ok.into_iter().chain(result.err).collect(),
        TypeDefKind::Map(key, value) => vec![*key, *value],
        TypeDefKind::Type(ty)
        | TypeDefKind::Option(ty)
        | TypeDefKind::List(ty)
        | TypeDefKind::FixedLengthList(ty, _) => vec![*ty],
        TypeDefKind::Future(ty) | TypeDefKind::Stream(ty) => ty.iter().copied().collect(),
        TypeDefKind::Enum(_)
        | TypeDefKind::Flags(_)
        | TypeDefKind::Handle(_)
        | TypeDefKind::Resource
        | TypeDefKind::Unknown => Vec::new(),
    }
}
