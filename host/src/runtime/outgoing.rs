//! HTTP requests that a guest sends, by `wasi:http` 0.2 or 0.3: by its link to an HTTP client, to what that link allows;
//! to another component directly; or wherever it wants, when the command line granted that.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use lattice::{
    model::outbound::{Host, Origin, admits, internal_name},
    trace::{self, under},
    wire::{CallError, FaultCode, HttpFault, Timeouts},
};
use lattice_provider::http::{Body, BodyError, HttpHandler as _, Terms};
use lattice_provider_http_client::Client;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use crate::links::{ComponentLinks, Link};

/// The way out of one instance.
pub(super) struct Outgoing {
    granted: Option<Arc<Client>>,
    links: Arc<ComponentLinks>,
    /// The name of the link that the guest has chosen.
    chosen: Option<String>,
    /// When the call that is under way must have ended.
    pub(super) until: Instant,
}

impl Outgoing {
    pub(super) fn new(granted: Option<Arc<Client>>, links: Arc<ComponentLinks>) -> Self {
        Self { granted, links, chosen: None, until: Instant::now() }
    }

    /// From now on requests go by the link of this name.
    pub(super) fn choose(&mut self, name: &str) {
        self.chosen = Some(name.to_owned());
    }
}

/// What drives a connection: here that is the client's own.
type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Result<(Response<WasiBody>, Driver), Error>;

impl wasmtime_wasi_http::WasiHttpHooks for Outgoing {
    fn is_forbidden_header(&mut self, name: &http::HeaderName) -> bool {
        wasmtime_wasi_http::DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Driver,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let request = request.map(from_guest);
        let options = options.unwrap_or_default();
        let timeouts = Timeouts {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        if let Some(client) = self.granted.clone() {
            return Box::new(async move { to_guest(client.send_anywhere(request, timeouts).await) });
        }
        let link = self.links.outgoing().and_then(|links| links.get(self.chosen.as_deref()).cloned());
        let Some(link) = link else { return Box::new(async { Err(Error::HttpRequestDenied) }) };
        let until = self.until.min(Instant::now() + link.deadline());
        let sent = async move {
            let answered = tokio::time::timeout_at(until.into(), send(&link, request, timeouts, until)).await;
            to_guest(answered.unwrap_or_else(|_| Err(FaultCode::ResponseTimeout.into())))
        };
        // Those of 0.2 go in a task of their own.
        Box::new(under(trace::place(), sent))
    }
}

/// Sends a request where its link allows it to go.
async fn send(
    link: &Link,
    request: Request<Body>,
    timeouts: Timeouts,
    until: Instant,
) -> Result<Response<Body>, HttpFault> {
    let mut origin = origin(request.uri())?;
    let component = match origin.internal() {
        Some(name) => Some(name.unit(&link.caller().app).ok_or(FaultCode::DestinationNotFound)?),
        None => None,
    };
    if let Some(unit) = &component {
        // The app may be left out in its own requests; what is allowed is written as a whole.
        origin.host = Host::Name(internal_name(unit));
    }
    if !admits(link.allow(), &origin) {
        return Err(HttpFault::new(FaultCode::RequestDenied, format_args!("the link does not allow {origin}")));
    }
    match component {
        Some(unit) => link.component(unit, until).handle(request).await.map_err(|error| HttpFault::from(&error)),
        None => link.http_client(until).send(request, Terms { allow: link.allow().clone(), timeouts }).await,
    }
}

fn origin(uri: &Uri) -> Result<Origin, HttpFault> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    Origin::new(uri.scheme_str().unwrap_or(""), authority)
        .map_err(|error| HttpFault::new(FaultCode::RequestUriInvalid, error))
}

fn from_guest(body: WasiBody) -> Body {
    if body.is_end_stream() {
        return Body::Empty;
    }
    Body::Stream(Box::pin(body.map_err(BodyError::from)))
}

fn to_guest(answered: Result<Response<Body>, HttpFault>) -> Sent {
    match answered {
        Ok(response) => {
            let driver: Driver = Box::new(std::future::ready(Ok(())));
            Ok((response.map(|body| ToGuest(body).boxed_unsync()), driver))
        }
        Err(fault) => {
            tracing::debug!(%fault, "a request has no response");
            Err(error(fault))
        }
    }
}

/// A response's body as the guest reads it.
struct ToGuest(Body);

impl http_body::Body for ToGuest {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(|broken| {
            tracing::debug!(error = %broken, "a response's body ended early");
            match (broken.downcast_ref::<HttpFault>(), broken.downcast_ref::<CallError>()) {
                (Some(fault), _) => error(fault.clone()),
                (_, Some(CallError::Deadline(_))) => Error::HttpResponseTimeout,
                _ => Error::HttpResponseIncomplete,
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}

fn error(HttpFault { code, detail }: HttpFault) -> Error {
    match code {
        FaultCode::DnsTimeout => Error::DnsTimeout,
        FaultCode::DnsError => Error::DnsError { rcode: detail, info_code: None },
        FaultCode::DestinationNotFound => Error::DestinationNotFound,
        FaultCode::DestinationUnavailable => Error::DestinationUnavailable,
        FaultCode::DestinationIpProhibited => Error::DestinationIpProhibited,
        FaultCode::ConnectionRefused => Error::ConnectionRefused,
        FaultCode::ConnectionTerminated => Error::ConnectionTerminated,
        FaultCode::ConnectionTimeout => Error::ConnectionTimeout,
        FaultCode::ConnectionReadTimeout => Error::ConnectionReadTimeout,
        FaultCode::ConnectionLimitReached => Error::ConnectionLimitReached,
        FaultCode::TlsProtocolError => Error::TlsProtocolError,
        FaultCode::TlsCertificateError => Error::TlsCertificateError,
        FaultCode::TlsAlertReceived => Error::TlsAlertReceived { alert_id: None, alert_message: detail },
        FaultCode::RequestDenied => Error::HttpRequestDenied,
        FaultCode::RequestBodySize => Error::HttpRequestBodySize(None),
        FaultCode::RequestMethodInvalid => Error::HttpRequestMethodInvalid,
        FaultCode::RequestUriInvalid => Error::HttpRequestUriInvalid,
        FaultCode::ResponseIncomplete => Error::HttpResponseIncomplete,
        FaultCode::ResponseHeaderSectionSize => Error::HttpResponseHeaderSectionSize(None),
        FaultCode::ResponseTimeout => Error::HttpResponseTimeout,
        FaultCode::ProtocolError => Error::HttpProtocolError,
        FaultCode::InternalError => Error::InternalError(detail),
    }
}
