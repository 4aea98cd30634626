//! One request, from its URI to the head of its response.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use hyper::body::Incoming;
use lattice::{
    model::outbound::{AllowedOrigin, Origin, admits, admits_address},
    trace::{self, Kind, Open, under},
    wire::{FaultCode, HttpFault, Timeouts, header::TRACEPARENT},
};
use lattice_provider::http::{Body, HttpClient, Terms};
use tokio::time::Instant;

use crate::{
    body::{Download, GiveBack, Progress, Upload},
    config::{Config, Private},
    connect::Connector,
    fault::{self, Stage},
    pool::{Pool, Sender},
    resolve::Resolver,
    tls::TlsError,
};

/// Sends requests over kept connections.
pub struct Client {
    connector: Connector,
    pool: Arc<Pool>,
    private: Private,
    timeouts: Times,
}

/// Where a request may go.
#[derive(Clone, Copy)]
enum Reach<'a> {
    Anywhere,
    Only(&'a [AllowedOrigin]),
}

/// The timeouts of one request.
#[derive(Clone, Copy)]
struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Times {
    /// The shorter of each.
    fn within(self, wanted: Timeouts) -> Self {
        let shorter = |own: Duration, wanted: Option<Duration>| wanted.map_or(own, |wanted| own.min(wanted));
        Self {
            connect: shorter(self.connect, wanted.connect),
            first_byte: shorter(self.first_byte, wanted.first_byte),
            between_bytes: shorter(self.between_bytes, wanted.between_bytes),
        }
    }
}

/// Headers of a connection, which is ours and not the sender's.
const CONNECTION: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl Client {
    pub fn new(config: &Config, resolver: Arc<dyn Resolver>) -> Result<Self, TlsError> {
        Ok(Self {
            connector: Connector::new(config, resolver)?,
            pool: Arc::new(Pool::new(config.max_connections.get(), config.keep_alive)),
            private: config.allow_private.clone(),
            timeouts: Times {
                connect: config.connect_timeout,
                first_byte: config.first_byte_timeout,
                between_bytes: config.between_bytes_timeout,
            },
        })
    }

    /// Sends a request for a user of this machine, who may send it without us as well: to any host and address.
    pub async fn send_anywhere(&self, request: Request<Body>, timeouts: Timeouts) -> Result<Response<Body>, HttpFault> {
        self.exchange(request, Reach::Anywhere, timeouts).await
    }

    /// Sends a request, as a span of its own where it is traced.
    async fn exchange(
        &self,
        mut request: Request<Body>,
        reach: Reach<'_>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, HttpFault> {
        let origin = self.destination(&request, reach)?;
        let open = begin_span(&request, &origin);
        // What the sender says itself it knows better.
        if let Some(context) = open.as_ref().and_then(Open::context).or_else(trace::current)
            && !request.headers().contains_key(TRACEPARENT)
            && let Ok(context) = HeaderValue::try_from(context.to_string())
        {
            request.headers_mut().insert(TRACEPARENT, context);
        }
        let Some(mut open) = open else { return self.attempt(request, origin, reach, timeouts).await };
        let outcome = under(open.place(), self.attempt(request, origin, reach, timeouts)).await;
        match &outcome {
            Ok(response) => {
                let status = response.status();
                open.set("http.response.status_code", status.as_u16());
                let failed = status.is_client_error() || status.is_server_error();
                open.end(failed.then_some(&status as _));
            }
            Err(fault) => open.end(Some(fault)),
        }
        outcome
    }

    async fn attempt(
        &self,
        request: Request<Body>,
        origin: Origin,
        reach: Reach<'_>,
        timeouts: Timeouts,
    ) -> Result<Response<Body>, HttpFault> {
        let times = self.timeouts.within(timeouts);
        let progress = Progress::begin();
        let mut outgoing = Outgoing::new(request, &origin, &progress)?;
        loop {
            let kept = self.pool.take(&origin, |address| self.admits(&origin, reach, address));
            let reused = kept.is_some();
            let (sender, address) = match kept {
                Some(kept) => kept,
                None => self.connect(&origin, reach, times.connect).await?,
            };
            match outgoing.send(sender, &progress, times.first_byte).await {
                Ok((response, sender)) => {
                    let back = match sender {
                        Sender::Older(sender) => Some(GiveBack { pool: self.pool.clone(), origin, address, sender }),
                        Sender::Newer(_) => None,
                    };
                    return Ok(response.map(|body| Download::wrap(body, back, times.between_bytes)));
                }
                // The server has closed it while it waited, and has seen nothing of the request.
                Err(Failed { back: Some(back), .. }) if reused => outgoing = *back,
                Err(Failed { fault, .. }) => return Err(fault),
            }
        }
    }

    /// Where a request goes, if it may.
    fn destination(&self, request: &Request<Body>, reach: Reach<'_>) -> Result<Origin, HttpFault> {
        let invalid = |error: &dyn std::fmt::Display| HttpFault::new(FaultCode::RequestUriInvalid, error);
        let uri = request.uri();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let origin = Origin::new(uri.scheme_str().unwrap_or(""), authority).map_err(|error| invalid(&error))?;
        if *request.method() == Method::CONNECT {
            return Err(HttpFault::new(FaultCode::RequestMethodInvalid, "no tunnels are made"));
        }
        match reach {
            Reach::Only(allow) if !admits(allow, &origin) => Err(FaultCode::RequestDenied.into()),
            // Components are reached inside the lattice, and no other names end so.
            _ if origin.internal().is_some() => Err(FaultCode::DestinationNotFound.into()),
            _ => Ok(origin),
        }
    }

    fn admits(&self, origin: &Origin, reach: Reach<'_>, address: IpAddr) -> bool {
        match reach {
            Reach::Anywhere => true,
            Reach::Only(allow) => self.private.admits(address) || admits_address(allow, origin, address),
        }
    }

    async fn connect(&self, origin: &Origin, reach: Reach<'_>, limit: Duration) -> Result<(Sender, IpAddr), HttpFault> {
        let permit = self.pool.permit(origin).ok_or(FaultCode::ConnectionLimitReached)?;
        let admits = |address| self.admits(origin, reach, address);
        let (sender, address) = self.connector.connect(origin, admits, permit, limit).await?;
        if let Sender::Newer(shared) = &sender {
            self.pool.keep(origin, Sender::Newer(shared.clone()), address);
        }
        Ok((sender, address))
    }
}

