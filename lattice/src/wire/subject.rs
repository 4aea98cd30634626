//! Subjects. Nobody outside this file writes a dot.
//!
//! A call goes to one instance: `lattice.<lattice>.call.<app>.<unit>.<instance>.<interface>`. The interface stands
//! without its version, which has dots; the version is in the message's headers. NATS permissions can so be given by
//! app, unit and interface.
//!
//! Frames of streams go to a process: `lattice.<lattice>.stream.<process>.<stream>`. Both are UUIDs without dashes. A
//! process subscribes once to all of its own, `lattice.<lattice>.stream.<process>.*`. A ticket is the last two tokens.
//!
//! Answers to calls that share a message go to a process, too: `lattice.<lattice>.reply.<process>.<message>`.
//!
//! What has happened is told at `lattice.<lattice>.event.<kind>`, to whoever listens.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::{IdError, InstanceId, Interface, LatticeName, UnitId};

/// Where one call is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallSubject {
    pub lattice: LatticeName,
    pub unit: UnitId,
    pub instance: InstanceId,
    /// Without a version.
    pub interface: Interface,
}

impl fmt::Display for CallSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lattice, unit, instance, interface } = self;
        write!(f, "lattice.{lattice}.call.{}.{}.{instance}.{}", unit.app, unit.unit, interface.unversioned())
    }
}

impl CallSubject {
    /// Whether a call's subject, as text, is one for `interface`. It is not read in whole: each call asks this.
    pub fn is_for(subject: &str, interface: &Interface) -> bool {
        subject.strip_suffix(interface.unversioned()).is_some_and(|rest| rest.ends_with('.'))
    }
}

/// Why a text is not a subject of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    #[error("subject is not of the form lattice.<lattice>.call.<app>.<unit>.<instance>.<interface>")]
    Form,
    #[error("this is not a stream's ticket, <process>.<stream>, each 32 hexadecimal digits")]
    Ticket,
    #[error(transparent)]
    Id(#[from] IdError),
}

impl FromStr for CallSubject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let mut tokens = text.split('.');
        let mut next = || tokens.next().ok_or(SubjectError::Form);
        if next()? != "lattice" {
            return Err(SubjectError::Form);
        }
        let lattice = next()?.parse()?;
        if next()? != "call" {
            return Err(SubjectError::Form);
        }
        let unit = UnitId::new(next()?.parse()?, next()?.parse()?);
        let subject = Self { lattice, unit, instance: next()?.parse()?, interface: next()?.parse()? };
        if tokens.next().is_some() || subject.interface.version().is_some() {
            return Err(SubjectError::Form);
        }
        Ok(subject)
    }
}

/// Everything that one instance answers: what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub lattice: LatticeName,
    pub unit: UnitId,
    pub instance: InstanceId,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lattice, unit, instance } = self;
        write!(f, "lattice.{lattice}.call.{}.{}.{instance}.*", unit.app, unit.unit)
    }
}

impl Served {
    /// The same with whatever may follow, as programs in other languages may subscribe to it.
    pub fn and_below(&self) -> String {
        let Self { lattice, unit, instance } = self;
        format!("lattice.{lattice}.call.{}.{}.{instance}.>", unit.app, unit.unit)
    }
}

/// Where any process of a lattice takes frames and answers: what whoever answers calls publishes to, beside inboxes. Nobody guesses
/// the numbers in them.
pub fn ends_of_calls(lattice: &LatticeName) -> [String; 2] {
    ["stream", "reply"].map(|what| format!("lattice.{lattice}.{what}.*.*"))
}

/// Where an event of this kind is told; the kind is words with dots between them.
pub fn event(lattice: &LatticeName, kind: &str) -> String {
    format!("lattice.{lattice}.event.{kind}")
}

/// All calls of all lattices.
pub const ALL_CALLS: &str = "lattice.*.call.>";

/// One end of a stream, in one lattice: `<process>.<stream>`, each 32 hexadecimal digits. Whoever has the ticket of an
/// offered stream may take it, so the numbers cannot be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ticket {
    pub process: Uuid,
    pub stream: Uuid,
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.process.simple(), self.stream.simple())
    }
}

/// Reads the form without dashes alone: one stream has one name.
fn simple(text: &str) -> Option<Uuid> {
    let strict = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if strict { Uuid::try_parse(text).ok() } else { None }
}

impl FromStr for Ticket {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let (process, stream) = text.split_once('.').ok_or(SubjectError::Ticket)?;
        match (simple(process), simple(stream)) {
            (Some(process), Some(stream)) => Ok(Self { process, stream }),
            _ => Err(SubjectError::Ticket),
        }
    }
}

impl TryFrom<String> for Ticket {
    type Error = SubjectError;
    fn try_from(text: String) -> Result<Self, SubjectError> {
        text.parse()
    }
}

impl From<Ticket> for String {
    fn from(ticket: Ticket) -> String {
        ticket.to_string()
    }
}

/// Where the frames for one end of a stream are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamSubject {
    pub lattice: LatticeName,
    pub ticket: Ticket,
}

impl fmt::Display for StreamSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lattice.{}.stream.{}", self.lattice, self.ticket)
    }
}

