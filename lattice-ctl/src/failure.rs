//! What can go wrong, with the way out and the exit code.

use std::{io, path::PathBuf};

use lattice::{
    bus::{ArtifactError, ConnectError, StoreError},
    model::{app::AppRecord, problem::suggest},
    wire::{AppName, LatticeName, UnitName},
};
use lattice_view::ViewError;

use crate::{call::CallFailure, conform::ConformFailure, problems::Rejected, secrets::SecretId};

pub(crate) type Result<T> = std::result::Result<T, Failure>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Everything that is wrong with a manifest, each with its place.
    #[error("{0}")]
    Rejected(Box<Rejected>),
    #[error("cannot read the manifest {path}: {reason}")]
    ManifestFile { path: String, reason: String },
    #[error("app {app} is {size} bytes with its manifest; this NATS server takes {limit} bytes in a message")]
    TooLarge { app: AppName, size: usize, limit: usize },
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    #[error("no host has joined lattice {0}")]
    NoHost(LatticeName),
    /// The units that are not ready stand in the text.
    #[error("{message}")]
    NotReady { app: AppName, message: String },
    #[error("there is no app `{name}` in lattice {lattice}")]
    NoApp { name: String, lattice: LatticeName, known: Vec<String> },
    #[error("lattice {lattice} has no secret `{id}`")]
    NoSecret { id: SecretId, lattice: LatticeName, known: Vec<String> },
    #[error("{message}")]
    NotFound { message: String, help: String },
    /// What was begun has not come to its end in time.
    #[error("{message}")]
    NotDone { message: String, help: String },
    /// What `doctor` has found.
    #[error("{} bad", if *.0 == 1 { "one thing is".to_owned() } else { format!("{} things are", .0) })]
    Unwell(usize),
    /// The compiler has said why.
    #[error("it cannot be built")]
    Build,
    #[error("{message}")]
    Refused { message: String, help: String },
    #[error(transparent)]
    Call(#[from] CallFailure),
    #[error(transparent)]
    Conform(#[from] ConformFailure),
    #[error("{0}")]
    Overtaken(String),
    #[error("{message}")]
    Start { message: String, help: Option<String> },
    #[error("{what} {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot print: {0}")]
    Print(io::Error),
    /// What `replay` has found.
    #[error("{different} of {of} calls went otherwise")]
    Differs { different: usize, of: usize },
    /// No failure: what `plan` says to whoever asks for its exit code.
    #[error("something would change")]
    WouldChange,
    /// Whoever reads our output has left.
    #[error("nobody reads the output")]
    OutputClosed,
    #[error("{0}")]
    Other(String),
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Self {
        match error {
            ViewError::Store(error) => error.into(),
            ViewError::NoApp { name, lattice, known } => Self::NoApp { name, lattice, known },
            ViewError::NoUnit { ref unit, ref known, .. } => Self::NotFound {
                message: error.to_string(),
                help: suggest(unit.as_str(), known.iter().map(String::as_str)),
            },
        }
    }
}

impl Failure {
    /// `app` has no `unit`.
    pub(crate) fn no_unit(app: &AppRecord, unit: &UnitName) -> Self {
        ViewError::no_unit(app, unit).into()
    }

    /// The exit code of its kind, as `--help` has it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Rejected(_) | Self::ManifestFile { .. } | Self::TooLarge { .. } | Self::Build => 3,
            Self::Artifact(ArtifactError::TooLarge { .. }) => 3,
            Self::Connect(_) | Self::Store(StoreError::Unavailable(_)) => 4,
            Self::Artifact(ArtifactError::Unavailable(_)) => 4,
            Self::NoHost(_) | Self::NotReady { .. } | Self::NotDone { .. } | Self::Unwell(_) => 5,
            Self::NoApp { .. }
            | Self::NoSecret { .. }
            | Self::NotFound { .. }
            | Self::Artifact(ArtifactError::Missing(_)) => 6,
            Self::Overtaken(_) | Self::Store(StoreError::Conflict { .. }) => 7,
            Self::Call(failure) => failure.exit_code(),
            Self::Conform(failure) => failure.exit_code(),
            Self::OutputClosed => 0,
            Self::WouldChange => 2,
            Self::Artifact(ArtifactError::Damaged { .. }) | Self::Store(StoreError::Unreadable { .. }) => 1,
            Self::Differs { .. }
            | Self::Start { .. }
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::Print(_)
            | Self::Other(_) => 1,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::ManifestFile { .. } => Some("name a file, or `-` to read from stdin".to_owned()),
            Self::TooLarge { .. } => Some("make the app smaller, or raise max_payload of nats-server".to_owned()),
            Self::Connect(ConnectError::Unreachable { .. }) => Some(
                "start nats-server with -js there, name another with --nats or NATS_URL, or let `lattice-ctl up FILE` \
                 start one"
                    .to_owned(),
            ),
            Self::Connect(ConnectError::Refused { .. }) => {
                Some("give --nats-creds, --nats-nkey, --nats-user with --nats-password, or --nats-token".to_owned())
            }
            Self::NoHost(lattice) => Some(format!(
                "start one with `lattice-host`{}; it will run what has been applied",
                if lattice.as_str() == "default" { String::new() } else { format!(" --lattice {lattice}") }
            )),
            Self::NotReady { app, .. } => Some(format!("`lattice-ctl status {app} --watch` shows how it goes on")),
            Self::NoApp { name, known, .. } if known.is_empty() => {
                Some(format!("there are no apps at all; is `{name}` in another lattice (--lattice NAME)?"))
            }
            Self::NoApp { name, known, .. } => Some(suggest(name, known.iter().map(String::as_str))),
            Self::NoSecret { id, known, .. } => Some(suggest(&id.to_string(), known.iter().map(String::as_str))),
            Self::Refused { help, .. } | Self::NotFound { help, .. } | Self::NotDone { help, .. } => Some(help.clone()),
            Self::Store(StoreError::Conflict { .. }) => Some("try again".to_owned()),
            Self::Call(failure) => failure.help(),
            Self::Conform(failure) => failure.help(),
            Self::Start { help, .. } => help.clone(),
            _ => None,
        }
    }
}
