//! A provider as a process of its own: the host writes [`Order`]s to its standard input, a JSON object a line, and
//! reads [`Report`]s from its standard output. When its standard input ends, its host is gone, and it ends as well.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use lattice::{
    bus::{Bus, ConnectError, NatsOptions, Pace, Serving},
    trace::{self, Span},
    wire::{CallError, ContentType, InstanceId, LatticeName, Served, UnitId},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufReader, Lines, Stdin},
    sync::{mpsc, watch},
};

use crate::{Health, HealthReporter, Provider, StartContext, StartError, check_config, checked_config};

/// What a program of a user gets of the environment of whoever starts it: what it needs to find an interpreter and to write
/// text, and the level of its log. Everything else may be meant for that one alone.
pub const PROGRAM_ENVIRONMENT: [&str; 5] = ["PATH", "HOME", "LANG", "TZ", "LATTICE_LOG"];

/// What the host tells a provider process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    Start(Box<Launch>),
    /// In place of a start: say what is wrong with these settings, and exit.
    Check(Box<Check>),
    /// Take no more calls, finish those under way, and exit.
    Drain,
}

impl Order {
    /// Writes it to the standard input of a provider process.
    ///
    /// # Errors
    /// When the process does not read it, as one that has ended.
    pub async fn send(&self, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        send(self, to).await
    }
}

async fn send(what: &impl Serialize, to: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

/// Everything that a provider process needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    pub lattice: LatticeName,
    pub unit: UnitId,
    pub instance: InstanceId,
    pub nats: NatsOptions,
    pub data_dir: PathBuf,
    pub config: serde_json::Map<String, serde_json::Value>,
    /// Whether the host takes the spans of calls that are traced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub traces: bool,
}

/// Settings that nobody has started a provider with yet.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    pub unit: UnitId,
    /// What stands for a secret is something else here.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// What a provider says of settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// It begins with the setting's name where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

/// What a provider process tells its host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Line", into = "Line")]
pub enum Report {
    Health {
        health: Health,
        /// The content types of the calls that it takes; all when absent. What the first report says stands.
        content_types: Option<Vec<String>>,
        /// Whether it takes several calls in one message. What the first report says stands.
        bundles: bool,
    },
    /// What it has done for calls that are traced.
    Spans(Vec<Span>),
    /// What it was asked about its settings; it exits.
    Checked(Checked),
    /// It could not start, and exits.
    Failed(Failed),
}

/// Whether a process takes calls in JSON alone, from what it says of its content types; an error with that where JSON is not
/// among them.
pub fn json_only(content_types: Option<Vec<String>>) -> Result<bool, String> {
    let Some(said) = content_types else { return Ok(false) };
    let takes = |wanted: ContentType| said.iter().any(|ty| ty.parse() == Ok(wanted));
    match takes(ContentType::Json) {
        true => Ok(!takes(ContentType::Postcard)),
        false if said.is_empty() => Err("nothing".to_owned()),
        false => Err(said.join(", ")),
    }
}

/// Why a provider process did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    pub reason: String,
    /// What it needs is held by another.
    #[serde(default)]
    pub busy: bool,
}

/// A report as it is written.
#[derive(Default, Serialize, Deserialize)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_types: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bundles: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spans: Vec<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checked: Option<Checked>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Failed>,
}

impl TryFrom<Line> for Report {
    type Error = &'static str;
    fn try_from(line: Line) -> Result<Self, Self::Error> {
        match line {
            Line { failed: Some(failed), .. } => Ok(Self::Failed(failed)),
            Line { checked: Some(checked), .. } => Ok(Self::Checked(checked)),
            Line { health: Some(health), content_types, bundles, .. } => {
                Ok(Self::Health { health, content_types, bundles })
            }
            Line { spans, .. } if !spans.is_empty() => Ok(Self::Spans(spans)),
            _ => Err("none of `health`, `spans`, `checked` and `failed`"),
        }
    }
}

impl From<Report> for Line {
    fn from(report: Report) -> Self {
        match report {
            Report::Health { health, content_types, bundles } => {
                Self { health: Some(health), content_types, bundles, ..Self::default() }
            }
            Report::Spans(spans) => Self { spans, ..Self::default() },
            Report::Checked(checked) => Self { checked: Some(checked), ..Self::default() },
            Report::Failed(failed) => Self { failed: Some(failed), ..Self::default() },
        }
    }
}

/// What a provider made with this crate reports.
impl From<Health> for Report {
    fn from(health: Health) -> Self {
        Self::Health { health, content_types: None, bundles: true }
    }
}

/// Spans that may wait to be told.
const SPANS: usize = 1024;

/// How long calls may go on after a drain was ordered.
const DRAIN: Duration = Duration::from_secs(10);

/// The `main` of a provider's executable.
pub fn main<P: Provider>() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("LATTICE_LOG").unwrap_or_else(|_| "info,async_nats=warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{}: cannot start: {error}", P::KIND);
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match run::<P>().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let busy = matches!(failure, Failure::Start(StartError::Busy(_)));
                report(&Report::Failed(Failed { reason: failure.to_string(), busy })).await;
                ExitCode::FAILURE
            }
        }
    });
    // A read of standard input cannot be cancelled; the process does not wait for it.
    runtime.shutdown_background();
    code
}

/// Why the process ends otherwise than its host told it to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Order(String),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Serve(#[from] CallError),
}

