//! A collector of OpenTelemetry: it takes what hosts tell by OTLP over HTTP, in JSON, and keeps it for the test to look at.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

/// Ends when dropped.
pub struct Collector {
    pub address: SocketAddr,
    told: Arc<Mutex<Told>>,
    runtime: Option<Runtime>,
}

/// What has come.
#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    /// The newest value of each, by its name and attributes.
    metrics: BTreeMap<String, Value>,
    /// Of the requests.
    authorization: Option<String>,
}

/// A span, as the collector was told of it.
#[derive(Debug, Clone)]
pub struct Span {
    /// `app/unit`.
    pub unit: String,
    pub name: String,
    /// In lower case, as in `server`.
    pub kind: &'static str,
    pub trace: String,
    pub id: String,
    pub parent: String,
    /// In nanoseconds since 1970.
    pub began: u64,
    pub ended: u64,
    pub attributes: BTreeMap<String, String>,
    /// What is wrong, where something is.
    pub error: Option<String>,
    /// What is said of the host.
    pub resource: BTreeMap<String, String>,
}

impl Collector {
    pub fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    pub fn start_at(address: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let told = Arc::<Mutex<Told>>::default();
        let keep = told.clone();
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let keep = keep.clone();
                let service = service_fn(move |request| answer(keep.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, told, runtime: Some(runtime) }
    }

    /// The arguments of a host that tells this collector everything.
    pub fn arguments(&self) -> Vec<String> {
        vec!["--otlp".to_owned(), format!("http://{}", self.address)]
    }

    fn told<T>(&self, look: impl FnOnce(&Told) -> T) -> T {
        look(&self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The spans that have come of a trace.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        self.told(|told| told.spans.iter().filter(|span| span.trace == id).cloned().collect())
    }

    /// All that have come.
    pub fn spans(&self) -> Vec<Span> {
        self.told(|told| told.spans.clone())
    }

    /// What stood in the header `authorization` of the newest request.
    pub fn authorization(&self) -> Option<String> {
        self.told(|told| told.authorization.clone())
    }

    /// The newest data point of a metric whose attributes have all of these values.
    pub fn metric(&self, name: &str, values: &[&str]) -> Option<Value> {
        let fits =
            |key: &&String| key.starts_with(&format!("{name} ")) && values.iter().all(|value| key.contains(value));
        self.told(|told| told.metrics.iter().find(|(key, _)| fits(key)).map(|(_, point)| point.clone()))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn answer(told: Arc<Mutex<Told>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let message: Option<Value> = serde_json::from_slice(&body).ok();
    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
    told.authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let status = match (parts.uri.path(), message) {
        ("/v1/traces", Some(message)) => {
            told.spans.extend(spans(&message));
            StatusCode::OK
        }
        ("/v1/metrics", Some(message)) => {
            told.metrics.extend(metrics(&message));
            StatusCode::OK
        }
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
    *response.status_mut() = status;
    Ok(response)
}

fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| {
        let number = || value["intValue"].as_str().map(str::to_owned);
        value["stringValue"].as_str().map(str::to_owned).or_else(number).unwrap_or_default()
    };
    each(&of["attributes"]).map(|one| (one["key"].as_str().unwrap().to_owned(), text(&one["value"]))).collect()
}

fn spans(message: &Value) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_unit in each(&message["resourceSpans"]) {
        let resource = attributes(&of_unit["resource"]);
        let unit = format!("{}/{}", resource["service.namespace"], resource["service.name"]);
        for span in each(&of_unit["scopeSpans"]).flat_map(|scope| each(&scope["spans"])) {
            let text = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
            let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
            spans.push(Span {
                unit: unit.clone(),
                name: text("name"),
                kind: kinds[span["kind"].as_u64().unwrap() as usize],
                trace: text("traceId"),
                id: text("spanId"),
                parent: text("parentSpanId"),
                began: text("startTimeUnixNano").parse().unwrap(),
                ended: text("endTimeUnixNano").parse().unwrap(),
                attributes: attributes(span),
                error: (span["status"]["code"] == 2).then(|| span["status"]["message"].as_str().unwrap().to_owned()),
                resource: resource.clone(),
            });
        }
    }
    spans
}

fn metrics(message: &Value) -> Vec<(String, Value)> {
    let scopes = each(&message["resourceMetrics"]).flat_map(|resource| each(&resource["scopeMetrics"]));
    let point = |metric: &Value, point: &Value| {
        (format!("{} {:?}", metric["name"].as_str().unwrap(), attributes(point)), point.clone())
    };
    let points = |metric: &Value| {
        let kinds = ["sum", "gauge", "histogram"].iter().flat_map(|kind| each(&metric[kind]["dataPoints"]));
        kinds.map(|data| point(metric, data)).collect::<Vec<_>>()
    };
    scopes.flat_map(|scope| each(&scope["metrics"])).flat_map(points).collect()
}
