//! Telling a collector of OpenTelemetry what happens here: the spans of what is traced, and the metrics. By OTLP over HTTP, in JSON.
//!
//! ```text
//! spans      those that have ended, from this process and its providers'  -> POST /v1/traces, a batch at a time
//! metrics    what /metrics says, now and then                             -> POST /v1/metrics
//! ```
//!
//! Nothing waits for the collector. While it cannot be reached, as many spans are kept as the queue has room for; what comes then is left
//! out, and counted.

mod metrics;
mod spans;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use lattice::{
    trace,
    wire::{HostId, LatticeName, Timeouts},
};
use lattice_provider::http::Body;
use lattice_provider_http_client::{Client, Config, SystemResolver};
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::spans::Ended;
use crate::logbook;

/// Where traces and metrics go. The variables are OpenTelemetry's own.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "OpenTelemetry")]
pub struct OtlpOptions {
    /// Send traces and metrics to a collector there (OTLP over HTTP), as in http://127.0.0.1:4318
    #[arg(long = "otlp", env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<Uri>,
    /// Headers that the collector wants with what it is sent
    #[arg(
        long = "otlp-headers",
        env = "OTEL_EXPORTER_OTLP_HEADERS",
        value_name = "NAME=VALUE,...",
        hide_env_values = true,
        value_parser = parse_headers
    )]
    pub headers: Option<HeaderMap>,
    /// Authorities to trust for the collector, in PEM, beside those of the system
    #[arg(long = "otlp-ca-file", env = "OTEL_EXPORTER_OTLP_CERTIFICATE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// What is said of everything from this host, beside its own name and that of the unit
    #[arg(long = "otlp-resource", env = "OTEL_RESOURCE_ATTRIBUTES", value_name = "NAME=VALUE,...", value_parser = parse_attributes)]
    pub resource: Option<Arc<[(String, String)]>>,
    /// The part of what begins here that is traced, from 0 to 1. What comes with a trace is traced if that is
    #[arg(long = "trace-sample", env = "OTEL_TRACES_SAMPLER_ARG", value_name = "PART", default_value = "1", value_parser = parse_part)]
    pub sample: f64,
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is not NAME=VALUE"))?;
        Ok((name.trim().to_owned(), value.trim().to_owned()))
    };
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

fn parse_attributes(text: &str) -> Result<Arc<[(String, String)]>, String> {
    pairs(text).map(Into::into)
}

fn parse_headers(text: &str) -> Result<HeaderMap, String> {
    let header = |(name, value): (String, String)| {
        let header = HeaderName::try_from(&name).ok().zip(HeaderValue::try_from(value).ok());
        header.ok_or_else(|| format!("`{name}` is no header, or its value cannot stand in one"))
    };
    pairs(text)?.into_iter().map(header).collect()
}

fn parse_part(text: &str) -> Result<f64, String> {
    let part = text.parse().ok().filter(|part| (0.0..=1.0).contains(part));
    part.ok_or_else(|| "give a number from 0 (none) to 1 (all)".to_owned())
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("--otlp {0}: give a URL such as http://127.0.0.1:4318")]
    Endpoint(Uri),
    #[error("--otlp-ca-file: {0}")]
    Tls(#[from] lattice_provider_http_client::TlsError),
}

/// Spans that wait to be sent, and how many go together.
const QUEUE: usize = 8192;
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How often metrics are told.
const METRICS: Duration = Duration::from_secs(30);
/// How long the collector may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The pauses before the same is sent again, from the first to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What of a collector's answer is read, in bytes.
const SAID: usize = 4096;

/// What is told, until it is told to stop.
pub(crate) struct Otlp {
    collector: Arc<Collector>,
    tasks: TaskTracker,
    stop: CancellationToken,
    left_out: Arc<AtomicU64>,
}

