//! An interface's module: its types, its trait, what serves an implementation, and its client.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use wit_parser::{Function, Type};

use crate::{
    names::snake,
    types::{Types, docs},
    world::{Carries, Interface, Outcome, World, carries, has_stream, outcome},
};

/// So many arguments go into one tuple.
const MAX_TUPLE: usize = 12;

/// The module of one interface.
pub(crate) fn module(world: &World<'_>, interface: &Interface) -> TokenStream {
    let types = Types { world, interface: interface.id };
    let defined = world.resolve.interfaces[interface.id].types.iter().map(|(name, id)| types.define(name, *id));
    let functions: Vec<_> =
        world.functions(interface).into_iter().map(|function| Served::new(&types, function)).collect();
    let (module, name) = (&interface.module, &interface.name);
    let doc = format!(" `{name}`.");
    let calls = (!functions.is_empty()).then(|| {
        let contract = contract(name, &functions);
        let face = Face { world, interface, functions: &functions };
        let (the_trait, remote) = (face.the_trait(), face.remote());
        let handler = interface.exported.then(|| face.handler());
        quote! { #contract #the_trait #handler #remote }
    });
    quote! {
        #[doc = #doc]
        #[allow(
            dead_code, missing_docs, unreachable_pub, unused_qualifications, non_camel_case_types, clippy::all, clippy::pedantic,
            reason = "the shape of this code is decided by the WIT that it was made of"
        )]
        pub mod #module {
            use ::lattice_provider::wit;
            #(#defined)*
            #calls
        }
    }
}

/// Serves all that the world exports.
pub(crate) fn serve(world: &World<'_>) -> TokenStream {
    let modules: Vec<_> = world.served().map(|interface| &interface.module).collect();
    if modules.is_empty() {
        return TokenStream::new();
    }
    let traits = world.served().map(|interface| {
        let (module, name) = (&interface.module, world.trait_name(interface.id));
        quote!(#module::#name)
    });
    let with = world.served().map(|interface| world.has_streams(interface).then(|| quote!(, exchange.clone())));
    let any = world.served().any(|interface| world.has_streams(interface));
    let exchange = any.then(|| quote!(, exchange: ::lattice_provider::wit::Exchange));
    quote! {
        /// What a provider of this world serves: the calls of each interface go to `provider`.
        #[allow(dead_code, missing_docs, unreachable_pub, reason = "what is served in another way has no use for it")]
        pub fn serve(provider: impl #(#traits)+* #exchange) -> ::lattice_provider::Capability {
            let provider = ::std::sync::Arc::new(provider);
            ::lattice_provider::Capability::Wit(::core::iter::FromIterator::from_iter([
                #((
                    #modules::interface(),
                    ::std::sync::Arc::new(#modules::Handler(provider.clone() #with))
                        as ::std::sync::Arc<dyn ::lattice_provider::wit::CallHandler>,
                ),)*
            ]))
        }
    }
}

/// One function in Rust.
struct Served<'w> {
    wit: &'w str,
    name: Ident,
    docs: TokenStream,
    params: Vec<(&'w str, Ident, TokenStream)>,
    /// The whole of what it returns over the wire; `()` is nothing.
    returned: TokenStream,
    /// What becomes of a call that failed, where the function's own error can say it.
    carries: Option<Carries>,
    /// Whether it takes or returns streams.
    streams: bool,
}

