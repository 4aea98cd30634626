//! The state of one instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use lattice::{
    bus::{CallHandler, Serving},
    model::{
        app::{Scale, UnitSpec},
        inventory::{Faults, InstanceReport, InstanceState},
    },
    wire::{InstanceId, Interface},
};
use lattice_provider::{Capability, Health, Work, http::HttpHandler};
use lattice_provider_http_server::Listening;
use tokio_util::sync::CancellationToken;

use super::{
    diff::{Key, Phase},
    process::Process,
    start::StartFailure,
};
use crate::{
    links::LocalInstance,
    runtime::{LoadedComponent, LoadedFunctions},
};

/// How long an instance that drains still takes calls, for hosts that have not heard of it yet.
pub(super) const LINGER: Duration = Duration::from_millis(300);
/// How long calls under way may go on when their component sets no limit.
const DRAIN: Duration = Duration::from_secs(10);
/// The first pause before a failed start is tried again; it doubles up to the last one.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(15);

/// What runs.
pub(crate) struct Running {
    pub(super) what: Kind,
    /// Its service on the lattice, when this process answers for it.
    pub(super) serving: Option<Serving>,
    pub(super) serves: Vec<Interface>,
    pub(super) speaks: Speaks,
    /// Ends the task that forwards its health.
    pub(super) watching: CancellationToken,
}

/// How an instance takes calls over NATS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speaks {
    /// In JSON alone.
    pub(super) json_only: bool,
    /// Several in one message.
    pub(super) bundles: bool,
}

impl Speaks {
    /// As this host itself does.
    pub(super) const LIKE_US: Self = Self { json_only: false, bundles: true };
}

pub(super) enum Kind {
    Component {
        component: Arc<LoadedComponent>,
        http: Option<Arc<dyn HttpHandler>>,
        functions: Option<Arc<LoadedFunctions>>,
    },
    /// With what it does by itself.
    Backend(Capability, Work),
    Server(Listening),
    Process(Process),
}

impl Running {
    pub(super) fn drain_limit(&self) -> Duration {
        match &self.what {
            Kind::Component { component, .. } => component.timeout(),
            _ => DRAIN,
        }
    }

    /// Takes no more calls, lets those under way end within `limit`, and frees what it holds.
    pub(super) async fn stop(self, limit: Duration) {
        self.watching.cancel();
        let until = Instant::now() + limit;
        // Before it stops to listen: who holds resources of it calls about them, and nobody else can answer.
        if let Kind::Component { functions: Some(functions), .. } = &self.what {
            functions.drain(until).await;
        }
        if let Kind::Backend(_, work) = &self.what {
            work.drain(limit).await;
        }
        let limit = until.saturating_duration_since(Instant::now());
        if let Some(serving) = self.serving {
            serving.drain(limit).await;
        }
        match self.what {
            Kind::Server(listening) => listening.close(limit).await,
            Kind::Process(process) => process.stop(limit).await,
            // Calls from this host do not come through `serving`; they are counted by the component.
            Kind::Component { component, .. } => quiet(&component, limit).await,
            Kind::Backend(..) => {}
        }
    }
}

async fn quiet(component: &LoadedComponent, limit: Duration) {
    let until = Instant::now() + limit;
    while component.in_flight() > 0 && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An instance and where it is in its life.
pub(super) struct Slot {
    instance: InstanceId,
    spec: UnitSpec,
    attempt: u32,
    life: Life,
    /// Why it is not as well as it should be. It may be heard before it is heard that the start is over.
    degraded: Option<String>,
}

enum Life {
    /// `signed`: something was signed meanwhile, which it may have asked for too early.
    Starting {
        stop: CancellationToken,
        last_reason: Option<String>,
        signed: bool,
    },
    Running {
        running: Box<Running>,
    },
    Failed {
        reason: String,
        retry_at: Instant,
        obstacle: Obstacle,
    },
    Draining,
}

/// What keeps an instance from running, as far as more is done about it than to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// What it needs is held by another instance, perhaps by the one that it replaces.
    Held,
    /// Nobody whom this host trusts has signed its artifacts.
    Unsigned,
    Other,
}

