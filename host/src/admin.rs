//! What a host says of itself over HTTP, to whoever looks after its machine: whether it lives (`/livez`), whether it is ready
//! (`/readyz`), and its metrics (`/metrics`, [`collect`]). Where it is asked for, the [`dashboard`] is there too.
//!
//! Ready means that it is a part of its lattice and is not about to leave. Without NATS it stays ready: what runs there serves on, and a
//! load balancer that took all hosts away when NATS is gone would make an outage of that.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock, atomic::AtomicU64},
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
use prometheus_client::{encoding::text, registry::Registry};
use tokio::sync::watch;

use self::dashboard::{Dashboard, DashboardError};
use crate::{links::Router, metrics::Metrics};

mod collect;
mod dashboard;
mod process;
pub(crate) mod systemd;

const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is for everybody who reaches the address.
const OURS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Why there is no such address.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("--admin: {0}")]
    Listen(#[from] ListenError),
    #[error("--admin: {0}")]
    Config(#[from] ConfigError),
    #[error("--admin: {0}")]
    Route(String),
    #[error("--dashboard: {0}")]
    Dashboard(#[from] DashboardError),
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
    /// Where it is asked for.
    dashboard: Option<Dashboard>,
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
        dashboard: Option<&Path>,
    ) -> Result<Arc<Self>, AdminError> {
        let dashboard = dashboard.map(Dashboard::new).transpose()?;
        Ok(Arc::new(Self {
            host,
            lattice,
            began: Instant::now(),
            metrics,
            spans_left_out,
            joined: OnceLock::new(),
            dashboard,
        }))
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
        if let Some(dashboard) = &self.dashboard {
            dashboard.open(&joined.bus);
        }
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
        if let Some(dashboard) = self.admin.dashboard.as_ref().filter(|_| !OURS.contains(&request.uri().path())) {
            return Ok(dashboard.answer(request).await);
        }
        let (status, kind, text) = match *request.method() {
            Method::GET | Method::HEAD => self.admin.answer(request.uri().path(), &self.registry),
            _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".to_owned()),
        };
        let response =
            Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(Body::Full(text.into()));
        response.map_err(|error| CallError::Trap(error.to_string()))
    }
}
