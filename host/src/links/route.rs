//! One route of an HTTP server: from a request to a component.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{Request, Response};
use lattice::{
    bus::Bus,
    model::app::{RouteSpec, RouteTarget},
    wire::{CallError, UnitId},
};
use lattice_provider::http::{Body, HttpHandler, HttpRemote};

use super::{
    link::Timed,
    road::{GRACE, Road},
    router::Router,
};

/// The handler of a route.
pub fn route(bus: &Bus, router: &Arc<Router>, caller: &UnitId, route: &RouteSpec) -> Arc<dyn HttpHandler> {
    let link = |target: &RouteTarget| {
        let deadline = Duration::from_millis(target.timeout_ms) + GRACE;
        let (bus, router, caller) = (bus.clone(), router.clone(), caller.clone());
        HttpLink::new(Road { bus, router, caller, to: target.unit.clone() }, deadline, None)
    };
    match route.to.as_slice() {
        [one] => Arc::new(link(one)),
        several => Arc::new(Shares::new(several.iter().map(|target| (target.weight, link(target))))),
    }
}

/// The way of HTTP requests to a component.
pub(super) struct HttpLink {
    road: Arc<Road>,
    remote: HttpRemote,
}

impl HttpLink {
    /// For requests that may take `deadline` each, and all of them until `until`.
    pub(super) fn new(road: Road, deadline: Duration, until: Option<Instant>) -> Self {
        let road = Arc::new(road);
        let timed = Timed { road: road.clone(), deadline, until, idempotent: Arc::default() };
        Self { remote: HttpRemote { caller: Arc::new(timed), bus: road.bus.clone() }, road }
    }
}

#[async_trait]
impl HttpHandler for HttpLink {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        match self.road.router.http(&self.road.to) {
            Some(local) => local.handle(request).await,
            None => self.remote.handle(request).await,
        }
    }
}

/// Several components, each with a share of the requests.
struct Shares<H> {
    /// Each with the sum of the weights up to its own.
    handlers: Vec<(u64, H)>,
    next: AtomicU64,
}

impl<H> Shares<H> {
    fn new(handlers: impl Iterator<Item = (u32, H)>) -> Self {
        let mut sum = 0;
        let handlers = handlers.map(|(weight, handler)| {
            sum += u64::from(weight);
            (sum, handler)
        });
        Self { handlers: handlers.collect(), next: AtomicU64::new(0) }
    }

    /// Whose turn it is. Multiples of the golden ratio lie evenly between 0 and 1 however few or many there are, so the
    /// shares hold over any run of requests and nobody gets many in a row.
    fn choose(&self) -> Option<&H> {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let turn = self.next.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        let sum = self.handlers.last()?.0;
        let at = (u128::from(turn) * u128::from(sum)) >> 64;
        self.handlers.iter().find(|(up_to, _)| at < u128::from(*up_to)).map(|(_, handler)| handler)
    }
}

#[async_trait]
impl HttpHandler for Shares<HttpLink> {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        match self.choose() {
            Some(link) => link.handle(request).await,
            None => Err(CallError::NoInstance("a route without weights".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_hold_over_few_and_many_requests() {
        let shares = Shares::new([(90, "a"), (0, "b"), (10, "c")].into_iter());
        for requests in [20usize, 100, 1000] {
            let mut counts = [0usize; 3];
            for _ in 0..requests {
                match shares.choose() {
                    Some(&"a") => counts[0] += 1,
                    Some(&"b") => counts[1] += 1,
                    _ => counts[2] += 1,
                }
            }
            assert_eq!(counts[1], 0, "weight 0 gets nothing");
            assert!(counts[2].abs_diff(requests / 10) <= 2, "{counts:?} of {requests}");
        }
    }
}
