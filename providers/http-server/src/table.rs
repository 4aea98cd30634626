//! Which handler a request belongs to.

use std::sync::Arc;

use lattice::model::routes::Pattern;
use lattice_provider::http::HttpHandler;

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) pattern: Pattern,
    pub(crate) handler: Arc<dyn HttpHandler>,
}

/// Routes in the order in which they are tried.
#[derive(Default)]
pub(crate) struct Table(Vec<Route>);

impl Table {
    /// A table of the routes of several owners; of two with the same pattern the later one stays.
    pub(crate) fn new<'r>(routes: impl IntoIterator<Item = &'r Route>) -> Self {
        let mut table: Vec<Route> = Vec::new();
        for route in routes {
            table.retain(|earlier| earlier.pattern != route.pattern);
            table.push(route.clone());
        }
        table.sort_by_key(|route| route.pattern.precedence());
        Self(table)
    }

    /// The handler for a request; `host` as in the `Host` header.
    pub(crate) fn find(&self, host: &str, path: &str) -> Option<&Arc<dyn HttpHandler>> {
        let host = without_port(host).to_ascii_lowercase();
        self.0.iter().find(|route| route.pattern.matches(&host, path)).map(|route| &route.handler)
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // An IPv6 address has colons of its own, inside brackets.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_cut_off() {
        assert_eq!(without_port("a.b:80"), "a.b");
        assert_eq!(without_port("a.b"), "a.b");
        assert_eq!(without_port("[::1]:80"), "[::1]");
        assert_eq!(without_port("[::1]"), "[::1]");
    }
}
