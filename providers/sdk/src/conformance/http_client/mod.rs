//! Sending requests: what goes out, what comes back, where nothing may go, and what becomes of a request that fails. The servers are
//! the suite's own, on this machine, at an address that each request is allowed to go to.

mod bodies;
pub mod origin;
mod policy;
mod requests;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, Response, Uri};
use http_body_util::BodyExt;
use lattice::wire::{FaultCode, HttpFault, Timeouts};

use self::origin::Origin;
use super::{
    CHECK_LIMIT, Check, Suite,
    suite::{CheckFn, checks},
};
use crate::http::{Body, HttpClient, Terms};

/// What cannot succeed is told within this.
const AT_ONCE: Duration = Duration::from_secs(3);

const CHECKS: &[(&str, CheckFn<Web>)] = checks![
    requests::a_request_arrives_as_it_was_sent,
    requests::its_host_is_where_it_goes,
    requests::a_response_comes_as_it_was_answered,
    requests::a_redirect_is_an_answer,
    requests::connections_are_used_again,
    requests::answers_are_not_mixed_up,
    policy::what_is_not_allowed_is_denied,
    policy::a_private_address_is_not_reached_by_a_name,
    policy::odd_addresses_are_none,
    policy::names_of_components_are_not_looked_up,
    policy::no_tunnels_are_made,
    bodies::bodies_of_any_size_go_both_ways,
    bodies::large_bodies_need_little_memory,
    bodies::trailers_arrive,
    bodies::a_response_that_is_cut_is_an_error,
    bodies::a_request_that_is_cut_is_cut_for_the_server,
    bodies::a_reader_that_stops_ends_the_response,
    requests::a_server_that_is_not_there_is_told,
    requests::a_server_that_hangs_up_is_told,
    requests::slow_servers_meet_the_callers_timeouts,
];

/// A provider under test.
#[derive(Clone)]
struct Web {
    client: Arc<dyn HttpClient>,
    /// Its process.
    process: u32,
    /// Whether its settings let it go to private addresses.
    private: bool,
}

/// Every check of a provider that is the process of this number. `private` says whether its settings let it go to private
/// addresses; these checks do not need that.
pub fn http_client_suite(client: Arc<dyn HttpClient>, process: u32, private: bool) -> Suite {
    let mut suite = Suite::new(CHECK_LIMIT);
    let web = Web { client, process, private };
    for (name, check) in CHECKS {
        suite.add(name, check(web.clone()));
    }
    suite
}

async fn origin() -> Result<Origin, String> {
    Origin::start().await.map_err(|error| format!("the suite's own server: {error}"))
}

fn url(to: SocketAddr, path: &str) -> String {
    format!("http://{to}{path}")
}

fn request(method: Method, url: &str, body: Body) -> Result<Request<Body>, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut()) = (method, uri);
    Ok(request)
}

impl Web {
    async fn send_to(
        &self,
        allow: &[&str],
        request: Request<Body>,
        timeouts: Timeouts,
    ) -> Result<Result<Response<Body>, HttpFault>, String> {
        let allow = allow.iter().map(|entry| entry.parse().map_err(|error| format!("{entry}: {error}")));
        let allow: Vec<_> = allow.collect::<Result<_, String>>()?;
        Ok(self.client.send(request, Terms { allow: allow.into(), timeouts }).await)
    }

    /// Sends a request that is allowed.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, String> {
        let (uri, method) = (request.uri().clone(), request.method().clone());
        let allow = format!("http://{}", uri.authority().map_or("", |authority| authority.as_str()));
        let sent = self.send_to(&[&allow], request, Timeouts::default()).await?;
        sent.map_err(|fault| format!("{method} {uri}: {fault}"))
    }

    async fn get(&self, to: SocketAddr, path: &str) -> Result<Response<Body>, String> {
        self.send(request(Method::GET, &url(to, path), Body::Empty)?).await
    }

    async fn text(&self, to: SocketAddr, path: &str) -> Result<String, String> {
        let body = bytes(self.get(to, path).await?).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Why there is no response to a request that is allowed to go to these, which must be told at once.
    async fn fault(&self, url: &str, allow: &[&str], timeouts: Timeouts) -> Result<FaultCode, String> {
        let (began, request) = (Instant::now(), request(Method::GET, url, Body::Empty)?);
        let fault = match self.send_to(allow, request, timeouts).await? {
            Ok(response) => return Err(format!("{url} was answered with {}", response.status())),
            Err(fault) => fault.code,
        };
        if began.elapsed() > AT_ONCE {
            return Err(format!("{url}: {fault} was told after {:.1?}; {AT_ONCE:?} is the limit", began.elapsed()));
        }
        Ok(fault)
    }
}

async fn bytes(response: Response<Body>) -> Result<Bytes, String> {
    let body = response.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| format!("a response's body: {error}"))
}

/// Waits until it is so, but not for long.
async fn soon(what: &str, so: impl Fn() -> bool) -> Check {
    let began = Instant::now();
    while !so() {
        if began.elapsed() > AT_ONCE {
            return Err(format!("{what}: not so after {AT_ONCE:?}"));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
