//! From WIT's names to Rust's.

use proc_macro2::{Ident, Span};

/// Words that are no names unless they are marked as such.
const KEYWORDS: [&str; 49] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
    "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod", "move",
    "mut", "override", "priv", "pub", "ref", "return", "static", "struct", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];
/// Words that are never names.
const NEVER: [&str; 4] = ["self", "Self", "super", "crate"];

fn ident(text: &str) -> Ident {
    if NEVER.contains(&text) {
        return Ident::new(&format!("{text}_"), Span::call_site());
    }
    if KEYWORDS.contains(&text) {
        return Ident::new_raw(text, Span::call_site());
    }
    Ident::new(text, Span::call_site())
}

/// `key-page` as `key_page`: fields, functions, modules.
pub(crate) fn snake(wit: &str) -> Ident {
    ident(&wit.replace('-', "_").to_lowercase())
}

/// `key-page` as `KEY_PAGE`: flags.
pub(crate) fn shouting(wit: &str) -> Ident {
    ident(&wit.replace('-', "_").to_uppercase())
}

/// `key-page` as `KeyPage`: types, cases.
pub(crate) fn camel(wit: &str) -> Ident {
    ident(&camel_text(wit))
}

/// A type's name beside `taken`: those that the generated code has for itself.
pub(crate) fn camel_beside(wit: &str, taken: &[&str]) -> Ident {
    let text = camel_text(wit);
    if taken.contains(&text.as_str()) { ident(&format!("{text}_")) } else { ident(&text) }
}

pub(crate) fn camel_text(wit: &str) -> String {
    let word = |word: &str| {
        let mut chars = word.chars();
        let first = chars.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(chars.map(|c| c.to_ascii_lowercase())).collect::<String>()
    };
    wit.split('-').map(word).collect()
}

/// `no-such-store` as `no such store`.
pub(crate) fn words(wit: &str) -> String {
    wit.replace('-', " ")
}
