//! The names of objects as a store keeps them.

use std::borrow::Cow;

/// What a store does to names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// It keeps them as they are.
    Kept,
    /// It makes a slash of a backslash, as Azure does: that one is written `%5C`, and `%` itself `%25`.
    WithoutBackslash,
}

impl Names {
    /// A name for the store.
    pub(crate) fn stored(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::WithoutBackslash if name.contains(['%', '\\']) => {
                name.replace('%', "%25").replace('\\', "%5C").into()
            }
            _ => name.into(),
        }
    }

    /// A name from the store.
    pub(crate) fn own(self, stored: &str) -> Cow<'_, str> {
        match self {
            Self::WithoutBackslash if stored.contains('%') => stored.replace("%5C", "\\").replace("%25", "%").into(),
            _ => stored.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for name in ["a/b", "\\", "a\\b", "%", "%5C", "%255C", "\\%25", "%%", "100 %"] {
            for names in [Names::Kept, Names::WithoutBackslash] {
                assert_eq!(names.own(&names.stored(name)), name, "{names:?}");
            }
            assert!(!Names::WithoutBackslash.stored(name).contains('\\'));
        }
    }
}
