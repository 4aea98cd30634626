//! Questions that hosts answer for themselves.

use std::{collections::BTreeMap, time::Duration};

use lattice::{
    bus::Bus,
    model::{
        asked::{Question, served},
        inventory::HostRecord,
    },
    wire::{CallError, CallHead, CallSubject, ContentType, HostId, IdError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::output::Output;

/// How long a host may take to answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Asks a host. The arguments are a tuple, as a function's always are.
pub(crate) async fn ask<T: DeserializeOwned>(
    bus: &Bus,
    host: &HostRecord,
    question: Question,
    arguments: &impl Serialize,
) -> Result<T, CallError> {
    let wrong = |error: IdError| CallError::BadMessage(error.to_string());
    let (served, interface) = (served(bus.lattice(), &host.host).map_err(wrong)?, question.interface().map_err(wrong)?);
    let unversioned = interface.unversioned().parse().map_err(wrong)?;
    let subject =
        CallSubject { lattice: served.lattice, unit: served.unit, instance: served.instance, interface: unversioned };
    let head = CallHead {
        interface,
        function: question.function().to_owned(),
        deadline: DEADLINE,
        caller: None,
        content_type: ContentType::Json,
        traceparent: None,
        session: None,
    };
    let unreadable = |error: serde_json::Error| CallError::BadMessage(error.to_string());
    let payload = serde_json::to_vec(arguments).map_err(unreadable)?;
    let answer = bus.call(&subject, &head, payload.into()).await?;
    serde_json::from_slice(&answer).map_err(unreadable)
}

/// The hosts that have not answered, and what has been said of that: once for each reason, while they are asked again and again.
#[derive(Default)]
pub(crate) struct Silent(BTreeMap<HostId, String>);

impl Silent {
    pub(crate) fn has_answered(&mut self, host: &HostId) {
        self.0.remove(host);
    }

    /// Says that `host` does not tell `what`, unless that was just said.
    pub(crate) fn tell(&mut self, host: &HostId, what: &str, error: &CallError, output: &mut Output) {
        let reason = error.to_string();
        if self.0.get(host) != Some(&reason) {
            output.note(&format!("host {} does not tell {what}: {reason}", host.short()));
            self.0.insert(host.clone(), reason);
        }
    }
}
