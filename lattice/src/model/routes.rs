//! Route patterns of an HTTP server: `[METHOD ][host]/path`. The longest matching path of the most exact host wins, and of
//! two with the same path the one that names a method.

use std::{cmp::Reverse, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A method and a host (all of them when absent), and a path prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    /// In capital letters.
    pub method: Option<String>,
    /// In lower case, without a port; `*.example.com` is every name below `example.com`.
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
    pub const HELP: &str = "write a path such as `/` or `/api`, a host and a path such as `shop.example.com/` or \
                            `*.example.com/`, and before them a method if it shall take that alone, as in `POST /orders`";
}

/// Hosts that a route can name: a wildcard stands for one or more labels at the beginning.
fn is_host(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    name.split('.').all(label)
}

impl FromStr for Pattern {
    type Err = PatternError;
    fn from_str(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError(text.to_owned());
        let (method, rest) = match text.split_once(' ') {
            Some((method, rest)) => (Some(method), rest),
            None => (None, text),
        };
        let (host, path) = rest.split_at(rest.find('/').ok_or_else(wrong)?);
        let method_ok = method.is_none_or(|m| !m.is_empty() && m.bytes().all(|b| b.is_ascii_uppercase() || b == b'-'));
        let host_ok = host.is_empty() || is_host(host);
        let path_ok = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#'));
        if !method_ok || !host_ok || !path_ok {
            return Err(wrong());
        }
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        Ok(Self {
            method: method.map(str::to_owned),
            host: (!host.is_empty()).then(|| host.to_ascii_lowercase()),
            path: path.to_owned(),
        })
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
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        write!(f, "{}{}", self.host.as_deref().unwrap_or(""), self.path)
    }
}

impl Pattern {
    /// Whether a request for `host` (without a port, in lower case) and `path` belongs here, whatever its method. A prefix
    /// ends at a `/`: `/api` takes `/api` and `/api/x`, and not `/apix`.
    pub fn matches(&self, host: &str, path: &str) -> bool {
        let host_ok = self.host.as_deref().is_none_or(|own| match own.strip_prefix('*') {
            Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
            None => own == host,
        });
        let path_ok = self.path == "/"
            || path.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        host_ok && path_ok
    }

    /// Whether a request with `method` belongs here. Who answers `GET` answers `HEAD`.
    pub fn takes(&self, method: &str) -> bool {
        self.method.as_deref().is_none_or(|own| own == method || (own == "GET" && method == "HEAD"))
    }

    /// Sorts the routes that must be tried first to the front.
    pub fn precedence(&self) -> impl Ord + use<> {
        let host = match &self.host {
            Some(host) if host.starts_with('*') => (1, Reverse(host.len())),
            Some(_) => (0, Reverse(0)),
            None => (2, Reverse(0)),
        };
        // `HEAD` before `GET`, which would take it as well.
        let method = match self.method.as_deref() {
            Some("GET") => 1,
            Some(_) => 0,
            None => 2,
        };
        (host, Reverse(self.path.len()), method, self.clone())
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
    fn a_wildcard_is_for_names_below_and_a_method_for_itself() {
        let below = pattern("*.example.com/");
        for (host, matches) in [
            ("a.example.com", true),
            ("b.a.example.com", true),
            ("example.com", false),
            ("x-example.com", false),
            ("badexample.com", false),
        ] {
            assert_eq!(below.matches(host, "/"), matches, "{host}");
        }
        assert!(pattern("GET /").takes("GET") && pattern("GET /").takes("HEAD") && !pattern("GET /").takes("POST"));
        assert!(pattern("/").takes("POST"));
        assert_eq!(pattern("POST a.b/x/").to_string(), "POST a.b/x");
    }

    #[test]
    fn the_most_exact_route_comes_first() {
        let order = [
            "a.b/",
            "*.long.example.com/",
            "*.example.com/api",
            "*.example.com/",
            "HEAD /api/v2",
            "GET /api/v2",
            "/api/v2",
            "POST /api",
            "/api",
            "/",
        ];
        let mut routes = order.map(pattern).to_vec();
        routes.reverse();
        routes.sort_by_key(Pattern::precedence);
        assert_eq!(routes.iter().map(ToString::to_string).collect::<Vec<_>>(), order);
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for bad in ["", "api", "a b/", "/a b", "/a?b", "get /", " /", "*/", "a.*.b/", "*a.b/", "a..b/", "GET", "GET a"]
        {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }
}
