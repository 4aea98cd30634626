//! What this host tells of what has happened: to whoever listens on NATS, and the newest of it to whoever asks later.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use lattice::{
    bus::Bus,
    model::{
        event::{Event, Happening, Kind, Told},
        inventory::{InstanceReport, InstanceState},
    },
    wire::HostId,
};
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::logbook;

/// How many are remembered.
const KEPT: usize = 1000;

/// Tells events, and remembers them.
pub(crate) struct Events {
    host: HostId,
    bus: Bus,
    // A lock, held to add one or to copy them.
    told: Mutex<VecDeque<Event>>,
}

impl Events {
    pub(crate) fn new(bus: Bus, host: HostId) -> Self {
        Self { host, bus, told: Mutex::default() }
    }

    /// Tells all that comes, in its order.
    pub(crate) async fn tell(&self, mut happenings: Receiver<Happening>, stop: CancellationToken) {
        loop {
            let happening = tokio::select! {
                happening = happenings.recv() => happening,
                () = stop.cancelled() => return,
            };
            match happening {
                Ok(happening) => {
                    let event = happening.told(self.bus.lattice(), &self.host, logbook::now());
                    if let Err(error) = self.bus.announce(&event).await {
                        tracing::debug!(%error, "cannot tell an event");
                    }
                    self.keep(event);
                }
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "more happens than can be told"),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn keep(&self, event: Event) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.push_back(event);
        if told.len() > KEPT {
            told.pop_front();
        }
    }

    /// The newest that it has told, after that one where it is remembered.
    pub(crate) fn read(&self, after: Option<Uuid>) -> Told {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known = after.and_then(|after| told.iter().rposition(|event| event.id == after));
        Told { events: told.iter().skip(known.map_or(0, |place| place + 1)).cloned().collect() }
    }
}

/// What has become of instances.
pub(crate) fn of_instances(before: &[InstanceReport], now: &[InstanceReport]) -> Vec<Happening> {
    let mut news = Vec::new();
    for report in now {
        let was = before.iter().find(|old| old.instance == report.instance).map(|old| old.state);
        let kind = match report.state {
            state if was == Some(state) => continue,
            InstanceState::Ready => Kind::InstanceReady,
            InstanceState::Degraded => Kind::InstanceDegraded,
            InstanceState::Failed => Kind::InstanceFailed,
            InstanceState::Starting | InstanceState::Draining => continue,
        };
        news.push(of_instance(kind, report));
    }
    let gone = before.iter().filter(|old| !now.iter().any(|report| report.instance == old.instance));
    // What never took calls has failed, and that was told.
    let ended = gone.filter(|old| old.state.takes_calls() || old.state == InstanceState::Draining);
    news.extend(ended.map(|old| of_instance(Kind::InstanceEnded, old)));
    news
}

fn of_instance(kind: Kind, report: &InstanceReport) -> Happening {
    let data = [
        ("instance", report.instance.to_string().into()),
        ("revision", report.revision.into()),
        ("reason", report.reason.clone().into()),
        ("address", report.address.clone().into()),
    ];
    Happening::new(kind, &report.unit, data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use lattice::model::app::{ProviderSpec, UnitRecord, UnitSpec};

    use super::*;

    #[test]
    fn who_asks_goes_on_after_the_last_that_it_knows() {
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let events = Events::new(Bus::memory("default".parse().unwrap()), host.clone());
        let tell = |number: u64| {
            let happening = Happening::new(Kind::HostJoined, "x", [("number", number.into())]);
            events.keep(happening.told(&"default".parse().unwrap(), &host, number));
        };
        (0..3).for_each(tell);
        let all = events.read(None).events;
        assert_eq!(all.len(), 3);
        assert_eq!(events.read(Some(all[1].id)).events, all[2..]);
        assert!(events.read(Some(all[2].id)).events.is_empty());
        assert_eq!(events.read(Some(Uuid::now_v7())).events, all, "of a process that was there before");
        (0..KEPT as u64).for_each(tell);
        assert_eq!(events.read(None).events.len(), KEPT);
    }

    #[test]
    fn instances_become_ready_fail_and_end() {
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let report = |state| {
            let record = UnitRecord { revision: 1, spec: UnitSpec::Provider(ProviderSpec::of("keyvalue-memory")) };
            vec![InstanceReport::of(&host, &"shop/cache".parse().unwrap(), &record, state)]
        };
        let kinds = |before: &[InstanceReport], now: &[InstanceReport]| {
            of_instances(before, now).iter().map(|happening| happening.kind).collect::<Vec<_>>()
        };
        let [starting, ready, failed] =
            [InstanceState::Starting, InstanceState::Ready, InstanceState::Failed].map(report);
        assert!(kinds(&[], &starting).is_empty());
        assert_eq!(kinds(&starting, &ready), [Kind::InstanceReady]);
        assert!(kinds(&ready, &ready).is_empty());
        assert_eq!(kinds(&ready, &failed), [Kind::InstanceFailed]);
        assert_eq!(kinds(&ready, &[]), [Kind::InstanceEnded]);
        assert!(kinds(&failed, &[]).is_empty());
        let told = &of_instances(&starting, &ready)[0];
        assert_eq!((told.subject.as_str(), &told.data["revision"]), ("shop/cache", &1.into()));
    }
}
