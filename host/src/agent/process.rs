//! A provider as a supervised process.

use std::{path::PathBuf, process::Stdio, time::Duration};

use lattice::model::app::ProviderSpec;
use lattice_provider::{Health, Launch, Order, Report};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{mpsc, watch},
};
use tokio_util::sync::CancellationToken;

use super::{News, diff::Key, start::Surroundings};

/// Why a provider process is not running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    #[error("the executable of {kind} is not at {}; put it there, or start the host with --providers DIR", path.display())]
    Missing { kind: String, path: PathBuf },
    #[error("cannot start {}: {source}", path.display())]
    Spawn { path: PathBuf, source: std::io::Error },
    #[error("{reason}")]
    Failed { reason: String, busy: bool },
    #[error("{kind} did not become ready within {} s", START.as_secs())]
    Slow { kind: String },
}

/// How long a process may take to become ready.
const START: Duration = Duration::from_secs(15);

/// A provider process that is ready. It ends when its standard input does, so it never outlives its host.
pub(crate) struct Process {
    orders: ChildStdin,
    /// Ends the process at once.
    kill: CancellationToken,
    /// Closes when the process has ended.
    ended: mpsc::Receiver<()>,
}

impl Process {
    pub(super) async fn start(
        here: &Surroundings,
        key: &Key,
        spec: &ProviderSpec,
        news: mpsc::Sender<News>,
    ) -> Result<(Self, watch::Receiver<Health>), ProcessError> {
        let mut child = spawn(here, spec)?;
        let gone = |what: &str| ProcessError::Failed {
            reason: format!("{}: its {what} is not connected", spec.kind),
            busy: false,
        };
        let mut orders = child.stdin.take().ok_or_else(|| gone("standard input"))?;
        let mut reports = BufReader::new(child.stdout.take().ok_or_else(|| gone("standard output"))?).lines();
        if let Some(log) = child.stderr.take() {
            tokio::spawn(forward_log(key.clone(), log));
        }
        let launch = Order::Start(Box::new(Launch {
            lattice: here.bus.lattice().clone(),
            unit: key.unit.clone(),
            instance: key.instance(&here.host),
            nats: here.nats.clone(),
            data_dir: here.provider_data(),
            config: spec.config.clone(),
        }));
        order(&mut orders, &launch)
            .await
            .map_err(|error| ProcessError::Failed { reason: format!("{}: {error}", spec.kind), busy: false })?;
        let first = tokio::time::timeout(START, next_report(&mut reports))
            .await
            .map_err(|_| ProcessError::Slow { kind: spec.kind.clone() })?;
        let (health, healths) = watch::channel(match first {
            Some(Report::Health(health)) => health,
            Some(Report::Failed { reason, busy }) => return Err(ProcessError::Failed { reason, busy }),
            None => {
                let status = child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
                return Err(ProcessError::Failed {
                    reason: format!("{} ended at once ({status}); its log says why", spec.kind),
                    busy: false,
                });
            }
        });
        let kill = CancellationToken::new();
        let (alive, ended) = mpsc::channel(1);
        tokio::spawn(supervise(child, reports, health, key.clone(), news, kill.clone(), alive));
        Ok((Self { orders, kill, ended }, healths))
    }

    /// Lets it finish its calls, and ends it after `limit` in any case.
    pub(super) async fn stop(mut self, limit: Duration) {
        if order(&mut self.orders, &Order::Drain).await.is_ok()
            && tokio::time::timeout(limit, self.ended.recv()).await.is_ok()
        {
            return;
        }
        self.kill.cancel();
        self.ended.recv().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill.cancel();
    }
}

fn spawn(here: &Surroundings, spec: &ProviderSpec) -> Result<Child, ProcessError> {
    let path = here.providers.join(format!("lattice-provider-{}", spec.kind));
    if !path.is_file() {
        return Err(ProcessError::Missing { kind: spec.kind.clone(), path });
    }
    // It gets nothing of the host's environment but the level of its log.
    Command::new(&path)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| name == "LATTICE_LOG"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| ProcessError::Spawn { path, source })
}

/// Follows a process until it ends.
async fn supervise(
    mut child: Child,
    mut reports: Lines<BufReader<ChildStdout>>,
    health: watch::Sender<Health>,
    key: Key,
    news: mpsc::Sender<News>,
    kill: CancellationToken,
    // Dropped at the end: that is what the one who stops the process waits for.
    _alive: mpsc::Sender<()>,
) {
    loop {
        // Cancel-safe: `next_line` keeps what it has read.
        tokio::select! {
            report = next_report(&mut reports) => match report {
                Some(Report::Health(newest)) => drop(health.send_replace(newest)),
                Some(Report::Failed { reason, .. }) => tracing::warn!(unit = %key.unit, reason, "a provider process gives up"),
                None => break,
            },
            () = kill.cancelled() => {
                let _ = child.start_kill();
                break;
            }
        }
    }
    let status = child.wait().await.map_or_else(|e| e.to_string(), |s| s.to_string());
    let _ = news.send(News::Ended(key, format!("its process ended ({status})"))).await;
}

async fn next_report(reports: &mut Lines<BufReader<ChildStdout>>) -> Option<Report> {
    loop {
        let line = reports.next_line().await.ok()??;
        match serde_json::from_str(&line) {
            Ok(report) => return Some(report),
            Err(_) => tracing::debug!(line, "a provider process wrote something else to its standard output"),
        }
    }
}

async fn order(orders: &mut ChildStdin, order: &Order) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    orders.write_all(&line).await?;
    orders.flush().await
}

async fn forward_log(key: Key, log: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(log).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(target: "provider", unit = %key.unit, "{line}");
    }
}
