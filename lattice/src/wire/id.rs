//! Names that travel in subjects and keys. A value of these types cannot hold `.`, `*`, `>` or white space.
//! A copy shares its text: each call makes several.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    limits::{MAX_INTERFACE, MAX_NAME},
    version,
};

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("a {what} cannot be empty")]
    Empty { what: &'static str },
    #[error("{what} \"{text}\" is {len} bytes long; the limit is {max}")]
    TooLong { what: &'static str, text: String, len: usize, max: usize },
    #[error("{what} \"{text}\" has the character '{bad}'; use {allowed}")]
    BadCharacter { what: &'static str, text: String, bad: char, allowed: &'static str },
    #[error("\"{text}\" is not {expected}")]
    Malformed { text: String, expected: &'static str },
}

fn check_name(what: &'static str, text: &str) -> Result<(), IdError> {
    const ALLOWED: &str = "lower-case letters, digits and '-', beginning and ending with a letter or digit";
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    if text.len() > MAX_NAME {
        let cut = text.chars().take(32).collect::<String>() + "...";
        return Err(IdError::TooLong { what, text: cut, len: text.len(), max: MAX_NAME });
    }
    let bad = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    let edge = [text.chars().next(), text.chars().next_back()].into_iter().flatten().find(|c| *c == '-');
    match bad.or(edge) {
        Some(bad) => Err(IdError::BadCharacter { what, text: text.to_owned(), bad, allowed: ALLOWED }),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let check: fn(&'static str, &str) -> Result<(), IdError> = $check;
                check($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

text_id!(
    /// A lattice: hosts, apps and keys that belong together on one NATS system.
    LatticeName, "lattice name", check_name
);
text_id!(
    /// An app: what one manifest describes.
    AppName, "app name", check_name
);
text_id!(
    /// A component or provider inside an app.
    UnitName, "unit name", check_name
);
text_id!(
    /// A secret inside an app.
    SecretName, "secret name", check_name
);
text_id!(
    /// A host: the public nkey (`N...`) that it made on its first start.
    HostId, "host id", check_host
);
text_id!(
    /// One running copy of one revision of a unit on one host; 16 hexadecimal digits.
    InstanceId, "instance id", check_instance
);

fn check_host(_: &'static str, text: &str) -> Result<(), IdError> {
    let ok = text.len() == 56 && text.starts_with('N') && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7'));
    if ok {
        Ok(())
    } else {
        Err(IdError::Malformed {
            text: text.chars().take(64).collect(),
            expected: "a host id: a public nkey of 56 characters that begins with N",
        })
    }
}

fn check_instance(_: &'static str, text: &str) -> Result<(), IdError> {
    let ok = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ok {
        Ok(())
    } else {
        Err(IdError::Malformed {
            text: text.chars().take(64).collect(),
            expected: "an instance id: 16 hexadecimal digits",
        })
    }
}

impl HostId {
    /// The first eight characters: enough for a person to tell hosts apart.
    pub fn short(&self) -> &str {
        &self.0[..8]
    }
}

impl InstanceId {
    /// The id of the instance of `unit` at `revision` on `host`: the same everywhere, so nobody has to hand it out.
    /// `spec` is the digest of what the unit is: revisions of an app that was deleted and made anew repeat.
    pub fn derive(host: &HostId, unit: &UnitId, revision: u64, spec: &Digest) -> Self {
        let hash = Sha256::digest(format!("{host}\n{unit}\n{revision}\n{spec}"));
        Self(hash[..8].iter().map(|b| format!("{b:02x}")).collect::<String>().into())
    }
}

/// A unit of an app, written `app/unit`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitId {
    pub app: AppName,
    pub unit: UnitName,
}

impl UnitId {
    pub fn new(app: AppName, unit: UnitName) -> Self {
        Self { app, unit }
    }
}

impl fmt::Display for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.unit)
    }
}

impl fmt::Debug for UnitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for UnitId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (app, unit) = text.split_once('/').ok_or_else(|| IdError::Malformed {
            text: text.chars().take(128).collect(),
            expected: "a unit id of the form app/unit",
        })?;
        Ok(Self { app: app.parse()?, unit: unit.parse()? })
    }
}

