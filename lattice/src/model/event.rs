//! What has happened in a lattice, for people's own tools: CloudEvents 1.0 in JSON, on NATS as they happen, and the newest of them from
//! each host that has told them. Nothing in the lattice goes by them.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::wire::{HostId, LatticeName};

/// What kind of thing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    HostJoined,
    /// Its units go to others.
    HostLost,
    /// It was lost, and is heard again.
    HostBack,
    /// It has said good-bye, or was forgotten.
    HostLeft,
    /// An app is there, or has another revision.
    AppApplied,
    AppDeleted,
    /// The newest revision runs everywhere.
    RolloutComplete,
    RolloutFailed,
    /// Another host plans for the lattice.
    ControlTaken,
    InstanceReady,
    /// It takes calls, and its backend is away.
    InstanceDegraded,
    InstanceFailed,
    InstanceEnded,
}

impl Kind {
    /// All, with the names by which their subjects and types end.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::HostJoined, "host.joined"),
        (Self::HostLost, "host.lost"),
        (Self::HostBack, "host.back"),
        (Self::HostLeft, "host.left"),
        (Self::AppApplied, "app.applied"),
        (Self::AppDeleted, "app.deleted"),
        (Self::RolloutComplete, "rollout.complete"),
        (Self::RolloutFailed, "rollout.failed"),
        (Self::ControlTaken, "control.taken"),
        (Self::InstanceReady, "instance.ready"),
        (Self::InstanceDegraded, "instance.degraded"),
        (Self::InstanceFailed, "instance.failed"),
        (Self::InstanceEnded, "instance.ended"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// Something that has happened, which nobody has been told yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Happening {
    pub kind: Kind,
    /// A host, `APP`, or `APP/UNIT`.
    pub subject: String,
    pub data: Map<String, Value>,
}

impl Happening {
    /// With what is to be said beside it; what is null is left out.
    pub fn new<const N: usize>(kind: Kind, subject: impl ToString, data: [(&str, Value); N]) -> Self {
        let data = data.into_iter().filter(|(_, value)| !value.is_null());
        Self { kind, subject: subject.to_string(), data: data.map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    /// As `host` tells it, at a time in microseconds since 1970.
    pub fn told(self, lattice: &LatticeName, host: &HostId, at_us: u64) -> Event {
        let at = DateTime::from_timestamp_micros(i64::try_from(at_us).unwrap_or(i64::MAX)).unwrap_or_default();
        Event {
            specversion: "1.0".to_owned(),
            id: Uuid::now_v7(),
            source: format!("/lattice/{lattice}/host/{host}"),
            kind: format!("lattice.{}", self.kind.name()),
            subject: self.subject,
            time: at.to_rfc3339_opts(SecondsFormat::Micros, true),
            datacontenttype: "application/json".to_owned(),
            data: self.data,
        }
    }
}

/// A CloudEvent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub specversion: String,
    pub id: Uuid,
    /// Who tells it: `/lattice/<lattice>/host/<host>`.
    pub source: String,
    /// `lattice.` and the kind.
    #[serde(rename = "type")]
    pub kind: String,
    pub subject: String,
    /// By the clock of who tells it.
    pub time: String,
    pub datacontenttype: String,
    pub data: Map<String, Value>,
}

/// What a host answers: the newest that it has told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// In their order.
    pub events: Vec<Event>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_what_its_standard_asks_for() {
        let host: HostId = format!("N{}", "A".repeat(55)).parse().unwrap();
        let data = [("revision", 3.into()), ("reason", Value::Null)];
        let event = Happening::new(Kind::AppApplied, "shop", data).told(
            &"default".parse().unwrap(),
            &host,
            1_700_000_000_000_001,
        );
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!((&json["specversion"], &json["type"]), (&"1.0".into(), &"lattice.app.applied".into()));
        assert_eq!(json["source"], format!("/lattice/default/host/{host}"));
        assert_eq!(
            (&json["time"], &json["data"]),
            (&"2023-11-14T22:13:20.000001Z".into(), &serde_json::json!({ "revision": 3 }))
        );
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        let names: std::collections::BTreeSet<_> = Kind::ALL.iter().map(|(kind, _)| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
    }
}
