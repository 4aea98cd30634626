//! Which handler a request belongs to.

use std::sync::Arc;

use http::Method;
use lattice::{model::routes::Pattern, wire::UnitId};
use lattice_provider::http::HttpHandler;

use crate::cors::Cors;

/// What a unit wants done with the requests of its routes.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Largest request body, in bytes.
    pub(crate) max_body: usize,
    pub(crate) cors: Option<Cors>,
    pub(crate) forwarded: bool,
    pub(crate) access_log: bool,
    /// Whose requests they are, where they are traced.
    pub(crate) traced: Option<UnitId>,
}

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) pattern: Pattern,
    pub(crate) handler: Arc<dyn HttpHandler>,
    pub(crate) policy: Arc<Policy>,
}

/// Routes in the order in which they are tried.
#[derive(Default)]
pub(crate) struct Table(Vec<Route>);

/// What a table says of a request.
pub(crate) enum Found<'t> {
    Route(&'t Route),
    /// Somebody answers here, but other methods: these.
    OtherMethods(Vec<&'t str>),
    Nothing,
}

impl Table {
    /// A table of the routes of several owners; of two with the same pattern the later one stays.
    pub(crate) fn new(routes: Vec<Route>) -> Self {
        let mut table: Vec<Route> = Vec::with_capacity(routes.len());
        for route in routes {
            table.retain(|earlier| earlier.pattern != route.pattern);
            table.push(route);
        }
        table.sort_by_cached_key(|route| route.pattern.precedence());
        Self(table)
    }

    /// The route of a request; `host` as in the `Host` header.
    pub(crate) fn find(&self, method: &Method, host: &str, path: &str) -> Found<'_> {
        let host = without_port(host).to_ascii_lowercase();
        let mut others = Vec::new();
        for route in self.0.iter().filter(|route| route.pattern.matches(&host, path)) {
            if route.pattern.takes(method.as_str()) {
                return Found::Route(route);
            }
            others.extend(route.pattern.method.as_deref());
        }
        others.sort_unstable();
        if others.is_empty() { Found::Nothing } else { Found::OtherMethods(others) }
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