impl TryFrom<String> for UnitId {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<UnitId> for String {
    fn from(id: UnitId) -> String {
        id.to_string()
    }
}

/// A WIT interface, written `namespace:package/name` or `namespace:package/name@version`; one that a world describes in
/// place belongs to no package, and is written as its `name` alone. The functions of a world that are in no interface make
/// up the interface [`ROOT`](Self::ROOT).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface {
    text: Arc<str>,
    /// Where the version begins (after `@`); the text's length when there is none.
    at: usize,
}

impl Interface {
    /// The functions that a world imports or exports by themselves. No interface of WIT can have this name.
    pub const ROOT: &str = "$root";

    /// `namespace:package/name` or `name`, without the version.
    pub fn unversioned(&self) -> &str {
        &self.text[..self.at]
    }

    /// `namespace:package`; empty when it belongs to none.
    pub fn package(&self) -> &str {
        self.unversioned().split_once('/').map_or("", |(package, _)| package)
    }

    /// The interface's own name.
    pub fn name(&self) -> &str {
        self.unversioned().split_once('/').map_or(self.unversioned(), |(_, name)| name)
    }

    /// The version after `@`, when there is one.
    pub fn version(&self) -> Option<&str> {
        self.text.get(self.at + 1..)
    }

    /// Whether something that exports this interface may serve an import of `wanted`: the names are the same, and the
    /// versions are [compatible](version::serves).
    pub fn satisfies(&self, wanted: &Self) -> bool {
        self.unversioned() == wanted.unversioned() && version::serves(wanted.version(), self.version())
    }

    /// Whether a link's key names this interface: `ns:pkg`, `ns:pkg/name`, each with or without a version, or its `name`
    /// when it belongs to no package.
    pub fn matches(&self, pattern: &str) -> bool {
        let (name, version) = pattern.split_once('@').map_or((pattern, None), |(n, v)| (n, Some(v)));
        let named = name == self.unversioned() || (name == self.package() && !name.is_empty());
        named && (version.is_none() || version == self.version())
    }
}

impl FromStr for Interface {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        const WHAT: &str = "interface";
        const EXPECTED: &str = "a WIT interface of the form namespace:package/name[@version]";
        if text.len() > MAX_INTERFACE {
            return Err(IdError::TooLong {
                what: WHAT,
                text: text.chars().take(32).collect(),
                len: text.len(),
                max: MAX_INTERFACE,
            });
        }
        let malformed = || IdError::Malformed { text: text.to_owned(), expected: EXPECTED };
        let at = text.find('@').unwrap_or(text.len());
        let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if word(text) || text == Self::ROOT {
            return Ok(Self { text: text.into(), at });
        }
        let (package, name) = text[..at].split_once('/').ok_or_else(malformed)?;
        let (namespace, package) = package.split_once(':').ok_or_else(malformed)?;
        let version = text.get(at + 1..);
        let version_ok = version.is_none_or(|v| {
            !v.is_empty() && v.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
        });
        if word(namespace) && word(package) && word(name) && version_ok {
            Ok(Self { text: text.into(), at })
        } else {
            Err(malformed())
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

impl TryFrom<String> for Interface {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Interface> for String {
    fn from(id: Interface) -> String {
        id.text.as_ref().to_owned()
    }
}

text_id!(
    /// The SHA-256 of an artifact, written `sha256:` and 64 hexadecimal digits.
    Digest, "digest", check_digest
);

fn check_digest(_: &'static str, text: &str) -> Result<(), IdError> {
    let hex = text.strip_prefix("sha256:").unwrap_or("");
    let ok = hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if ok {
        Ok(())
    } else {
        Err(IdError::Malformed {
            text: text.chars().take(80).collect(),
            expected: "a digest of the form sha256:<64 hexadecimal digits>",
        })
    }
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        Self(format!("sha256:{hex}").into())
    }

    /// The 64 hexadecimal digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_would_break_a_subject() {
        for bad in ["", "a.b", "a b", "a*", "a>", "A", "-a", "a-", "é", &"x".repeat(64)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad:?} must be refused");
        }
        for good in ["a", "shop", "shop-2", "2"] {
            assert!(good.parse::<AppName>().is_ok(), "{good:?} must be accepted");
        }
        let error = "a.b".parse::<AppName>().unwrap_err().to_string();
        assert!(error.starts_with("app name \"a.b\" has the character '.'"), "{error}");
    }

