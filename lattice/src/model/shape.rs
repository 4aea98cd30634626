//! What an interface is made of, as far as two components must agree on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// One interface, as a component imports or exports it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceShape {
    /// By WIT name, such as `get` or `[method]bucket.get`.
    pub functions: BTreeMap<String, FunctionShape>,
}

/// The type of a function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionShape {
    /// `func(name: type, ...) -> type`, with every name of a type replaced by what it stands for, and resources written
    /// `interface.name`. Two functions have the same type exactly if these texts are equal.
    pub signature: String,
    /// The resources that it takes or returns.
    pub resources: BTreeSet<ResourceName>,
    /// What in its types cannot leave a component, if anything.
    pub stuck: Option<&'static str>,
}

/// A resource, by where it is defined.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResourceName {
    /// Without a version.
    pub interface: String,
    pub name: String,
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.interface, self.name)
    }
}

/// Up to this many characters a signature is shown whole.
const SHOWN: usize = 160;
/// Of a longer one, this much before the first difference and after it.
const AROUND: usize = 60;

/// Two signatures that differ, short enough for a line: long ones are cut to where they differ.
pub(super) fn contrast(one: &str, other: &str) -> (String, String) {
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    (around(one, same), around(other, same))
}

fn around(text: &str, at: usize) -> String {
    let len = text.chars().count();
    if len <= SHOWN {
        return text.to_owned();
    }
    let (begin, end) = (at.saturating_sub(AROUND), (at + AROUND).min(len));
    let part: String = text.chars().skip(begin).take(end - begin).collect();
    let mark = |cut: bool| if cut { "..." } else { "" };
    format!("{}{part}{}", mark(begin > 0), mark(end < len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_signatures_are_cut_to_their_difference() {
        assert_eq!(contrast("func()", "func(a: u8)"), ("func()".to_owned(), "func(a: u8)".to_owned()));
        let long = |ty: &str| format!("func({}x: {ty}{})", "a: u8, ".repeat(30), ", b: u8".repeat(30));
        let (one, other) = contrast(&long("u32"), &long("s32"));
        assert!(one.contains("x: u32") && other.contains("x: s32"), "{one} {other}");
        assert!(one.starts_with("...") && one.ends_with("...") && one.len() <= 2 * AROUND + 6, "{one}");
    }
}
