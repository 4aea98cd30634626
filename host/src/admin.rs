//! What a host says of itself over HTTP, to whoever looks after its machine: whether it lives (`/livez`), whether it is ready
//! (`/readyz`), and its metrics (`/metrics`).
//!
//! Ready means that it is a part of its lattice and is not about to leave. Without NATS it stays ready: what runs there serves on, and a
//! load balancer that took all hosts away when NATS is gone would make an outage of that.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use http::{Method, Request, Response, StatusCode, header};
use lattice::{
    bus::Bus,
    model::inventory::HostRecord,
    wire::{CallError, Digest, HostId, InstanceId, LatticeName, UnitId},
};
use lattice_control::Figures;
use lattice_provider::http::{Body, HttpHandler};
use lattice_provider_http_server::{Config, ConfigError, HttpServers, ListenError, Listening};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use tokio::sync::watch;

use crate::{
    links::Router,
    metrics::{Counts, Durations, Fault, Metrics},
};

mod process;
pub(crate) mod systemd;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why there is no such address.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("--admin: {0}")]
    Listen(#[from] ListenError),
    #[error("--admin: {0}")]
    Config(#[from] ConfigError),
    #[error("--admin: {0}")]
    Route(String),
}

/// What a host is, from the start on, and what it becomes a part of.
pub(crate) struct Admin {
    host: HostId,
    lattice: LatticeName,
    began: Instant,
    metrics: Arc<Metrics>,
    /// Spans that were not told, where any are.
    spans_left_out: Option<Arc<AtomicU64>>,
    joined: OnceLock<Joined>,
}

/// The host in its lattice.
pub(crate) struct Joined {
    pub(crate) bus: Bus,
    pub(crate) record: watch::Receiver<HostRecord>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) router: Arc<Router>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Admin {
    pub(crate) fn new(
        host: HostId,
        lattice: LatticeName,
        metrics: Arc<Metrics>,
        spans_left_out: Option<Arc<AtomicU64>>,
    ) -> Arc<Self> {
        Arc::new(Self { host, lattice, began: Instant::now(), metrics, spans_left_out, joined: OnceLock::new() })
    }

    /// All metrics of the host.
    pub(crate) fn registry(self: &Arc<Self>) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self.clone()));
        registry
    }

    /// Answers there until what this returns is dropped.
    pub(crate) async fn listen(self: &Arc<Self>, address: SocketAddr) -> Result<Listening, AdminError> {
        let settings = serde_json::Map::from_iter([("address".to_owned(), address.to_string().into())]);
        let config = Config::parse(&settings)?;
        let everything = "/".parse().map_err(|error| AdminError::Route(format!("{error}")))?;
        let unit: UnitId = "lattice/admin".parse().map_err(|error| AdminError::Route(format!("{error}")))?;
        let me = InstanceId::derive(&self.host, &unit, 0, &Digest::of(b""));
        let door = Arc::new(Door { admin: self.clone(), registry: self.registry() });
        // Apart from the listeners of units, so that none of those can come to this address.
        let listening = HttpServers::default().add(me, None, &config, vec![(everything, door as _)]).await?;
        tracing::info!(address = %listening.address, "answering /livez, /readyz and /metrics");
        Ok(listening)
    }

    pub(crate) fn joined(&self, joined: Joined) {
        // It joins once in its life.
        let _ = self.joined.set(joined);
    }

    /// Why it does not live, when it hangs.
    fn hangs(&self) -> Option<String> {
        // At its end it does other things than looking around.
        let _ = self.joined.get().filter(|joined| !joined.record.borrow().leaving)?;
        self.metrics.hangs().map(|since| format!("the agent has not looked around for {} s", since.as_secs()))
    }

    /// Why it is not ready.
    fn unready(&self) -> Option<String> {
        let Some(joined) = self.joined.get() else {
            return Some(format!("it has not joined the lattice {} yet: it waits for NATS", self.lattice));
        };
        joined.record.borrow().leaving.then(|| "it is leaving".to_owned())
    }

    /// What is worth knowing beside that, line by line.
    fn notes(&self) -> String {
        let mut notes = String::new();
        let Some(joined) = self.joined.get() else { return notes };
        if !*joined.bus.connected().borrow() {
            notes += "NATS cannot be reached; what runs here goes on\n";
        }
        for report in joined.record.borrow().instances.iter().filter(|report| !report.state.takes_calls()) {
            let reason = report.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let _ = writeln!(notes, "{} is {}{reason}", report.unit, report.state);
        }
        notes
    }

    fn answer(&self, path: &str, registry: &Registry) -> (StatusCode, &'static str, String) {
        let state = |problem: Option<String>, word: &str, notes: String| match problem {
            None => (StatusCode::OK, TEXT, format!("{word}\n{notes}")),
            Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not {word}: {reason}\n{notes}")),
        };
        match path {
            "/livez" => state(self.hangs(), "alive", String::new()),
            "/readyz" => state(self.hangs().or_else(|| self.unready()), "ready", self.notes()),
            "/metrics" => {
                let mut metrics = String::new();
                match text::encode(&mut metrics, registry) {
                    Ok(()) => (StatusCode::OK, METRICS, metrics),
                    Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n")),
                }
            }
            _ => (StatusCode::NOT_FOUND, TEXT, "there are /livez, /readyz and /metrics\n".to_owned()),
        }
    }
}

/// The listener's handler.
struct Door {
    admin: Arc<Admin>,
    registry: Registry,
}

#[async_trait]
impl HttpHandler for Door {
    async fn handle(&self, request: Request<Body>) -> Result<Response<Body>, CallError> {
        let (status, kind, text) = match *request.method() {
            Method::GET | Method::HEAD => self.admin.answer(request.uri().path(), &self.registry),
            _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
        };
        let response =
            Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(Body::Full(text.into()));
        response.map_err(|error| CallError::Trap(error.to_string()))
    }
}

