//! What the providers that keep their data in JetStream have in common: asking it ([`JetStream`]), and following a stream
//! from a place that JetStream remembers ([`Place`]).

mod place;

use std::{
    fmt::Display,
    future::{Future, IntoFuture},
    time::Duration,
};

use async_nats::{Client, jetstream::Context};
use lattice::{
    bus::{Bus, own_streams},
    wire::LatticeName,
};
use lattice_provider::{Health, HealthReporter, NatsUse, StartError};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

pub use place::{Batch, FORGET, Place};

/// How often a backend is asked how it is.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

/// JetStream of the lattice's own NATS, for requests that are made now or not at all.
#[derive(Clone)]
pub struct JetStream {
    pub context: Context,
    connected: watch::Receiver<bool>,
    /// A request that takes longer counts as failed.
    timeout: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Away {
    #[error("there is no connection to NATS")]
    NoConnection,
    #[error("no answer from NATS within {} s", .0.as_secs())]
    NoAnswer(Duration),
}

impl JetStream {
    pub fn new(bus: &Bus, timeout: Duration) -> Result<Self, StartError> {
        let mut context = bus.jetstream().ok_or_else(|| StartError::Backend("this lattice has no NATS".into()))?;
        context.set_timeout(timeout);
        Ok(Self { context, connected: bus.connected(), timeout })
    }

    pub fn client(&self) -> Client {
        self.context.client()
    }

    /// Waits for NATS, but not for long, and not at all while there is no connection: requests made then would wait
    /// for one, and be carried out long after the caller was told that they had failed.
    pub async fn ask<T, E>(&self, request: impl IntoFuture<Output = Result<T, E>>) -> Result<Result<T, E>, Away> {
        if !*self.connected.borrow() {
            return Err(Away::NoConnection);
        }
        tokio::time::timeout(self.timeout, request.into_future()).await.map_err(|_| Away::NoAnswer(self.timeout))
    }

    /// Reports, until it is dropped, whether `question` is answered; it is put again when the connection comes or goes.
    pub fn report_health<T, E, F>(
        &self,
        health: HealthReporter,
        question: impl Fn() -> F + Send + 'static,
    ) -> AbortOnDropHandle<()>
    where
        E: Display,
        F: Future<Output = Result<T, E>> + Send,
    {
        let own = self.clone();
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut connected = own.connected.clone();
            loop {
                health.report(match own.ask(question()).await {
                    Ok(Ok(_)) => Health::Ready,
                    Ok(Err(error)) => Health::Degraded(error.to_string()),
                    Err(error) => Health::Degraded(error.to_string()),
                });
                // Cancel-safe: both only wait.
                tokio::select! {
                    // Its sender lives as long as the connection, which this task holds.
                    _ = connected.changed() => {}
                    () = tokio::time::sleep(HEALTH_INTERVAL) => {}
                }
            }
        }))
    }
}

/// Everything that JetStream can be asked about one stream.
fn about(stream: &str) -> impl Iterator<Item = String> + use<> {
    let api = ["STREAM.*", "STREAM.MSG.*", "DIRECT.GET", "CONSUMER.*"].map(|what| format!("$JS.API.{what}.{stream}"));
    let below = ["API.DIRECT.GET", "API.CONSUMER.*", "API.CONSUMER.MSG.NEXT", "ACK", "FC"];
    api.into_iter().chain(below.map(|what| format!("$JS.{what}.{stream}.>")))
}

/// What somebody does who keeps something in this stream, and publishes to `subjects` of it.
pub fn uses_stream(stream: &str, subjects: String) -> NatsUse {
    NatsUse { publish: about(stream).chain(["$JS.API.INFO".to_owned(), subjects]).collect(), never_publish: Vec::new() }
}

/// What somebody does who keeps things in streams whose names nobody knows beforehand, and publishes to `subjects` of them: anything
/// but with the streams in which the lattice keeps what it is.
pub fn uses_streams(lattice: &LatticeName, subjects: String) -> NatsUse {
    let publish = ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>"].map(str::to_owned).into_iter().chain([subjects]);
    let own = own_streams(lattice);
    NatsUse { publish: publish.collect(), never_publish: own.iter().flat_map(|stream| about(stream)).collect() }
}

/// An error with its cause, which async-nats leaves out of the text.
pub fn reason(error: &dyn std::error::Error) -> String {
    match error.source().map(ToString::to_string) {
        Some(source) if !error.to_string().contains(&source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

/// Whether NATS takes it in the name of a bucket, which has at most `longest` bytes.
pub fn check_name(setting: &str, name: &str, longest: usize) -> Result<(), StartError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(allowed) {
        return Err(StartError::Config(format!("{setting}: {name:?} is not made of letters, digits, '-' and '_'")));
    }
    if name.len() > longest {
        return Err(StartError::Config(format!("{setting}: {name:?} has more than {longest} characters")));
    }
    Ok(())
}