impl Slot {
    pub(super) fn starting(instance: InstanceId, spec: UnitSpec, attempt: u32, stop: CancellationToken) -> Self {
        Self {
            instance,
            spec,
            attempt,
            life: Life::Starting { stop, last_reason: None, signed: false },
            degraded: None,
        }
    }

    /// Keeps what the attempt before failed with, until this one has an outcome of its own.
    pub(super) fn after(mut self, before: Option<&Slot>) -> Self {
        if let (Life::Starting { last_reason, .. }, Some(Life::Failed { reason, .. })) =
            (&mut self.life, before.map(|b| &b.life))
        {
            *last_reason = Some(reason.clone());
        }
        self
    }

    pub(super) fn attempts(&self) -> u32 {
        self.attempt
    }

    pub(super) fn phase(&self) -> Phase {
        match &self.life {
            Life::Starting { .. } => Phase::Starting,
            Life::Running { .. } => Phase::Running,
            Life::Failed { retry_at, obstacle, .. } => {
                Phase::Failed { retry_at: *retry_at, busy: *obstacle == Obstacle::Held }
            }
            Life::Draining => Phase::Draining,
        }
    }

    pub(super) fn cancel(&self) {
        if let Life::Starting { stop, .. } = &self.life {
            stop.cancel();
        }
    }

    pub(super) fn started(&mut self, key: &Key, outcome: Result<Box<Running>, StartFailure>) {
        match outcome {
            Ok(running) => {
                tracing::info!(unit = %key.unit, revision = key.revision, "ready");
                self.life = Life::Running { running };
            }
            Err(failure) => self.fail(key, failure.to_string(), failure.obstacle()),
        }
    }

    pub(super) fn ended(&mut self, key: &Key, reason: String) {
        // A process that ends while it is drained does what it should.
        if matches!(self.life, Life::Running { .. }) {
            self.fail(key, reason, Obstacle::Other);
        }
    }

    fn fail(&mut self, key: &Key, reason: String, obstacle: Obstacle) {
        let signed = obstacle == Obstacle::Unsigned && matches!(self.life, Life::Starting { signed: true, .. });
        let pause = FIRST_RETRY.saturating_mul(1 << self.attempt.saturating_sub(1).min(10)).min(LAST_RETRY);
        let pause = if signed { Duration::ZERO } else { pause };
        tracing::warn!(unit = %key.unit, revision = key.revision, attempt = self.attempt, retry_in = ?pause, reason, "not running");
        self.life = Life::Failed { reason, retry_at: Instant::now() + pause, obstacle };
        self.degraded = None;
    }

    /// Something was signed: what waited for that is tried at once.
    pub(super) fn signed(&mut self) {
        match &mut self.life {
            Life::Starting { signed, .. } => *signed = true,
            Life::Failed { retry_at, obstacle: Obstacle::Unsigned, .. } => *retry_at = Instant::now(),
            _ => {}
        }
    }

    pub(super) fn health(&mut self, key: &Key, health: Health) {
        match health {
            Health::Ready => {
                if self.degraded.take().is_some() {
                    tracing::info!(unit = %key.unit, "it is well again");
                }
            }
            Health::Degraded(reason) => {
                tracing::warn!(unit = %key.unit, reason, "it is not well");
                self.degraded = Some(reason);
            }
        }
    }

    /// Moves to draining; what ran is handed out to be stopped.
    pub(super) fn drain(&mut self) -> Option<Box<Running>> {
        match std::mem::replace(&mut self.life, Life::Draining) {
            Life::Running { running } => Some(running),
            other => {
                self.life = other;
                None
            }
        }
    }

    /// What can be called here without NATS.
    pub(super) fn local(&self, key: &Key) -> Option<LocalInstance> {
        let Life::Running { running } = &self.life else { return None };
        let (http, calls, capability) = match &running.what {
            Kind::Component { http, functions, .. } => {
                (http.clone(), functions.clone().map(|functions| functions as Arc<dyn CallHandler>), None)
            }
            Kind::Backend(Capability::Wit(interfaces), _) => (None, Some(Arc::new(interfaces.clone()) as _), None),
            Kind::Backend(capability, _) => (None, None, Some(capability.clone())),
            Kind::Server(_) | Kind::Process(_) => return None,
        };
        Some(LocalInstance { unit: key.unit.clone(), http, capability, calls })
    }

