//! One route of an HTTP server: from a request to a component.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use http::{Request, Response};
use lattice::{
    bus::Bus,
    model::app::{RouteSpec, RouteTarget},
    trace::{self, Kind},
    wire::{CallError, UnitId},
};
use lattice_provider::http::{Body, HANDLE, HttpHandler, HttpRemote, HttpServed, interface, recorded};

use super::{
    link::{Shown, Timed},
    road::{GRACE, Road},
    router::Router,
    shares::Shares,
};
use crate::spy::of_request;

/// The handler of a route.
pub fn route(bus: &Bus, router: &Arc<Router>, caller: &UnitId, route: &RouteSpec) -> Arc<dyn HttpHandler> {
    let link = |target: &RouteTarget| {
        let deadline = Duration::from_millis(target.timeout_ms) + GRACE;
        let (bus, router, caller) = (bus.clone(), router.clone(), caller.clone());
        HttpLink::new(Road::new(bus, router, caller, target.unit.clone()), deadline, None)
    };
    match route.to.as_slice() {
        [one] => Arc::new(link(one)),
        several => Arc::new(Shares::new(several.iter().map(|target| (target.weight, link(target))))),
    }
}

/// The way of HTTP requests to a component.
pub(super) struct HttpLink {
    timed: Arc<Timed>,
    remote: HttpRemote,
}

impl HttpLink {
    /// For requests that may take `deadline` each, and all of them until `until`.
    pub(super) fn new(road: Road, deadline: Duration, until: Option<Instant>) -> Self {
        let bus = road.bus.clone();
        let timed = Arc::new(Timed { road: Arc::new(road), deadline, until, idempotent: Arc::default() });
        Self { remote: HttpRemote { caller: timed.clone(), bus }, timed }
    }

    /// The way to a component in this process for requests that are shown as a whole: as if it were elsewhere.
    fn shown(&self, handler: Arc<dyn HttpHandler>) -> HttpRemote {
        let (timed, bus) = (self.timed.clone(), self.remote.bus.clone());
        let handler = Arc::new(HttpServed { handler, bus: bus.clone() });
        HttpRemote { caller: Arc::new(Shown { timed, handler }), bus }
    }
}

#[async_trait]
impl HttpHandler for HttpLink {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let road = &self.timed.road;
        match road.router.http(&road.to) {
            Some(local) => {
                let (spy, from, to) = (road.router.spy(), &road.caller, &road.to);
                if spy.sees_whole(from, to) {
                    return self.shown(local).handle(request).await;
                }
                let open = trace::call(Kind::Server, to, &interface(), HANDLE);
                let Some(watched) = spy.watch(from, to) else { return recorded(open, local.handle(request)).await };
                let asked = of_request(&request);
                let outcome = recorded(open, local.handle(request)).await;
                spy.saw_request(watched, (from, to), asked, &outcome);
                outcome
            }
            None => self.remote.handle(request).await,
        }
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
