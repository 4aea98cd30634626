//! What stands between the macro's braces.

use proc_macro2::Span;
use syn::{
    Ident, LitStr, Token, braced, bracketed,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token,
};

/// `{ path: "wit", world: "name" }`.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) paths: Vec<String>,
    pub(crate) world: Option<String>,
    /// Where errors are shown.
    pub(crate) span: Span,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut options = Self { paths: Vec::new(), world: None, span: Span::call_site() };
        if input.is_empty() {
            options.paths.push("wit".to_owned());
            return Ok(options);
        }
        let content;
        braced!(content in input);
        while !content.is_empty() {
            let key: Ident = content.parse()?;
            content.parse::<Token![:]>()?;
            match key.to_string().as_str() {
                "path" if options.paths.is_empty() => options.paths = paths(&content)?,
                "world" if options.world.is_none() => options.world = Some(content.parse::<LitStr>()?.value()),
                "path" | "world" => return Err(syn::Error::new(key.span(), format!("`{key}` is there twice"))),
                other => {
                    return Err(syn::Error::new(key.span(), format!("there is no `{other}`, only `path`, `world`")));
                }
            }
            if !content.is_empty() {
                content.parse::<Token![,]>()?;
            }
        }
        if options.paths.is_empty() {
            options.paths.push("wit".to_owned());
        }
        Ok(options)
    }
}

/// A text, or a list of texts.
fn paths(input: ParseStream<'_>) -> syn::Result<Vec<String>> {
    if !input.peek(token::Bracket) {
        return Ok(vec![input.parse::<LitStr>()?.value()]);
    }
    let content;
    bracketed!(content in input);
    let paths = Punctuated::<LitStr, Token![,]>::parse_terminated_with(&content, |one| one.parse())?;
    if paths.is_empty() {
        return Err(content.error("expected a path"));
    }
    Ok(paths.iter().map(LitStr::value).collect())
}
