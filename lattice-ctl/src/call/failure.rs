//! What can go wrong with a call, with the way out and the exit code.

use lattice::{
    model::problem::suggest,
    wire::{CallError, InstanceId, Interface, UnitId},
};

use super::known::Known;
use crate::output::plain;

#[derive(Debug, thiserror::Error)]
pub(crate) enum CallFailure {
    #[error("{message}")]
    Arguments { message: String, help: String },
    #[error("app {} has no unit `{}`", unit.app, unit.unit)]
    NoUnit { unit: UnitId, known: Vec<String> },
    #[error("{unit} has no instance {instance}")]
    NoInstance { unit: UnitId, instance: InstanceId, known: Vec<String> },
    #[error("nobody takes calls for {unit}: {reason}")]
    NobodyTakesCalls { unit: UnitId, reason: String },
    #[error("{unit} does not serve {}", in_words(interface))]
    NotServed { unit: UnitId, interface: Interface, served: Vec<String> },
    #[error(transparent)]
    Failed(Box<FailedCall>),
    #[error("calling {unit}: the answer is not JSON: {reason}")]
    Reply { unit: UnitId, reason: String },
    #[error("calling {unit}: the answer is not what its WIT says: {reason}")]
    Untyped { unit: UnitId, reason: String },
    #[error("`{function}` of {unit} returned an error")]
    Returned { unit: UnitId, function: String },
}

/// A call that was sent, and brought no result.
#[derive(Debug, thiserror::Error)]
#[error("calling {unit}: {}", plain(&error.to_string()))]
pub(crate) struct FailedCall {
    pub(super) unit: UnitId,
    pub(super) interface: Interface,
    pub(super) function: String,
    pub(super) error: CallError,
    pub(super) known: Known,
}

impl CallFailure {
    /// The exit code of its kind, as `--help` has it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Arguments { .. } => 2,
            Self::NobodyTakesCalls { .. } => 5,
            Self::NoUnit { .. } | Self::NoInstance { .. } | Self::NotServed { .. } => 6,
            Self::Failed(call) => match call.error {
                CallError::NoInstance(_) => 5,
                CallError::NotServed(_) => 6,
                _ => 8,
            },
            Self::Reply { .. } | Self::Untyped { .. } => 8,
            Self::Returned { .. } => 9,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Arguments { help, .. } => Some(help.clone()),
            Self::NoUnit { unit, known } => Some(suggest(unit.unit.as_str(), known.iter().map(String::as_str))),
            Self::NoInstance { unit, known, .. } if known.is_empty() => Some(runs_nowhere(unit)),
            Self::NoInstance { known, .. } => Some(format!("it has {}", known.join(", "))),
            Self::NobodyTakesCalls { unit, .. } => Some(watch(unit)),
            Self::NotServed { served, .. } if served.is_empty() => {
                Some("it serves nothing that can be called over the lattice".to_owned())
            }
            Self::NotServed { served, .. } => Some(format!("it serves {}", served.join(", "))),
            Self::Failed(call) => call.help(),
            Self::Reply { .. } => Some("what serves this interface must answer calls in JSON with JSON".to_owned()),
            Self::Untyped { .. } => Some("the call has run; the program must answer as its WIT says".to_owned()),
            Self::Returned { .. } => None,
        }
    }
}

fn in_words(interface: &Interface) -> String {
    match interface.unversioned() {
        Interface::ROOT => "functions that are in no interface".to_owned(),
        _ => interface.to_string(),
    }
}

fn runs_nowhere(unit: &UnitId) -> String {
    format!("no live host runs it now; `lattice-ctl status {}` shows why", unit.app)
}

fn watch(unit: &UnitId) -> String {
    format!("`lattice-ctl status {} --watch` shows how it goes on", unit.app)
}

impl FailedCall {
    fn help(&self) -> Option<String> {
        let Self { unit, interface, function, error, known } = self;
        let about = known.about(function);
        match error {
            CallError::NoInstance(_) => Some(watch(unit)),
            CallError::Overloaded(_) => Some(
                "it was not run; try again, or raise `limits.concurrency` or `replicas` in the manifest".to_owned(),
            ),
            CallError::Deadline(_) => Some("it may have run; give it more time with --deadline".to_owned()),
            CallError::Transport(_) => Some("it may have run; look before you try again".to_owned()),
            CallError::Trap(_) => Some(format!(
                "the log of its host has the whole of it, and `lattice-ctl status {}` counts the faults",
                unit.app
            )),
            CallError::TooLarge { .. } => Some("pass or ask for less at a time".to_owned()),
            CallError::BadMessage(_) if known.has(function) => {
                about.map(|about| format!("{about}; `lattice-ctl call --help` shows how each type is written"))
            }
            CallError::NotServed(_) if known.has(function) => {
                Some(format!("{interface} has `{function}`, but this instance does not serve it"))
            }
            CallError::BadMessage(_) | CallError::NotServed(_) => about,
            CallError::Gone(_) => Some("make the resource anew, and call again".to_owned()),
            CallError::Denied(_) => Some("ask whoever runs the lattice for the permission".to_owned()),
        }
    }
}