impl Otlp {
    /// Begins to take spans; `None` without a collector.
    pub(crate) fn start(
        options: &OtlpOptions,
        host: &HostId,
        lattice: &LatticeName,
    ) -> Result<Option<Self>, OtlpError> {
        let Some(endpoint) = &options.endpoint else { return Ok(None) };
        let collector = Arc::new(Collector::new(endpoint, options, host, lattice)?);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (sender, spans) = mpsc::channel(QUEUE);
        let left_out = Arc::<AtomicU64>::default();
        let count = left_out.clone();
        trace::record(options.sample, move |unit, span| {
            if sender.try_send(Ended { unit, span }).is_err() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        tasks.spawn(send_spans(collector.clone(), spans, stop.clone()));
        Ok(Some(Self { collector, tasks, stop, left_out }))
    }

    /// How many spans were left out.
    pub(crate) fn left_out(&self) -> Arc<AtomicU64> {
        self.left_out.clone()
    }

    /// Tells these metrics, now and then.
    pub(crate) fn tell(&self, registry: Registry) {
        self.tasks.spawn(send_metrics(self.collector.clone(), registry, self.stop.clone()));
    }

    /// Sends what is left, once.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Who is told.
struct Collector {
    client: Client,
    endpoint: String,
    headers: HeaderMap,
    /// What is said of the host.
    resource: Vec<Value>,
}

/// Why the collector did not take something.
enum Refusal {
    /// It may take it later.
    NotNow(String),
    Never(String),
}

impl Collector {
    fn new(endpoint: &Uri, options: &OtlpOptions, host: &HostId, lattice: &LatticeName) -> Result<Self, OtlpError> {
        let known = matches!(endpoint.scheme_str(), Some("http" | "https")) && endpoint.host().is_some();
        if !known || endpoint.query().is_some() {
            return Err(OtlpError::Endpoint(endpoint.clone()));
        }
        let config = Config { ca_file: options.ca_file.clone(), ..Config::default() };
        let own = [
            ("service.version", env!("CARGO_PKG_VERSION")),
            ("service.instance.id", host.as_str()),
            ("lattice.name", lattice.as_str()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let told = options.resource.iter().flat_map(|told| told.iter().cloned());
        Ok(Self {
            client: Client::new(&config, Arc::new(SystemResolver))?,
            endpoint: endpoint.to_string().trim_end_matches('/').to_owned(),
            headers: options.headers.clone().unwrap_or_default(),
            resource: own.chain(told).map(|(name, value)| attribute(&name, &value)).collect(),
        })
    }

    async fn send(&self, path: &str, message: &Value) -> Result<(), Refusal> {
        let mut request = Request::post(format!("{}{path}", self.endpoint))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::Full(message.to_string().into()))
            .map_err(|error| Refusal::Never(error.to_string()))?;
        request.headers_mut().extend(self.headers.clone());
        let answered = async {
            let response = self.client.send_anywhere(request, Timeouts::default()).await;
            let response = response.map_err(|fault| Refusal::NotNow(fault.to_string()))?;
            let (status, body) = (response.status(), Limited::new(response.into_body(), SAID).collect().await);
            if status.is_success() {
                return Ok(());
            }
            let said = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned()).unwrap_or_default();
            let refusal = format!("{status} {said}").trim_end().to_owned();
            match status {
                StatusCode::TOO_MANY_REQUESTS => Err(Refusal::NotNow(refusal)),
                status if status.is_server_error() => Err(Refusal::NotNow(refusal)),
                _ => Err(Refusal::Never(refusal)),
            }
        };
        let late = || Refusal::NotNow(format!("no answer within {} s", ANSWER.as_secs()));
        tokio::time::timeout(ANSWER, answered).await.unwrap_or_else(|_| Err(late()))
    }

    /// Sends it until it is taken or refused for good. Once `stop` is there it is sent once more.
    async fn deliver(&self, path: &str, message: &Value, stop: &CancellationToken) {
        let (mut pause, mut told) = (PAUSE, false);
        loop {
            let last = stop.is_cancelled();
            let reason = match self.send(path, message).await {
                Ok(()) if told => return tracing::info!(collector = self.endpoint, "the collector answers again"),
                Ok(()) => return,
                Err(Refusal::Never(reason)) => {
                    return tracing::warn!(
                        collector = self.endpoint,
                        path,
                        reason,
                        "the collector refuses what it is told"
                    );
                }
                Err(Refusal::NotNow(reason)) => reason,
            };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(collector = self.endpoint, path, reason, "cannot reach the collector; trying on");
            }
            if last {
                return;
            }
            // Cancel-safe: both only wait.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// An attribute as OTLP has it.
fn attribute(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

async fn send_spans(collector: Arc<Collector>, mut spans: mpsc::Receiver<Ended>, stop: CancellationToken) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let mut until = None;
        while batch.len() < BATCH {
            let wait = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            let room = BATCH - batch.len();
            // Cancel-safe: `recv_many` takes nothing unless its arm completes.
            tokio::select! {
                biased;
                _ = spans.recv_many(&mut batch, room) => until = until.or_else(|| Some(Instant::now() + GATHER)),
                () = wait => break,
                () = stop.cancelled() => break,
            }
        }
        if !batch.is_empty() {
            collector.deliver("/v1/traces", &spans::message(&batch, &collector.resource), &stop).await;
        }
        if stop.is_cancelled() && spans.is_empty() {
            return;
        }
        batch.clear();
    }
}

async fn send_metrics(collector: Arc<Collector>, registry: Registry, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(METRICS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // OTLP has nanoseconds.
    let now = || logbook::now().saturating_mul(1000);
    let began = now();
    loop {
        // Cancel-safe: both only wait.
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => {}
        }
        let mut text = String::new();
        if let Err(error) = text::encode(&mut text, &registry) {
            tracing::warn!(%error, "cannot write the metrics");
        }
        let message = metrics::message(&text, began, now(), &collector.resource);
        // Those of the next time say more: what was not taken is not sent again.
        if let Err(Refusal::NotNow(reason) | Refusal::Never(reason)) = collector.send("/v1/metrics", &message).await {
            tracing::debug!(collector = collector.endpoint, reason, "the collector did not take the metrics");
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_opentelemetry_writes_them() {
        let headers = parse_headers("authorization=Bearer abc, x-tenant=shop,").unwrap();
        assert_eq!((headers["authorization"].to_str().unwrap(), headers.len()), ("Bearer abc", 2));
        assert!(parse_headers("no header=1").unwrap_err().contains("no header"));
        assert!(parse_headers("alone").unwrap_err().contains("NAME=VALUE"));
        assert_eq!(
            *parse_attributes("deployment.environment=prod").unwrap(),
            [("deployment.environment".to_owned(), "prod".to_owned())]
        );
        assert_eq!((parse_part("0.01"), parse_part("1")), (Ok(0.01), Ok(1.0)));
        assert!(parse_part("1.5").is_err() && parse_part("all").is_err() && parse_part("NaN").is_err());
    }
}