async fn run<P: Provider>() -> Result<(), Failure> {
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let launch = match next_order(&mut orders).await? {
        Some(Order::Start(launch)) => *launch,
        Some(Order::Check(of)) => {
            let wrong = check_config::<P>(&of.config, &of.unit).err();
            report(&Report::Checked(Checked { wrong })).await;
            return Ok(());
        }
        Some(Order::Drain) | None => {
            return Err(Failure::Order(format!("{} is started by a lattice host, which tells it what to do", P::KIND)));
        }
    };
    let config = checked_config::<P>(&launch.config, &launch.unit)?;
    let (sender, spans) = mpsc::channel(SPANS);
    if launch.traces {
        // What is too much is not waited for: the calls matter more than what is told of them.
        trace::record(0.0, move |_, span| drop(sender.try_send(span)));
    }
    let name = format!("{} {}", P::KIND, launch.unit);
    let bus = Bus::connect_for_calls(&launch.nats, launch.lattice.clone(), &name).await?;
    let (health, mut healths) = HealthReporter::new();
    let context = StartContext {
        unit: launch.unit.clone(),
        data_dir: launch.data_dir,
        bus: bus.clone(),
        health,
        subscriptions: Vec::new(),
        schedules: Vec::new(),
        watches: Vec::new(),
        work: Default::default(),
    };
    let capability = P::start(context, config).await?;
    let served = Served { lattice: launch.lattice, unit: launch.unit, instance: launch.instance };
    let serving = bus.serve(&served, capability.handler(&bus), Pace::Light).await?;
    follow(&mut orders, &mut healths, spans, serving).await?;
    bus.flush().await;
    Ok(())
}

/// Tells the host each change of health, until the host ends it.
async fn follow(
    orders: &mut Lines<BufReader<Stdin>>,
    healths: &mut watch::Receiver<Health>,
    mut spans: mpsc::Receiver<Span>,
    serving: Serving,
) -> Result<(), Failure> {
    let mut more = true;
    let mut told = true;
    let mut ended = Vec::new();
    loop {
        if std::mem::take(&mut told) {
            let health = healths.borrow_and_update().clone();
            report(&Report::from(health)).await;
        }
        // Cancel-safe: `next_line` keeps what it has read, the others only wait or take nothing.
        tokio::select! {
            order = next_order(orders) => match order? {
                Some(Order::Start(_) | Order::Check(_)) => tracing::warn!("it has started already; ignored"),
                Some(Order::Drain) => {
                    serving.drain(DRAIN).await;
                    return Ok(());
                }
                None => return Ok(()),
            },
            changed = healths.changed(), if more => (more, told) = (changed.is_ok(), changed.is_ok()),
            taken = spans.recv_many(&mut ended, SPANS), if !spans.is_closed() => if taken > 0 {
                report(&Report::Spans(std::mem::take(&mut ended))).await;
            },
        }
    }
}

async fn next_order(orders: &mut Lines<BufReader<Stdin>>) -> Result<Option<Order>, Failure> {
    match orders.next_line().await.map_err(|e| Failure::Order(format!("cannot read standard input: {e}")))? {
        Some(line) => serde_json::from_str(&line)
            .map(Some)
            .map_err(|e| Failure::Order(format!("an order that cannot be read: {e}"))),
        None => Ok(None),
    }
}

async fn report(report: &Report) {
    // When the host no longer reads, it is gone, and standard input will say so.
    let _ = send(report, &mut tokio::io::stdout()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_lines_that_a_stranger_can_write() {
        let ready = |content_types: Option<&[&str]>| Report::Health {
            health: Health::Ready,
            content_types: content_types.map(|types| types.iter().map(|ty| (*ty).to_owned()).collect()),
            bundles: false,
        };
        let checked = |wrong: Option<&str>| Report::Checked(Checked { wrong: wrong.map(str::to_owned) });
        let failed = |reason: &str, busy| Report::Failed(Failed { reason: reason.to_owned(), busy });
        for (line, report) in [
            (r#"{"health":"ready"}"#, ready(None)),
            (r#"{"health":"ready","content_types":["application/json"]}"#, ready(Some(&["application/json"]))),
            (r#"{"health":{"degraded":"why"},"bundles":true}"#, Health::Degraded("why".to_owned()).into()),
            (r#"{"checked":{}}"#, checked(None)),
            (r#"{"checked":{"wrong":"why"}}"#, checked(Some("why"))),
            (r#"{"failed":{"reason":"why","busy":true}}"#, failed("why", true)),
            (
                concat!(
                    r#"{"spans":[{"context":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","#,
                    r#""name":"GET","kind":"client","began":1,"ended":2,"attributes":{"db.system.name":"redis"}}]}"#
                ),
                Report::Spans(vec![Span {
                    context: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap(),
                    parent: None,
                    name: "GET".to_owned(),
                    kind: trace::Kind::Client,
                    began: 1,
                    ended: 2,
                    attributes: [("db.system.name".into(), "redis".into())].into(),
                    error: None,
                }]),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Report>(line).unwrap(), report, "{line}");
            assert_eq!(serde_json::to_string(&report).unwrap(), line);
        }
        assert_eq!(serde_json::from_str::<Report>(r#"{"failed":{"reason":"why"}}"#).unwrap(), failed("why", false));
        for other in ["{}", "1", "hello", r#"{"health":"well"}"#, r#"{"content_types":[]}"#] {
            assert!(serde_json::from_str::<Report>(other).is_err(), "{other}");
        }
    }
}