impl<'w> Served<'w> {
    fn new(types: &Types<'w>, function: &'w Function) -> Self {
        let resolve = types.world.resolve;
        let param = |param: &'w wit_parser::Param| (param.name.as_str(), snake(&param.name), types.ty(param.ty));
        let outcome = outcome(resolve, function);
        let returned = match &outcome {
            Some(Outcome { ok, error }) => {
                let (ok, error) = (types.maybe(*ok), types.maybe(*error));
                quote!(::core::result::Result<#ok, #error>)
            }
            None => types.maybe(function.result.map(|ty: Type| ty)),
        };
        Self {
            wit: &function.name,
            name: snake(&function.name),
            docs: docs(&function.docs),
            params: function.params.iter().map(param).collect(),
            returned,
            carries: outcome.map(|outcome| carries(resolve, outcome.error)),
            streams: function
                .params
                .iter()
                .map(|param| param.ty)
                .chain(function.result)
                .any(|ty| has_stream(resolve, ty)),
        }
    }

    /// What the trait's function returns: a function without a `result` may fail as a call does.
    fn output(&self) -> TokenStream {
        let returned = &self.returned;
        match self.carries {
            Some(_) => quote!(#returned),
            None => quote!(::core::result::Result<#returned, wit::CallError>),
        }
    }

    fn signature(&self, output: &TokenStream) -> TokenStream {
        let name = &self.name;
        let params = self.params.iter().map(|(_, name, ty)| quote!(#name: #ty));
        quote!(async fn #name(&self, #(#params),*) -> #output)
    }

    /// Names, or types, as tuples of at most as many parts as Rust has traits for. Tuples in tuples are the same bytes.
    fn tuple(parts: &[TokenStream]) -> TokenStream {
        if parts.len() <= MAX_TUPLE {
            return quote!((#(#parts,)*));
        }
        let tuples: Vec<_> = parts.chunks(MAX_TUPLE).map(Self::tuple).collect();
        Self::tuple(&tuples)
    }
}

/// What the wire knows of the interface.
fn contract(name: &str, functions: &[Served<'_>]) -> TokenStream {
    let names = functions.iter().map(|function| function.wit);
    let shapes = functions.iter().map(|function| {
        let params = function
            .params
            .iter()
            .map(|(wit, _, ty)| quote!((::core::convert::From::from(#wit), <#ty as wit::WitType>::shape())));
        let returned = &function.returned;
        quote! {
            wit::FunctionShape {
                params: ::core::convert::From::from([#(#params,)*]),
                result: <#returned as wit::WitType>::content(),
            }
        }
    });
    quote! {
        /// The functions of the interface, by their WIT names.
        pub const FUNCTIONS: &[&str] = &[#(#names),*];

        static CONTRACT: wit::Contract = wit::Contract::new(#name, FUNCTIONS, || ::std::vec![#(#shapes),*]);

        /// The interface as it is called over the lattice.
        pub fn interface() -> wit::Interface {
            CONTRACT.interface().clone()
        }

        /// What a function of the interface takes and returns.
        pub fn function_shape(function: &str) -> ::core::option::Option<&'static wit::FunctionShape> {
            CONTRACT.function_shape(function)
        }
    }
}

/// An interface that has functions.
struct Face<'a> {
    world: &'a World<'a>,
    interface: &'a Interface,
    functions: &'a [Served<'a>],
}

impl Face<'_> {
    fn trait_name(&self) -> Ident {
        self.world.trait_name(self.interface.id)
    }

    /// Where streams are offered and taken, as a further field.
    fn exchange(&self) -> Option<TokenStream> {
        self.world.has_streams(self.interface).then(|| quote!(, pub wit::Exchange))
    }

    fn the_trait(&self) -> TokenStream {
        let name = self.trait_name();
        let docs = docs(&self.world.resolve.interfaces[self.interface.id].docs);
        let functions = self.functions.iter().map(|function| {
            let (docs, signature) = (&function.docs, function.signature(&function.output()));
            quote!(#docs #signature;)
        });
        quote! {
            #docs
            #[wit::async_trait]
            pub trait #name: ::core::marker::Send + ::core::marker::Sync + 'static {
                #(#functions)*
            }
        }
    }

    fn handler(&self) -> TokenStream {
        let the_trait = self.trait_name();
        let arms = self.functions.iter().enumerate().map(|(index, function)| {
            let (wit, name) = (function.wit, &function.name);
            let names: Vec<_> = (0..function.params.len()).map(|n| format_ident!("argument_{n}")).collect();
            let parts: Vec<_> = names.iter().map(|name| quote!(#name)).collect();
            let types: Vec<_> = function.params.iter().map(|(_, _, ty)| ty.clone()).collect();
            let (pattern, types) = (Served::tuple(&parts), Served::tuple(&types));
            let failed = function.carries.is_none().then(|| quote!(?));
            if function.streams {
                return quote! {
                    #wit => {
                        let mut arguments: #types = CONTRACT.arguments(#index, head.content_type, &payload)?;
                        self.1.take_in(&mut arguments).await?;
                        let #pattern = arguments;
                        let returned = self.0.#name(#(#names),*).await #failed;
                        CONTRACT.reply_with_streams(&self.1, #index, head.content_type, returned).await
                    }
                };
            }
            quote! {
                #wit => {
                    let #pattern: #types = CONTRACT.arguments(#index, head.content_type, &payload)?;
                    let returned = self.0.#name(#(#names),*).await #failed;
                    CONTRACT.reply(#index, head.content_type, &returned)
                }
            }
        });
        let exchange = self.exchange();
        quote! {
            /// Answers calls from the lattice with an implementation of the trait.
            pub struct Handler(pub ::std::sync::Arc<dyn #the_trait> #exchange);

            #[wit::async_trait]
            impl wit::CallHandler for Handler {
                async fn call(
                    &self,
                    head: wit::CallHead,
                    payload: wit::Bytes,
                ) -> ::core::result::Result<wit::Bytes, wit::CallError> {
                    CONTRACT.check(&head)?;
                    match head.function.as_str() {
                        #(#arms)*
                        _ => ::core::result::Result::Err(CONTRACT.not_served(&head)),
                    }
                }
            }
        }
    }

    fn remote(&self) -> TokenStream {
        let the_trait = self.trait_name();
        // A function whose error has no room for a call that failed needs one outside of it, and so another signature.
        let same = self.functions.iter().all(|function| function.carries != Some(Carries::No));
        let functions = self.functions.iter().enumerate().map(|(index, function)| {
            let names: Vec<_> = function.params.iter().map(|(_, name, _)| quote!(#name)).collect();
            let (arguments, returned) = (Served::tuple(&names), &function.returned);
            let call = if function.streams {
                quote!(CONTRACT.call_with_streams::<_, #returned>(&*self.0, &self.1, #index, #arguments).await)
            } else {
                quote!(CONTRACT.call::<_, #returned>(&*self.0, #index, &#arguments).await)
            };
            if !same {
                let (docs, call) = (&function.docs, &call);
                let signature = function.signature(&quote!(::core::result::Result<#returned, wit::CallError>));
                return quote!(#docs pub #signature { #call });
            }
            let signature = function.signature(&function.output());
            let failed = match function.carries {
                None | Some(Carries::No) => return quote!(#signature { #call }),
                Some(Carries::Text) => quote!(::std::string::ToString::to_string(&error)),
                Some(Carries::Other) => quote!(::core::convert::From::from(error)),
            };
            quote! {
                #signature {
                    match #call {
                        ::core::result::Result::Ok(returned) => returned,
                        ::core::result::Result::Err(error) => ::core::result::Result::Err(#failed),
                    }
                }
            }
        });
        let functions = if same {
            quote! {
                #[wit::async_trait]
                impl #the_trait for Remote { #(#functions)* }
            }
        } else {
            quote! {
                /// A call may fail on its way; what the function itself returns, an error or not, is inside.
                impl Remote { #(#functions)* }
            }
        };
        let exchange = self.exchange();
        quote! {
            /// The interface, wherever a [`Caller`](::lattice_provider::Caller) finds it.
            pub struct Remote(pub ::std::sync::Arc<dyn ::lattice_provider::Caller> #exchange);
            #functions
        }
    }
}
