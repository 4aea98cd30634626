//! `ns:pkg/interface[@version].function`, `interface.function` or `function`, as it is written on the command line.

use std::{fmt, str::FromStr};

use lattice::{
    wire::version::is_version,
    wire::{Interface, MAX_FUNCTION},
};

/// A function of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionName {
    /// With or without a version.
    pub(crate) interface: Interface,
    /// As WIT names it, such as `get` or `[method]bucket.get`.
    pub(crate) function: String,
}

impl FromStr for FunctionName {
    type Err = String;

    /// A version has dots of its own, and so has the name of a method: the function begins after the first dot that
    /// leaves a whole version, or none, on its left, and a name on its right. A name by itself is that of a function which
    /// is in no interface.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || {
            format!(
                "`{}` is not of the form namespace:package/interface[@version].function, as in \
                 wasi:keyvalue/store@0.2.0-draft.open or acme:shop/stock.[method]shelf.count",
                text.chars().take(128).collect::<String>()
            )
        };
        let named = |at: usize| {
            let (interface, function) = (&text[..at], &text[at + 1..]);
            let version_ok = interface.split_once('@').is_none_or(|(_, version)| is_version(version));
            let interface: Interface = interface.parse().ok().filter(|_| version_ok && is_function(function))?;
            Some(Self { interface, function: function.to_owned() })
        };
        let root = || {
            let interface = Interface::ROOT.parse().ok().filter(|_| is_function(text))?;
            Some(Self { interface, function: text.to_owned() })
        };
        text.match_indices('.').find_map(|(at, _)| named(at)).or_else(root).ok_or_else(form)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.interface.unversioned() != Interface::ROOT {
            write!(f, "{}.", self.interface)?;
        }
        f.write_str(&self.function)
    }
}

/// Whether `text` is a name as functions have it: a word, or `[kind]resource` and perhaps `.word`.
fn is_function(text: &str) -> bool {
    let word = |w: &str| {
        w.starts_with(|c: char| c.is_ascii_alphabetic()) && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let named = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((kind, rest)) => !kind.is_empty() && rest.split('.').count() <= 2 && rest.split('.').all(word),
        None => word(text),
    };
    named && text.len() <= MAX_FUNCTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_is_told_from_the_version() {
        for (interface, function) in [
            ("lattice:keyvalue/store", "get-many"),
            ("lattice:keyvalue/store@0.1.0", "get"),
            ("wasi:keyvalue/store@0.2.0-draft", "open"),
            ("wasi:http/handler@0.3.0-rc-2026-01-01", "handle"),
            ("a:b/c@1.0.0-alpha.beta", "get"),
            ("a:b/c@1.0.0-rc.1+build.5", "get"),
            ("wasi:keyvalue/store@0.2.0-draft", "[method]bucket.get"),
            ("a:b/c", "[static]thing.make"),
            ("a:b/c@1.2.3", "[constructor]thing"),
            ("inline", "get"),
            ("inline", "[method]thing.get"),
        ] {
            let text = format!("{interface}.{function}");
            let name: FunctionName = text.parse().unwrap();
            assert_eq!((name.interface.to_string().as_str(), name.function.as_str()), (interface, function));
            assert_eq!(name.to_string(), text);
        }
        let root: FunctionName = "run".parse().unwrap();
        assert_eq!((root.interface.to_string().as_str(), root.function.as_str()), (Interface::ROOT, "run"));
        assert_eq!(root.to_string(), "run");
    }

    #[test]
    fn what_is_no_function_is_refused() {
        for bad in [
            "",
            "1get",
            "a:b/c",
            "a:b/c@1.0.0",
            "a:b.get",
            "a:b/c@1.get",
            "a:b/c.",
            "a:b/c.get.set",
            "a:b/c.[method]a.b.c",
        ] {
            let error = bad.parse::<FunctionName>().unwrap_err();
            assert!(error.contains("is not of the form"), "{bad}: {error}");
        }
    }
}
