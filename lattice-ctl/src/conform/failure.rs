//! What can go wrong before there is a report, with the way out and the exit code.

use std::path::PathBuf;

use lattice::model::{catalog, problem::suggest};

use super::suites;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ConformFailure {
    #[error("there is no provider `{name}`")]
    NoProvider { name: String },
    #[error("the executable of {name} is not at {}", path.display())]
    NoExecutable { name: String, path: PathBuf },
    #[error("{message}")]
    Usage { message: String, help: String },
    #[error("there is no suite for {served}")]
    NoSuite { served: String },
    #[error("{name} does not start: {reason}{log}")]
    NotStarted {
        name: String,
        reason: String,
        /// The end of its log, in lines of its own.
        log: String,
    },
    #[error("{name} does not conform: {failed} of {made} checks failed")]
    DoesNotConform { name: String, failed: usize, made: usize },
    #[error("stopped before all checks were made")]
    Stopped,
}

impl ConformFailure {
    /// The exit code of its kind, as `--help` has it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::NoProvider { .. } | Self::NoExecutable { .. } | Self::NoSuite { .. } => 6,
            Self::NotStarted { .. } | Self::DoesNotConform { .. } | Self::Stopped => 1,
        }
    }

    /// What to do about it.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::NoProvider { name } => {
                let names = catalog::PROVIDERS.iter().map(|kind| kind.name);
                Some(format!(
                    "{} (a program of your own is named by its path, such as `./{name}`)",
                    suggest(name, names)
                ))
            }
            Self::NoExecutable { path, .. } if path.starts_with("/") => {
                Some("put it there, beside lattice-ctl; `cargo build --bins` makes both".to_owned())
            }
            Self::NoExecutable { .. } => Some("name the path of an executable file".to_owned()),
            Self::Usage { help, .. } => Some(help.clone()),
            Self::NoSuite { .. } => Some(format!("there are suites for {}", suites::known())),
            Self::NotStarted { name, .. } => settings(name),
            Self::DoesNotConform { .. } | Self::Stopped => None,
        }
    }
}

/// The settings that a provider of the catalog takes.
fn settings(name: &str) -> Option<String> {
    let kind = catalog::find(name)?;
    let one = |key: &catalog::ConfigKey| {
        format!("\n  {}{}: {}", key.name, if key.required { " (required)" } else { "" }, key.about)
    };
    let all: String = kind.config.iter().map(one).collect();
    if all.is_empty() {
        Some(format!("{name} takes no settings"))
    } else {
        Some(format!("its settings (--config KEY=VALUE) are{all}"))
    }
}
