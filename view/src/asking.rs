//! Questions that hosts answer for themselves.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use lattice::{
    bus::Bus,
    model::{
        asked::{Question, served},
        inventory::HostRecord,
    },
    wire::{CallError, CallHead, CallSubject, ContentType, HostId, IdError},
};
use serde::{Serialize, de::DeserializeOwned};

/// How long a host may take to answer.
const fn deadline(question: Question) -> Duration {
    Duration::from_secs(match question {
        // It fetches a program, starts it, and hears what that says.
        Question::Program => 12,
        _ => 3,
    })
}

/// Asks a host. The arguments are a tuple, as a function's always are.
pub async fn ask<T: DeserializeOwned>(
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
        deadline: deadline(question),
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

/// Asks several hosts the same, each with arguments of its own, all at a time.
pub async fn ask_all<'h, T, A>(
    bus: &Bus,
    question: Question,
    asked: impl Iterator<Item = (&'h HostRecord, A)>,
) -> Vec<(HostId, Result<T, CallError>)>
where
    T: DeserializeOwned,
    A: Serialize,
{
    let ask_one = |(host, arguments): (&'h HostRecord, A)| {
        let bus = bus.clone();
        async move { (host.host.clone(), ask(&bus, host, question, &arguments).await) }
    };
    join_all(asked.map(ask_one)).await
}

/// Who is told what is worth knowing beside what was asked for.
pub trait Remarks: Send {
    /// A line for people.
    fn note(&mut self, text: &str);
}

impl Remarks for Vec<String> {
    fn note(&mut self, text: &str) {
        self.push(text.to_owned());
    }
}

/// How far was read what each host numbers: the process that it was, and the last number.
pub type Places = BTreeMap<HostId, (u64, u64)>;

/// The hosts that have not answered, and what has been said of that: once for each reason, while they are asked again and again.
#[derive(Default)]
pub struct Silent(BTreeMap<HostId, String>);

impl Silent {
    /// It has answered: what it does not tell the next time is said again.
    pub fn has_answered(&mut self, host: &HostId) {
        self.0.remove(host);
    }

    /// Says that `host` does not tell `what`, unless that was just said.
    pub fn tell(&mut self, host: &HostId, what: &str, error: &CallError, remarks: &mut dyn Remarks) {
        let reason = error.to_string();
        if self.0.get(host) != Some(&reason) {
            remarks.note(&format!("host {} does not tell {what}: {reason}", host.short()));
            self.0.insert(host.clone(), reason);
        }
    }
}
