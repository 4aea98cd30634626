//! Commands that look at apps and change them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use lattice::{
    model::app::{MAX_REPLICAS, Scale},
    wire::{AppName, IdError, UnitId, UnitName},
};

use super::{EXIT_CODES, RegistryOptions, duration};

/// The manifests that are meant
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ManifestOptions {
    /// A manifest, a file of several between lines of `---`, or a folder of such files (.yaml, .yml); `-` reads from stdin; may be
    /// repeated
    #[arg(long, short, value_name = "FILE", required = true)]
    pub(crate) file: Vec<String>,
    /// Put a value in place of each `${NAME}`, before anything is read; may be repeated. `$${` writes it as it is
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::variable)]
    pub(crate) set: Vec<(String, String)>,
    /// Put variables of the environment in the place of those that --set does not name
    #[arg(long)]
    pub(crate) env: bool,
}

/// Make the lattice run what manifests say, and wait until it does
///
/// Of several apps those that others are linked to come first; all of them are checked before the first is applied.
///
/// The manifest and every component that it names are checked before anything changes; all problems are told at
/// once. Progress goes to stderr, the result to stdout.
///
/// Waiting ends when every unit is ready; when a unit has been failed or degraded for 5 seconds, whatever the others
/// do (a unit that is tried again and again counts from its first failure); when its rollout is paused, has failed, or was taken
/// back; when no host is alive; when somebody else changes the app; or after --timeout. All but the first end with an exit code
/// other than 0, and what has been applied stays applied.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) manifests: ManifestOptions,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    /// Sign the components and programs, with the nkey whose seed is in this file: for hosts with `--trust`
    #[arg(long, env = "LATTICE_SIGN", value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Show what `apply` would do, without doing it
///
/// The manifest is checked as `apply` checks it. Then follow the units that would change and how, and for every unit whose places
/// would change, which hosts it leaves and to which it comes.
///
/// Several apps are planned one by one, each as if those before it had been applied.
///
/// The exit code is 0 when nothing would change and 2 when something would.
///
/// The fields of `-o json` and `-o yaml` are stable: app, revision, would_change, changed, added, removed, differences (by unit),
/// and of each of the places: unit, stays, comes, goes, starts_anew, problem.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) manifests: ManifestOptions,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
    /// Plan as if the components and programs were signed with the nkey whose seed is in this file
    #[arg(long, env = "LATTICE_SIGN", value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
}

/// Change how many copies of a unit there are, and wait until there are
///
/// It is a revision like any other. What runs goes on; `apply` of a manifest that says something else changes it back.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ScaleArgs {
    #[arg(value_name = "APP/UNIT")]
    pub(crate) unit: UnitId,
    /// A number, or `per-host` for one copy on every host that the placement allows
    #[arg(value_name = "COPIES", value_parser = scale)]
    pub(crate) scale: Scale,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// List the revisions of an app: the newest, and the 20 before it
///
/// The fields of `-o json` and `-o yaml` (an array of objects) are stable: revision, current, age_seconds, cause, changes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct HistoryArgs {
    pub(crate) app: String,
}

/// How a new revision comes to its hosts
#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// Show how far the newest revision of an app has come
    ///
    /// The fields of `-o json` and `-o yaml` are stable: app, revision, state (complete, progressing, paused, failed), complete
    /// (the newest revision that has run everywhere), reason, and of each of the units: unit, revision, wanted, updated, ready,
    /// before.
    #[command(after_help = EXIT_CODES)]
    Status { app: String },
    /// Let no further host have the newest revision; those that have it keep it
    ///
    /// It holds until `rollout resume`, or until there is another revision.
    #[command(after_help = EXIT_CODES)]
    Pause { app: String },
    /// Let the rollout go on, also one that has failed, and wait until it is through
    #[command(after_help = EXIT_CODES)]
    Resume {
        app: String,
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// Make an app what it was in an earlier revision, and wait until it is
///
/// The earlier revision is checked against the lattice as it is now, and becomes the newest one. Units that have run everywhere as they
/// were then change on all hosts at once.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct RollbackArgs {
    pub(crate) app: String,
    /// The revision to go back to [default: the one before the current]
    #[arg(long, value_name = "REVISION")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

/// Say why a unit runs where it runs, and what keeps it from other hosts
///
/// The fields of `-o json` and `-o yaml` (an array of objects) are stable: unit, state, reason, wanted, ready, and of each of the
/// hosts: host, planned, state, why.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct WhyArgs {
    /// A unit, or all units of an app
    #[arg(value_name = "APP[/UNIT]", value_parser = app_or_unit)]
    pub(crate) of: (AppName, Option<UnitName>),
}

/// Remove an app, and wait until nothing of it runs
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct DeleteArgs {
    /// Name of the app
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    pub(crate) app: Option<String>,
    /// The manifest that names the app; `-` reads it from stdin
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: Option<String>,
    /// Delete it also when other apps are linked to its units: their calls fail then
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Leave as soon as it is written
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// Show how apps are, and why a unit is not ready
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct StatusArgs {
    /// Name of the app; all apps without one
    pub(crate) app: Option<String>,
    /// Show it again whenever it changes, until Ctrl-C
    #[arg(long, short)]
    pub(crate) watch: bool,
}

fn scale(text: &str) -> Result<Scale, String> {
    match text.parse::<u32>() {
        _ if text == "per-host" => Ok(Scale::PerHost),
        Ok(n) if n <= MAX_REPLICAS => Ok(Scale::Replicas(n)),
        Ok(_) => Err(format!("{MAX_REPLICAS} is the most")),
        Err(_) => Err("write a number of copies, or `per-host`".to_owned()),
    }
}

pub(super) fn app_or_unit(text: &str) -> Result<(AppName, Option<UnitName>), String> {
    let (app, unit) = text.split_once('/').map_or((text, None), |(app, unit)| (app, Some(unit)));
    let error = |error: IdError| error.to_string();
    Ok((app.parse().map_err(error)?, unit.map(str::parse).transpose().map_err(error)?))
}