    /// The component whose calls decide how many copies there are.
    pub(super) fn follows_load(&self) -> Option<Arc<LoadedComponent>> {
        match (&self.life, self.spec.scale()) {
            (Life::Running { running }, Scale::Follow(_)) => match &running.what {
                Kind::Component { component, .. } => Some(component.clone()),
                _ => None,
            },
            _ => None,
        }
    }

    pub(super) fn report(&self, key: &Key) -> InstanceReport {
        let (state, reason) = match &self.life {
            Life::Starting { last_reason: Some(reason), .. } => (InstanceState::Failed, Some(reason.clone())),
            Life::Starting { .. } => (InstanceState::Starting, None),
            Life::Running { .. } if self.degraded.is_none() => (InstanceState::Ready, None),
            Life::Running { .. } => (InstanceState::Degraded, self.degraded.clone()),
            Life::Failed { reason, .. } => (InstanceState::Failed, Some(reason.clone())),
            Life::Draining => (InstanceState::Draining, None),
        };
        let running = match &self.life {
            Life::Running { running } => Some(running),
            _ => None,
        };
        let (address, faults) = match running.map(|r| &r.what) {
            Some(Kind::Server(listening)) => (Some(listening.address.to_string()), Faults::default()),
            Some(Kind::Component { component, .. }) => (None, component.faults()),
            _ => (None, Faults::default()),
        };
        InstanceReport {
            unit: key.unit.clone(),
            instance: self.instance.clone(),
            revision: key.revision,
            kind: self.spec.kind().to_owned(),
            what: self.spec.what().to_owned(),
            state,
            reason,
            serves: running.map(|r| r.serves.clone()).unwrap_or_default(),
            json_only: running.is_some_and(|r| r.speaks.json_only),
            bundles: running.is_some_and(|r| r.speaks.bundles),
            address,
            faults,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]
mod tests {
    use lattice::{model::app::ProviderSpec, wire::Digest};

    use super::*;
    use crate::trust::Distrust;

    fn key() -> (Key, UnitSpec) {
        let spec = UnitSpec::Provider(ProviderSpec::of("keyvalue-memory"));
        let key = Key { unit: "shop/page".parse().unwrap(), revision: 1, spec: spec.digest(), secrets: 0 };
        (key, spec)
    }

    fn slot(attempt: u32) -> Slot {
        let (key, spec) = key();
        let host = format!("N{}", "A".repeat(55)).parse().unwrap();
        Slot::starting(key.instance(&host, attempt), spec, attempt, CancellationToken::new())
    }

    fn waits(slot: &Slot) -> Duration {
        let Phase::Failed { retry_at, busy: false } = slot.phase() else { panic!("{:?}", slot.phase()) };
        retry_at.saturating_duration_since(Instant::now())
    }

    #[test]
    fn what_waits_for_a_signature_does_not_wait_when_there_is_one() {
        let (key, _) = key();
        let unsigned = || Err(StartFailure::Distrust(Distrust::Unsigned(Digest::of(b"x"))));
        // Signed while it waits.
        let mut failed = slot(9);
        failed.started(&key, unsigned());
        assert!(waits(&failed) > Duration::from_secs(10));
        failed.signed();
        assert_eq!(waits(&failed), Duration::ZERO);
        // Signed while it asks.
        let mut asking = slot(9);
        asking.signed();
        asking.started(&key, unsigned());
        assert_eq!(waits(&asking), Duration::ZERO);
        // What fails for another reason is not helped.
        let mut other = slot(9);
        other.signed();
        other.started(&key, Err(StartFailure::Unknown("x".to_owned())));
        other.signed();
        assert!(waits(&other) > Duration::from_secs(10));
    }
}