/// The span of a request that is traced. Of its URL all is told but what stands before the host and after the path: that may be nobody's
/// business.
fn begin_span<B>(request: &Request<B>, origin: &Origin) -> Option<Open> {
    let open = trace::step(Kind::Client, || request.method().to_string())?;
    let url = format!("{}://{}{}", origin.scheme, origin.authority(), request.uri().path());
    Some(open.with("http.request.method", request.method().as_str()).with("url.full", url))
}

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, request: Request<Body>, terms: Terms) -> Result<Response<Body>, HttpFault> {
        self.exchange(request, Reach::Only(&terms.allow), terms.timeouts).await
    }
}

/// A request that has no connection yet.
struct Outgoing {
    request: Request<Upload>,
    /// Its URI, as HTTP/1.1 and as HTTP/2 have it.
    target: Uri,
    absolute: Uri,
    host: HeaderValue,
}

/// A request that has no response.
struct Failed {
    fault: HttpFault,
    /// The request, when nothing of it was sent.
    back: Option<Box<Outgoing>>,
}

impl Outgoing {
    fn new(request: Request<Body>, origin: &Origin, progress: &Progress) -> Result<Self, HttpFault> {
        let invalid = |error: &dyn std::fmt::Display| HttpFault::new(FaultCode::RequestUriInvalid, error);
        let mut request = request.map(|body| Upload { body, progress: progress.clone() });
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let target: Uri = path.parse().map_err(|error| invalid(&error))?;
        let authority = origin.authority();
        let absolute = Uri::builder().scheme(origin.scheme.to_string().as_str()).authority(authority.as_str());
        let absolute = absolute.path_and_query(path).build().map_err(|error| invalid(&error))?;
        let host = HeaderValue::try_from(authority).map_err(|error| invalid(&error))?;
        for name in &CONNECTION {
            request.headers_mut().remove(name);
        }
        // Servers of HTTP/1.1 send trailers to who asks for them in this way; other encodings are not spoken.
        if request.headers().get(header::TE).is_some_and(|wanted| wanted != "trailers") {
            request.headers_mut().remove(header::TE);
        }
        Ok(Self { request, target, absolute, host })
    }

    /// Waits for the head of the response.
    async fn send(
        self,
        mut sender: Sender,
        progress: &Progress,
        limit: Duration,
    ) -> Result<(Response<Incoming>, Sender), Failed> {
        let Self { mut request, target, absolute, host } = self;
        let sent = match &mut sender {
            Sender::Older(sender) => {
                request.headers_mut().insert(header::HOST, host.clone());
                *request.uri_mut() = target.clone();
                *request.version_mut() = Version::HTTP_11;
                within(limit, progress, sender.try_send_request(request)).await
            }
            Sender::Newer(sender) => {
                request.headers_mut().remove(header::HOST);
                *request.uri_mut() = absolute.clone();
                *request.version_mut() = Version::HTTP_2;
                within(limit, progress, sender.try_send_request(request)).await
            }
        };
        match sent {
            Some(Ok(response)) => Ok((response, sender)),
            Some(Err(mut error)) => {
                let back = error.take_message();
                let back = back.map(|request| Box::new(Self { request, target, absolute, host }));
                Err(Failed { fault: fault::exchange(error.error(), Stage::Head), back })
            }
            None => Err(Failed { fault: FaultCode::ConnectionReadTimeout.into(), back: None }),
        }
    }
}

/// Waits for `response`, as long as the request's body goes on, and then `limit`.
async fn within<F: Future>(limit: Duration, progress: &Progress, response: F) -> Option<F::Output> {
    let mut response = pin!(response);
    loop {
        let until = progress.last() + limit;
        match tokio::time::timeout_at(until, &mut response).await {
            Ok(response) => return Some(response),
            Err(_) if progress.last() + limit > Instant::now() => {}
            Err(_) => return None,
        }
    }
}
