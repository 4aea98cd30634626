//! WIT types in Rust, with their way to the wire and back.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use wit_parser::{
    Case, Docs, Field, Flags, InterfaceId, Record, Type, TypeDef, TypeDefKind, TypeId, TypeOwner, Variant,
};

use crate::{
    names::{camel, shouting, snake, words},
    world::{World, is_text, named, parts, rest_case},
};

/// Comments of the WIT.
pub(crate) fn docs(docs: &Docs) -> TokenStream {
    let lines = docs.contents.iter().flat_map(|contents| contents.trim().lines().map(|line| format!(" {line}")));
    quote! { #(#[doc = #lines])* }
}

/// Writes types as they are seen from one interface's module.
pub(crate) struct Types<'w> {
    pub(crate) world: &'w World<'w>,
    pub(crate) interface: InterfaceId,
}

impl Types<'_> {
    /// A type where it is used.
    pub(crate) fn ty(&self, ty: Type) -> TokenStream {
        match ty {
            Type::Bool => quote!(bool),
            Type::U8 => quote!(u8),
            Type::U16 => quote!(u16),
            Type::U32 => quote!(u32),
            Type::U64 => quote!(u64),
            Type::S8 => quote!(i8),
            Type::S16 => quote!(i16),
            Type::S32 => quote!(i32),
            Type::S64 => quote!(i64),
            Type::F32 => quote!(f32),
            Type::F64 => quote!(f64),
            Type::Char => quote!(char),
            // The check of the world has refused the latter.
            Type::String | Type::ErrorContext => quote!(::std::string::String),
            Type::Id(id) => self.id(id),
        }
    }

    /// `()` where there is none.
    pub(crate) fn maybe(&self, ty: Option<Type>) -> TokenStream {
        ty.map_or(quote!(()), |ty| self.ty(ty))
    }

    fn id(&self, id: TypeId) -> TokenStream {
        let def = &self.world.resolve.types[id];
        match (&def.name, def.owner) {
            (Some(name), TypeOwner::Interface(owner)) => self.path(owner, name),
            _ => self.anonymous(def),
        }
    }

    fn path(&self, owner: InterfaceId, name: &str) -> TokenStream {
        let name = self.world.type_name(owner, name);
        match self.world.module_of(owner) {
            Some(module) if owner != self.interface => quote!(super::#module::#name),
            _ => quote!(#name),
        }
    }

    fn anonymous(&self, def: &TypeDef) -> TokenStream {
        match &def.kind {
            TypeDefKind::Type(ty) => self.ty(*ty),
            TypeDefKind::Option(ty) => {
                let ty = self.ty(*ty);
                quote!(::core::option::Option<#ty>)
            }
            TypeDefKind::Result(result) => {
                let (ok, err) = (self.maybe(result.ok), self.maybe(result.err));
                quote!(::core::result::Result<#ok, #err>)
            }
            TypeDefKind::List(ty) if self.is_byte(*ty) => quote!(::lattice_provider::wit::Bytes),
            TypeDefKind::List(ty) => {
                let ty = self.ty(*ty);
                quote!(::std::vec::Vec<#ty>)
            }
            TypeDefKind::FixedLengthList(ty, length) => {
                let (ty, length) = (self.ty(*ty), *length as usize);
                quote!([#ty; #length])
            }
            TypeDefKind::Map(key, value) => {
                let (key, value) = (self.ty(*key), self.ty(*value));
                quote!(::std::collections::BTreeMap<#key, #value>)
            }
            TypeDefKind::Tuple(tuple) => {
                let parts = tuple.types.iter().map(|ty| self.ty(*ty));
                quote!((#(#parts,)*))
            }
            // Of bytes: the check of the world has refused the others.
            TypeDefKind::Stream(_) => quote!(::lattice_provider::ByteStream),
            // These have names, or were refused by the check of the world.
            TypeDefKind::Record(_)
            | TypeDefKind::Variant(_)
            | TypeDefKind::Enum(_)
            | TypeDefKind::Flags(_)
            | TypeDefKind::Resource
            | TypeDefKind::Handle(_)
            | TypeDefKind::Future(_)
            | TypeDefKind::Unknown => quote!(()),
        }
    }

    fn is_byte(&self, ty: Type) -> bool {
        match ty {
            Type::U8 => true,
            Type::Id(id) => match self.world.resolve.types[id].kind {
                TypeDefKind::Type(inner) => self.is_byte(inner),
                _ => false,
            },
            _ => false,
        }
    }

    /// What stands in the module for a type of its interface.
    pub(crate) fn define(&self, wit: &str, id: TypeId) -> TokenStream {
        let def = &self.world.resolve.types[id];
        let (name, docs) = (self.world.type_name(self.interface, wit), docs(&def.docs));
        let defined = match &def.kind {
            TypeDefKind::Record(record) => self.record(&name, id, record),
            TypeDefKind::Variant(variant) => self.variant(&name, id, variant),
            TypeDefKind::Enum(cases) => {
                let bare = |case: &wit_parser::EnumCase| Case {
                    name: case.name.clone(),
                    ty: None,
                    docs: case.docs.clone(),
                    span: case.span,
                };
                let cases: Vec<_> = cases.cases.iter().map(bare).collect();
                self.cases(&name, id, &cases, &quote!(Enum))
            }
            TypeDefKind::Flags(flags) => flags_type(&name, flags),
            // A type of another interface, by the same name or another one.
            TypeDefKind::Type(Type::Id(other)) if self.is_foreign(*other) => {
                let path = self.id(*other);
                return quote! { #docs pub use #path as #name; };
            }
            _ => {
                let ty = self.anonymous(def);
                quote! { pub type #name = #ty; }
            }
        };
        quote! { #docs #defined }
    }

    fn is_foreign(&self, id: TypeId) -> bool {
        let def = &self.world.resolve.types[id];
        def.name.is_some() && matches!(def.owner, TypeOwner::Interface(owner) if owner != self.interface)
    }

    fn record(&self, name: &Ident, id: TypeId, record: &Record) -> TokenStream {
        let traits = self.traits(id);
        let fields: Vec<_> = record.fields.iter().map(|field| snake(&field.name)).collect();
        let wit = record.fields.iter().map(|field| &field.name);
        let types: Vec<_> = record.fields.iter().map(|field| self.ty(field.ty)).collect();
        let docs = record.fields.iter().map(|field: &Field| docs(&field.docs));
        let error = self.world.is_error(id).then(|| {
            quote! {
                impl ::core::fmt::Display for #name {
                    fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        ::core::fmt::Debug::fmt(self, f)
                    }
                }
                impl ::core::error::Error for #name {}
            }
        });
        let body = quote! {
            fn shape() -> wit::Shape {
                wit::Shape::Record(::core::convert::From::from([
                    #((::core::convert::From::from(#wit), <#types as wit::WitType>::shape()),)*
                ]))
            }
            fn put(&self, out: &mut ::std::vec::Vec<u8>) {
                #(wit::WitType::put(&self.#fields, out);)*
            }
            fn take(from: &mut wit::Reader<'_>) -> ::core::result::Result<Self, wit::ValueError> {
                ::core::result::Result::Ok(Self { #(#fields: wit::WitType::take(from)?,)* })
            }
        };
        quote! {
            #traits
            pub struct #name { #(#docs pub #fields: #types,)* }
            impl wit::WitType for #name { #body }
            #error
        }
    }

    fn variant(&self, name: &Ident, id: TypeId, variant: &Variant) -> TokenStream {
        let defined = self.cases(name, id, &variant.cases, &quote!(Variant));
        let rest = rest_case(self.world.resolve, variant).filter(|_| self.world.is_error(id));
        let Some(rest) = rest.map(|case| camel(&case.name)) else { return defined };
        let denied = variant.cases.iter().any(|case| case.name == "access-denied" && case.ty.is_none());
        let denied = denied.then(|| quote!(wit::CallError::Denied(_) => Self::AccessDenied,));
        quote! {
            #defined
            /// A call that failed on its way.
            impl ::core::convert::From<wit::CallError> for #name {
                fn from(error: wit::CallError) -> Self {
                    match error {
                        #denied
                        other => Self::#rest(::std::string::ToString::to_string(&other)),
                    }
                }
            }
        }
    }

    /// An enum; `shape` is how its cases are called there.
    fn cases(&self, name: &Ident, id: TypeId, cases: &[Case], shape: &TokenStream) -> TokenStream {
        let traits = self.traits(id);
        let idents: Vec<_> = cases.iter().map(|case| camel(&case.name)).collect();
        let docs = cases.iter().map(|case| docs(&case.docs));
        let payloads = cases.iter().map(|case| case.ty.map(|ty| self.ty(ty)).map(|ty| quote!((#ty))));
        let count = cases.len();
        let shapes = cases.iter().map(|case| {
            let wit = &case.name;
            if shape.to_string() == "Enum" {
                return quote!(::core::convert::From::from(#wit));
            }
            let content = self.maybe(case.ty);
            quote!((::core::convert::From::from(#wit), <#content as wit::WitType>::content()))
        });
        let puts = (0u64..).zip(cases).zip(&idents).map(|((number, case), ident)| match case.ty {
            Some(_) => quote!(Self::#ident(content) => {
                wit::put_varint(out, #number);
                wit::WitType::put(content, out);
            }),
            None => quote!(Self::#ident => wit::put_varint(out, #number),),
        });
        let takes = (0u32..).zip(cases).zip(&idents).map(|((number, case), ident)| {
            // The number is below the count, so that the last one is what is left.
            let number = if number as usize + 1 == count { quote!(_) } else { quote!(#number) };
            let content = case.ty.map(|_| quote!((wit::WitType::take(from)?)));
            quote!(#number => Self::#ident #content,)
        });
        let body = quote! {
            fn shape() -> wit::Shape {
                wit::Shape::#shape(::core::convert::From::from([#(#shapes,)*]))
            }
            fn put(&self, out: &mut ::std::vec::Vec<u8>) {
                match self { #(#puts)* }
            }
            fn take(from: &mut wit::Reader<'_>) -> ::core::result::Result<Self, wit::ValueError> {
                ::core::result::Result::Ok(match from.case(#count)? { #(#takes)* })
            }
        };
        let error = self.world.is_error(id).then(|| self.error(name, cases, &idents));
        quote! {
            #traits
            pub enum #name { #(#docs #idents #payloads,)* }
            impl wit::WitType for #name { #body }
            #error
        }
    }

    /// What it says as an error: the words of the case, and what is in it.
    fn error(&self, name: &Ident, cases: &[Case], idents: &[Ident]) -> TokenStream {
        let arms = cases.iter().zip(idents).map(|(case, ident)| {
            let words = words(&case.name);
            match case.ty {
                None => quote!(Self::#ident => f.write_str(#words),),
                Some(ty)
                    if matches!(case.name.as_str(), "other" | "unexpected")
                        && is_text(self.world.resolve, Some(ty)) =>
                {
                    quote!(Self::#ident(content) => f.write_str(content),)
                }
                Some(ty) => {
                    let format = if self.has_words(ty) { format!("{words}: {{}}") } else { format!("{words}: {{:?}}") };
                    quote!(Self::#ident(content) => ::core::write!(f, #format, content),)
                }
            }
        });
        quote! {
            impl ::core::fmt::Display for #name {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    match self { #(#arms)* }
                }
            }
            impl ::core::error::Error for #name {}
        }
    }

    /// Whether it has a form for people.
    fn has_words(&self, ty: Type) -> bool {
        match ty {
            Type::Id(id) => match self.world.resolve.types[id].kind {
                TypeDefKind::Type(inner) => self.has_words(inner),
                _ => self.world.is_error(id),
            },
            _ => true,
        }
    }

    /// The traits that every use of a type can have.
    fn traits(&self, id: TypeId) -> TokenStream {
        let ty = Type::Id(id);
        let exact = (!self.any(ty, &|ty, _| matches!(ty, Type::F32 | Type::F64))).then(|| quote!(Eq, Hash,));
        let plain = matches!(self.world.resolve.types[id].kind, TypeDefKind::Enum(_)).then(|| quote!(Copy,));
        // Nobody can say which case is the usual one, and long arrays have no default in Rust.
        let chosen = |_: Type, kind: Option<&TypeDefKind>| {
            matches!(
                kind,
                Some(
                    TypeDefKind::Variant(_)
                        | TypeDefKind::Enum(_)
                        | TypeDefKind::Result(_)
                        | TypeDefKind::FixedLengthList(..)
                )
            )
        };
        let default = (!self.any(ty, &chosen)).then(|| quote!(Default,));
        quote!(#[derive(Debug, Clone, PartialEq, #exact #plain #default)])
    }

    /// Whether `what` holds of a type or of anything in it.
    fn any(&self, ty: Type, what: &dyn Fn(Type, Option<&TypeDefKind>) -> bool) -> bool {
        let Type::Id(id) = ty else { return what(ty, None) };
        let kind = &self.world.resolve.types[named(self.world.resolve, id)].kind;
        what(ty, Some(kind)) || parts(kind).into_iter().any(|part| self.any(part, what))
    }
}

/// Flags are a set of bits with a constant for each.
fn flags_type(name: &Ident, flags: &Flags) -> TokenStream {
    let count = flags.flags.len();
    let bytes = count.div_ceil(8);
    let bits = |set: &dyn Fn(usize) -> bool| {
        let byte = |at: usize| (0..8).filter(|bit| set(at * 8 + bit)).fold(0u8, |byte, bit| byte | 1 << bit);
        let bytes = (0..bytes).map(byte);
        quote!(Self([#(#bytes),*]))
    };
    let wit: Vec<_> = flags.flags.iter().map(|flag| &flag.name).collect();
    let consts: Vec<_> = flags.flags.iter().map(|flag| shouting(&flag.name)).collect();
    let docs = flags.flags.iter().map(|flag| docs(&flag.docs));
    let values = (0..count).map(|n| bits(&|bit| bit == n));
    let (none, all) = (bits(&|_| false), bits(&|bit| bit < count));
    quote! {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct #name([u8; #bytes]);
        impl #name {
            #(#docs pub const #consts: Self = #values;)*
            /// None of them.
            pub const fn empty() -> Self { #none }
            /// All of them.
            pub const fn all() -> Self { #all }
            /// Whether all of `flags` are set.
            pub fn contains(&self, flags: Self) -> bool { *self & flags == flags }
            /// Whether none is set.
            pub fn is_empty(&self) -> bool { *self == Self::empty() }
        }
        impl ::core::ops::BitOr for #name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self { Self(::core::array::from_fn(|n| self.0[n] | other.0[n])) }
        }
        impl ::core::ops::BitAnd for #name {
            type Output = Self;
            fn bitand(self, other: Self) -> Self { Self(::core::array::from_fn(|n| self.0[n] & other.0[n])) }
        }
        impl ::core::ops::Not for #name {
            type Output = Self;
            fn not(self) -> Self { Self(::core::array::from_fn(|n| !self.0[n])) & Self::all() }
        }
        impl ::core::fmt::Debug for #name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let mut set = f.debug_set();
                #(if self.contains(Self::#consts) { set.entry(&::core::format_args!(#wit)); })*
                set.finish()
            }
        }
        impl wit::WitType for #name {
            fn shape() -> wit::Shape {
                wit::Shape::Flags(::core::convert::From::from([#(::core::convert::From::from(#wit),)*]))
            }
            fn put(&self, out: &mut ::std::vec::Vec<u8>) { out.extend_from_slice(&self.0); }
            /// Bits that stand for nothing are left out.
            fn take(from: &mut wit::Reader<'_>) -> ::core::result::Result<Self, wit::ValueError> {
                ::core::result::Result::Ok(Self(from.array()?) & Self::all())
            }
        }
    }
}