/// The labels of a metric of a unit, and more.
type Labels<'l> = Vec<(&'static str, &'l str)>;

fn of_unit(unit: &UnitId) -> Labels<'_> {
    vec![("app", unit.app.as_str()), ("unit", unit.unit.as_str())]
}

/// Those of calls from one unit to another.
fn of_link((from, to): &(UnitId, UnitId)) -> Labels<'_> {
    [of_unit(from), vec![("to_app", to.app.as_str()), ("to_unit", to.unit.as_str())]].concat()
}

fn histogram(mut metric: MetricEncoder<'_>, counts: &Counts) -> fmt::Result {
    let Durations { buckets, count, sum } = counts.durations();
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}

fn counter(mut metric: MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter::<NoLabelSet, u64, f64>(&value, None)
}

impl Collector for Admin {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut about =
            |name: &str, help: &str, kind: MetricType, encode: &dyn Fn(&mut MetricEncoder<'_>) -> fmt::Result| {
                encode(&mut encoder.encode_descriptor(name, help, None, kind)?)
            };
        let host: Labels<'_> = vec![
            ("host", self.host.as_str()),
            ("lattice", self.lattice.as_str()),
            ("release", env!("CARGO_PKG_VERSION")),
        ];
        about("lattice_host", "The host", MetricType::Info, &|metric| metric.encode_info(&host))?;
        let units = self.metrics.units();
        about(
            "lattice_unit_call_duration_seconds",
            "Calls of a component that have ended, by how long they took",
            MetricType::Histogram,
            &|metric| {
                units.iter().try_for_each(|(unit, counts)| histogram(metric.encode_family(&of_unit(unit))?, counts))
            },
        )?;
        about("lattice_unit_calls_in_flight", "Calls of a component under way", MetricType::Gauge, &|metric| {
            units
                .iter()
                .try_for_each(|(unit, counts)| metric.encode_family(&of_unit(unit))?.encode_gauge(&counts.in_flight()))
        })?;
        about("lattice_unit_faults", "Calls of a component that went wrong, by how", MetricType::Counter, &|metric| {
            units.iter().try_for_each(|(unit, counts)| {
                Fault::ALL.iter().try_for_each(|(fault, name)| {
                    let labels = [of_unit(unit), vec![("kind", *name)]].concat();
                    counter(metric.encode_family(&labels)?, counts.faults(*fault))
                })
            })
        })?;
        about("lattice_unit_starts", "How often a unit was started on this host", MetricType::Counter, &|metric| {
            units.iter().try_for_each(|(unit, counts)| counter(metric.encode_family(&of_unit(unit))?, counts.starts()))
        })?;
        if let Some(left_out) = &self.spans_left_out {
            let left_out = left_out.load(Ordering::Relaxed);
            about("lattice_spans_left_out", "Spans that were not told", MetricType::Counter, &|metric| {
                metric.encode_counter::<NoLabelSet, u64, f64>(&left_out, None)
            })?;
        }
        if let Some(joined) = self.joined.get() {
            joined.tell(&mut about)?;
        }
        process::tell(self.began, &mut about)
    }
}

/// Writes one metric: its name, what it is, its kind, and its values.
type About<'a> = dyn FnMut(&str, &str, MetricType, &dyn Fn(&mut MetricEncoder<'_>) -> fmt::Result) -> fmt::Result + 'a;

impl Joined {
    fn tell(&self, about: &mut About<'_>) -> fmt::Result {
        let instances = self.record.borrow().instances.clone();
        about("lattice_unit_state", "The state of each instance on this host", MetricType::Gauge, &|metric| {
            instances.iter().try_for_each(|report| {
                let (state, revision) = (report.state.to_string(), report.revision.to_string());
                let more = vec![("state", state.as_str()), ("revision", revision.as_str())];
                metric.encode_family(&[of_unit(&report.unit), more].concat())?.encode_gauge(&1u64)
            })
        })?;
        let links = self.router.sent();
        about(
            "lattice_link_call_duration_seconds",
            "Calls that have left this host's process and ended, by how long they took with the way",
            MetricType::Histogram,
            &|metric| {
                links.iter().try_for_each(|(link, counts)| histogram(metric.encode_family(&of_link(link))?, counts))
            },
        )?;
        about(
            "lattice_link_faults",
            "Calls that have left this host's process and went wrong, by how",
            MetricType::Counter,
            &|metric| {
                links.iter().try_for_each(|(link, counts)| {
                    Fault::ALL.iter().try_for_each(|(fault, name)| {
                        let labels = [of_link(link), vec![("kind", *name)]].concat();
                        counter(metric.encode_family(&labels)?, counts.faults(*fault))
                    })
                })
            },
        )?;
        let connected = u64::from(*self.bus.connected().borrow());
        about("lattice_nats_connected", "Whether NATS can be reached", MetricType::Gauge, &|metric| {
            metric.encode_gauge(&connected)
        })?;
        let leads = u64::from(self.figures.leads());
        about("lattice_control_leading", "Whether this host plans for the lattice", MetricType::Gauge, &|metric| {
            metric.encode_gauge(&leads)
        })?;
        let (count, time) = self.figures.plans();
        about("lattice_control_plans", "Plans that this host has made", MetricType::Counter, &|metric| {
            metric.encode_counter::<NoLabelSet, u64, f64>(&count, None)
        })?;
        let seconds = time.as_secs_f64();
        about("lattice_control_plan_seconds", "What they took together", MetricType::Counter, &|metric| {
            metric.encode_counter::<NoLabelSet, f64, f64>(&seconds, None)
        })
    }
}
