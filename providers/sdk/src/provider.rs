//! What a backend is made of.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use lattice::{
    bus::Bus,
    wire::{CallError, LatticeName, UnitId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Capability, keyvalue::Watch, messaging::Subscription, schedule::Schedule};

/// A backend of a capability.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Its name in manifests, as in the catalog.
    const KIND: &'static str;
    /// Its settings. Unknown keys should be errors: `#[serde(deny_unknown_fields, rename_all = "camelCase")]`.
    type Config: DeserializeOwned + Send;

    /// What can be told of the settings for `unit` without a backend and without a file of this machine: `apply` asks any
    /// host before anything changes, and it is looked at again before a start, with the secrets in their places. The text of an error begins
    /// with the setting's name, as in `url: ...`.
    fn check(config: &Self::Config, unit: &UnitId) -> Result<(), StartError> {
        let _ = (config, unit);
        Ok(())
    }

    /// What it does in the NATS of `lattice`, beside answering calls: a process of its own may do that and nothing else, where its
    /// host can see to it.
    fn nats_use(config: &Self::Config, lattice: &LatticeName, unit: &UnitId) -> NatsUse {
        let _ = (config, lattice, unit);
        NatsUse::default()
    }

    /// Connects to the backend. An error means "not ready yet, and this is why": the host tries again.
    async fn start(context: StartContext, config: Self::Config) -> Result<Capability, StartError>;
}

/// Subjects, which may have wildcards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NatsUse {
    pub publish: Vec<String>,
    /// What of these it never publishes to.
    pub never_publish: Vec<String>,
}

/// What a backend gets from its surroundings.
pub struct StartContext {
    pub unit: UnitId,
    /// A folder on this machine that stays, for backends that keep files.
    pub data_dir: PathBuf,
    pub bus: Bus,
    pub health: HealthReporter,
    /// What components shall be told of. Only providers inside a host have some.
    pub subscriptions: Vec<Subscription>,
    /// When components shall be called. Only providers inside a host have some.
    pub schedules: Vec<Schedule>,
    /// Whose changes components shall be told of. Only providers inside a host have some.
    pub watches: Vec<Watch>,
    /// What the provider does by itself for these.
    pub work: Work,
}

/// What a provider does without being called: it begins nothing more after `stop`, and is over when `tasks` are.
#[derive(Debug, Clone, Default)]
pub struct Work {
    pub stop: CancellationToken,
    /// Everything that calls components runs in these.
    pub tasks: TaskTracker,
}

impl Work {
    /// Begins nothing more, and waits until what was begun is done, at most `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.tasks.len(), ?limit, "calls are still under way; stopping all the same");
        }
    }
}

/// Why a call that a provider makes by itself did not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// It has certainly not begun: it may be made again.
    #[error("{0}")]
    NotBegun(String),
    #[error("{0}")]
    Failed(String),
}

impl From<CallError> for NotDone {
    fn from(error: CallError) -> Self {
        match error.certainly_not_started() {
            true => Self::NotBegun(error.to_string()),
            false => Self::Failed(error.to_string()),
        }
    }
}

/// Why a backend did not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Trying again will not help.
    #[error("bad configuration: {0}")]
    Config(String),
    /// Something that only one can hold is held, perhaps by the instance that this one is to replace: the host then
    /// ends that one first.
    #[error("{0}")]
    Busy(String),
    /// The backend does not answer, or refuses.
    #[error("{0}")]
    Backend(String),
}

/// How a backend that has started is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    Ready,
    /// The backend is away, and why.
    Degraded(String),
}

/// Tells how a backend is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HealthReporter(watch::Sender<Health>);

impl HealthReporter {
    pub fn new() -> (Self, watch::Receiver<Health>) {
        let (sender, receiver) = watch::channel(Health::Ready);
        (Self(sender), receiver)
    }

    /// Tells the newest state; the same again is no news.
    pub fn report(&self, health: Health) {
        self.0.send_if_modified(|current| {
            let news = *current != health;
            *current = health;
            news
        });
    }
}

/// The typed settings in `config`, or what is wrong with them.
pub fn parse_config<P: Provider>(config: &serde_json::Map<String, serde_json::Value>) -> Result<P::Config, StartError> {
    typed::<P>(config).map_err(|reason| StartError::Config(format!("{}: {reason}", P::KIND)))
}

/// The typed settings with which a provider of `unit` may be started.
pub fn checked_config<P: Provider>(
    config: &serde_json::Map<String, serde_json::Value>,
    unit: &UnitId,
) -> Result<P::Config, StartError> {
    let config = parse_config::<P>(config)?;
    P::check(&config, unit).map(|()| config)
}

/// What is wrong with the settings of a provider, as far as it can be told anywhere. The text begins with the setting's
/// name where it is about one.
pub fn check_config<P: Provider>(
    config: &serde_json::Map<String, serde_json::Value>,
    unit: &UnitId,
) -> Result<(), String> {
    let config = typed::<P>(config)?;
    P::check(&config, unit).map_err(|error| match error {
        StartError::Config(reason) | StartError::Busy(reason) | StartError::Backend(reason) => reason,
    })
}

fn typed<P: Provider>(config: &serde_json::Map<String, serde_json::Value>) -> Result<P::Config, String> {
    serde_path_to_error::deserialize(serde_json::Value::Object(config.clone())).map_err(|error| {
        let path = error.path().to_string();
        if path == "." { error.inner().to_string() } else { format!("{path}: {}", error.inner()) }
    })
}