impl FromStr for StreamSubject {
    type Err = SubjectError;
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let mut tokens = text.splitn(4, '.');
        let (Some("lattice"), Some(lattice), Some("stream"), Some(ticket)) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            return Err(SubjectError::Ticket);
        };
        Ok(Self { lattice: lattice.parse()?, ticket: ticket.parse()? })
    }
}

/// All streams of one process: what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessStreams {
    prefix: String,
}

impl ProcessStreams {
    pub fn new(lattice: &LatticeName, process: Uuid) -> Self {
        Self { prefix: format!("lattice.{lattice}.stream.{}.", process.simple()) }
    }

    /// The stream that a subject of this process names. For each frame, so it only compares.
    pub fn stream(&self, subject: &str) -> Option<Uuid> {
        simple(subject.strip_prefix(&self.prefix)?)
    }
}

impl fmt::Display for ProcessStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix)
    }
}

/// The answers to calls of one process that shared messages: what it subscribes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessReplies {
    prefix: String,
}

impl ProcessReplies {
    pub fn new(lattice: &LatticeName, process: Uuid) -> Self {
        Self { prefix: format!("lattice.{lattice}.reply.{}.", process.simple()) }
    }

    /// Where the calls of one message are answered.
    pub fn subject(&self, message: u64) -> String {
        format!("{}{message}", self.prefix)
    }

    /// The message whose calls are answered at a subject of this process.
    pub fn message(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.prefix)?.parse().ok()
    }
}

impl fmt::Display for ProcessReplies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}*", self.prefix)
    }
}

/// What the subjects have in common at which one process takes answers to calls that share messages; any other subject
/// has nothing in common with another one.
pub fn replies_of(subject: &str) -> &str {
    let mut tokens = subject.split('.');
    if let (Some("lattice"), Some(_), Some("reply")) = (tokens.next(), tokens.next(), tokens.next()) {
        return subject.rsplit_once('.').map_or(subject, |(process, _)| process);
    }
    subject
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_subject_comes_back() {
        let text = "lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store";
        let subject: CallSubject = text.parse().unwrap();
        assert_eq!(subject.to_string(), text);
        assert_eq!(subject.interface.name(), "store");
    }

    #[test]
    fn other_subjects_are_refused() {
        for bad in [
            "",
            "lattice",
            "lattice.default.call.shop.cart.0123456789abcdef",
            "lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store.more",
            "lattice.default.call.shop.*.0123456789abcdef.wasi:keyvalue/store",
            "other.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store",
            "lattice.default.call.shop.cart.xyz.wasi:keyvalue/store",
        ] {
            assert!(bad.parse::<CallSubject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn stream_subjects_and_tickets_come_back() {
        let ticket = Ticket { process: Uuid::now_v7(), stream: Uuid::now_v7() };
        assert_eq!(ticket.to_string().parse(), Ok(ticket));
        let lattice: LatticeName = "default".parse().unwrap();
        let subject = StreamSubject { lattice: lattice.clone(), ticket };
        assert_eq!(subject.to_string().parse(), Ok(subject.clone()));
        let ours = ProcessStreams::new(&lattice, ticket.process);
        assert_eq!(ours.stream(&subject.to_string()), Some(ticket.stream));
        assert_eq!(ours.stream("lattice.default.stream.x.y"), None);
        assert_eq!(ours.to_string(), format!("lattice.default.stream.{}.*", ticket.process.simple()));
        for bad in
            ["", ".", "a.b", "$JS.API", &ticket.process.to_string(), &format!("{ticket}.x"), &format!("{ticket}x")]
        {
            assert!(bad.parse::<Ticket>().is_err(), "{bad}");
            assert!(format!("lattice.default.stream.{bad}").parse::<StreamSubject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_go_to_their_process() {
        let process = Uuid::from_u128(0x018bcfe568007000800000000000abcd);
        let ours = ProcessReplies::new(&"default".parse().unwrap(), process);
        let subject = ours.subject(17);
        assert_eq!(subject, format!("lattice.default.reply.{}.17", process.simple()));
        assert_eq!(ours.message(&subject), Some(17));
        assert_eq!(ours.to_string(), format!("lattice.default.reply.{}.*", process.simple()));
        for other in ["", "lattice.default.reply.x.17", &format!("{subject}.1"), &format!("{subject}x")] {
            assert_eq!(ours.message(other), None, "{other}");
        }
        assert_eq!(replies_of(&subject), replies_of(&ours.subject(18)));
        for alone in ["_INBOX.a.b", "_INBOX.a.c", "lattice.default.stream.a.b", "reply", ""] {
            assert_eq!(replies_of(alone), alone);
        }
    }

    #[test]
    fn a_subject_is_for_its_interface_alone() {
        let subject = "lattice.default.call.shop.cart.0123456789abcdef.wasi:keyvalue/store";
        let is_for = |interface: &str| CallSubject::is_for(subject, &interface.parse().unwrap());
        assert!(is_for("wasi:keyvalue/store@0.2.0-draft") && is_for("wasi:keyvalue/store"));
        assert!(!is_for("wasi:keyvalue/atomics") && !is_for("store") && !is_for("i:keyvalue/store"));
    }
}
