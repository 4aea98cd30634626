//! `lattice_provider::generate!`: from WIT to the trait that a provider implements, what serves it, and its client.
//!
//! [`options`] reads what stands between the braces, [`world`] what the WIT world asks for and whether a provider can
//! do that, [`types`] writes its types and [`interface`] its functions. What the generated code stands on is
//! `lattice_provider::wit`.

mod interface;
mod names;
mod options;
#[cfg(test)]
mod tests;
mod types;
mod world;

use std::path::{Path, PathBuf};

use proc_macro2::TokenStream;
use quote::quote;
use syn::{LitStr, parse_macro_input};
use wit_parser::{Resolve, WorldId};

use self::options::Options;

/// Why there is no code for what was asked.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0}")]
    Wit(String),
    #[error(transparent)]
    World(#[from] world::Refusal),
}

/// The traits, clients and serving code of a WIT world; `lattice_provider` shows how they are used.
///
/// - `path`: the WIT file or folder, or a list of them, from the folder of the crate's `Cargo.toml`; `"wit"` when left out
/// - `world`: the world, with its package where there are several paths; may be left out where there is only one
#[proc_macro]
pub fn generate(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let options = parse_macro_input!(input as Options);
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let made = read(&root, &options).and_then(|wit| {
        let code = expand(&wit.resolve, wit.world)?;
        let files = wit.files.iter().map(|path| LitStr::new(path, options.span));
        // The compiler then knows which files the code was made of.
        Ok(quote! {
            #(const _: &[u8] = ::core::include_bytes!(#files);)*
            #code
        })
    });
    made.unwrap_or_else(|error| syn::Error::new(options.span, error).into_compile_error()).into()
}

/// The WIT that the macro was pointed at.
struct Wit {
    resolve: Resolve,
    world: WorldId,
    files: Vec<String>,
}

fn read(root: &Path, options: &Options) -> Result<Wit, Error> {
    /// With all that led to it.
    fn wrong(error: impl std::fmt::Display) -> Error {
        Error::Wit(format!("{error:#}"))
    }
    let mut resolve = Resolve::default();
    let (mut packages, mut files) = (Vec::new(), Vec::new());
    for path in &options.paths {
        let (package, sources) = resolve.push_path(root.join(path)).map_err(wrong)?;
        packages.push(package);
        files.extend(sources.paths().map(|path| path.to_string_lossy().into_owned()));
    }
    let world = resolve.select_world(&packages, options.world.as_deref()).map_err(wrong)?;
    Ok(Wit { resolve, world, files })
}

/// The code for a world.
fn expand(resolve: &Resolve, world: WorldId) -> Result<TokenStream, Error> {
    let world = world::World::new(resolve, world)?;
    let modules = world.interfaces.iter().map(|interface| interface::module(&world, interface));
    let serve = interface::serve(&world);
    Ok(quote! {
        #(#modules)*
        #serve
    })
}