    #[test]
    fn versions_serve_each_other_by_the_rules() {
        let satisfies = |has: &str, wants: &str| {
            let interface = |version: &str| format!("a:b/c{version}").parse::<Interface>().unwrap();
            interface(has).satisfies(&interface(wants))
        };
        for (has, wants) in [
            ("@0.2.6", "@0.2.1"),
            ("@0.2.1", "@0.2.1"),
            ("@1.4.0", "@1.2.9"),
            ("@1.2.3+build", "@1.2.3"),
            ("@0.0.3", "@0.0.3"),
            ("@0.2.0-draft", "@0.2.0-draft"),
            ("", ""),
        ] {
            assert!(satisfies(has, wants), "{has} serves {wants}");
        }
        for (has, wants) in [
            ("@0.2.1", "@0.2.6"),
            ("@0.3.0", "@0.2.6"),
            ("@2.0.0", "@1.0.0"),
            ("@0.0.4", "@0.0.3"),
            ("@0.2.0", "@0.2.0-draft"),
            ("@0.2.0-draft2", "@0.2.0-draft"),
            ("", "@1.0.0"),
            ("@1.0.0", ""),
        ] {
            assert!(!satisfies(has, wants), "{has} does not serve {wants}");
        }
        let other: Interface = "a:b/d@1.0.0".parse().unwrap();
        assert!(!other.satisfies(&"a:b/c@1.0.0".parse().unwrap()));
    }

    #[test]
    fn interfaces_come_apart_and_match() {
        let store: Interface = "wasi:keyvalue/store@0.2.0-draft".parse().unwrap();
        assert_eq!((store.package(), store.name(), store.version()), ("wasi:keyvalue", "store", Some("0.2.0-draft")));
        for pattern in
            ["wasi:keyvalue", "wasi:keyvalue/store", "wasi:keyvalue@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft"]
        {
            assert!(store.matches(pattern), "{pattern}");
        }
        for pattern in ["wasi:keyval", "wasi:keyvalue/atomics", "wasi:keyvalue@0.2.1"] {
            assert!(!store.matches(pattern), "{pattern}");
        }
        let inline: Interface = "store".parse().unwrap();
        assert_eq!((inline.package(), inline.name(), inline.version()), ("", "store", None));
        assert!(Interface::ROOT.parse::<Interface>().unwrap().matches("$root"));
        assert!(inline.matches("store") && !inline.matches("") && !store.matches("store") && !store.matches(""));
        for bad in ["", "a@1.0.0", "a/b", "a:b", "a:b/", "a:b/c@", "a:b/c.d", "a:b/c d", "a.b", "a b", "$a"] {
            assert!(bad.parse::<Interface>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn instances_are_the_same_everywhere() {
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let unit: UnitId = "app/unit".parse().unwrap();
        let (spec, other) = (Digest::of(b"spec"), Digest::of(b"other"));
        assert_eq!(InstanceId::derive(&host, &unit, 1, &spec), InstanceId::derive(&host, &unit, 1, &spec));
        assert_ne!(InstanceId::derive(&host, &unit, 1, &spec), InstanceId::derive(&host, &unit, 2, &spec));
        assert_ne!(InstanceId::derive(&host, &unit, 1, &spec), InstanceId::derive(&host, &unit, 1, &other));
    }
}
