//! Route patterns of an HTTP server: `[host]/path`. The longest matching path of the most exact host wins.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A host (all of them when absent) and a path prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// In lower case, without a port.
    pub host: Option<String>,
    /// Begins with `/`; ends without one, unless it is `/`.
    pub path: String,
}

/// Why a text is not a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a route")]
pub struct PatternError(String);

impl PatternError {
    /// How a route is written.
    pub const HELP: &str = "write a path such as `/` or `/api`, or a host and a path such as `shop.example.com/`";
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError(text.to_owned());
        let slash = text.find('/').ok_or_else(wrong)?;
        let (host, path) = text.split_at(slash);
        let host_ok = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        let path_ok = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        if !host_ok || !path_ok {
            return Err(wrong());
        }
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        Ok(Self { host: (!host.is_empty()).then(|| host.to_ascii_lowercase()), path: path.to_owned() })
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;
    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host.as_deref().unwrap_or(""), self.path)
    }
}

impl Pattern {
    /// Whether a request for `host` (without a port, in lower case) and `path` belongs here. A prefix ends at a `/`:
    /// `/api` takes `/api` and `/api/x`, and not `/apix`.
    pub fn matches(&self, host: &str, path: &str) -> bool {
        let host_ok = self.host.as_deref().is_none_or(|h| h == host);
        let path_ok = self.path == "/"
            || path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        host_ok && path_ok
    }

    /// Sorts the routes that must be tried first to the front.
    pub fn precedence(&self) -> impl Ord + use<> {
        (self.host.is_none(), std::cmp::Reverse(self.path.len()), self.path.clone(), self.host.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert!(pattern("/api").matches("any", "/api"));
        assert!(pattern("/api/").matches("any", "/api/x"));
        assert!(!pattern("/api").matches("any", "/apix"));
        assert!(pattern("/").matches("any", "/apix"));
        assert!(pattern("Shop.example.com/").matches("shop.example.com", "/"));
        assert!(!pattern("shop.example.com/").matches("example.com", "/"));
    }

    #[test]
    fn the_most_exact_route_comes_first() {
        let mut routes = ["/", "/api", "a.b/", "/api/v2"].map(pattern).to_vec();
        routes.sort_by_key(Pattern::precedence);
        assert_eq!(routes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.b/", "/api/v2", "/api", "/"]);
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for bad in ["", "api", "a b/", "/a b", "/a?b"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }
}
