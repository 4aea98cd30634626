//! The command line. Commands for apps are in [`apps`], those for hosts in [`hosts`], those that only look in [`looking`],
//! those for who writes components and providers in [`developing`], those for what a lattice keeps in [`keeping`].

mod apps;
mod developing;
mod hosts;
mod keeping;
mod looking;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lattice::{
    bus::{Bus, NatsOptions},
    model::manifest::parse_duration,
    wire::{LatticeName, MAX_DEADLINE},
};

pub(crate) use self::{
    apps::{
        ApplyArgs, DeleteArgs, HistoryArgs, ManifestOptions, PlanArgs, RollbackArgs, RolloutCommand, ScaleArgs,
        StatusArgs, Waiting, WhyArgs,
    },
    developing::{
        BuildArgs, ConformArgs, ConvertArgs, DevArgs, InspectArgs, Kind, NewArgs, PullArgs, PushArgs, UpArgs,
    },
    hosts::{DrainArgs, HostCommand},
    keeping::{
        ArtifactCommand, BundleArgs, ContextCommand, DefaultsCommand, PruneArgs, PutSecretArgs, QuotaCommand,
        SecretsCommand,
    },
    looking::{
        CallArgs, EventsArgs, ExplainArgs, GetArgs, LogsArgs, RecordArgs, ReplayArgs, SpyArgs, TopArgs, UiArgs, What,
    },
};
use crate::{
    failure::{Failure, Result},
    output::Output,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  any other failure
  2  wrong usage; of `plan`: something would change
  3  the manifest or a component is wrong
  4  the lattice cannot be reached
  5  not ready in time, or a unit failed
  6  not found
  7  somebody else changed it meanwhile
  8  a call failed
  9  the function that was called returned an error";

/// Drive a lattice: apply manifests, see what runs where and why something does not
#[derive(Debug, Parser)]
#[command(name = "lattice-ctl", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Name of the lattice
    #[arg(long, env = "LATTICE", default_value = "default", value_name = "NAME", global = true)]
    pub(crate) lattice: LatticeName,
    /// How to print results
    #[arg(long, short, value_enum, default_value_t = Format::Table, global = true)]
    pub(crate) output: Format,
    /// When to use colours; `auto` respects NO_COLOR
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN", global = true)]
    pub(crate) color: Color,
    /// Use the servers, the credentials and the lattice of this context; `lattice-ctl ctx` keeps them
    #[arg(long, env = "LATTICE_CONTEXT", value_name = "NAME", global = true)]
    pub(crate) context: Option<String>,
    #[command(flatten)]
    pub(crate) nats: NatsOptions,
    /// Whether somebody has named the servers, or they are those that are tried by default.
    #[arg(skip)]
    pub(crate) nats_named: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Apply(ApplyArgs),
    Plan(PlanArgs),
    Scale(ScaleArgs),
    History(HistoryArgs),
    Rollback(RollbackArgs),
    /// Show how a revision comes to its hosts, pause it, and let it go on
    #[command(subcommand)]
    Rollout(RolloutCommand),
    Delete(DeleteArgs),
    Status(StatusArgs),
    Why(WhyArgs),
    Explain(ExplainArgs),
    Logs(LogsArgs),
    Events(EventsArgs),
    Top(TopArgs),
    Spy(SpyArgs),
    Record(RecordArgs),
    Replay(ReplayArgs),
    Ui(UiArgs),
    Get(GetArgs),
    Call(CallArgs),
    /// Say what a host may run, move everything off it, and end it
    #[command(subcommand)]
    Host(HostCommand),
    /// Keep secrets in the lattice, sealed so that nobody but its hosts can read them
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Say what holds in the whole lattice where manifests say nothing
    #[command(subcommand)]
    Defaults(DefaultsCommand),
    /// Say how much of the lattice apps may have
    #[command(subcommand)]
    Quota(QuotaCommand),
    /// See what the store has, sign it, and remove what nobody needs
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    Bundle(BundleArgs),
    Convert(ConvertArgs),
    Push(PushArgs),
    Pull(PullArgs),
    Conform(ConformArgs),
    Up(UpArgs),
    New(NewArgs),
    Build(BuildArgs),
    Dev(DevArgs),
    Inspect(InspectArgs),
    /// Look at everything that a lattice stands on, and say what is wrong and how it is mended
    ///
    /// NATS and its streams, hosts with their clocks, disks and open files, releases, units that are not well, and the compiler for
    /// components. The exit code is 5 when anything is bad.
    ///
    /// The fields of `-o json` and `-o yaml` (an array of objects) are stable: verdict (ok, note, bad), what, detail, mend.
    #[command(after_help = EXIT_CODES)]
    Doctor,
    /// Keep several lattices by name, each with the way to its NATS
    #[command(subcommand)]
    Ctx(ContextCommand),
    /// Print the JSON schema of manifests, for editors
    Schema,
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Write manual pages, one for each command, into a folder: for `man -M`, or a package
    Man {
        folder: PathBuf,
    },
    /// Print the version
    Version,
}

/// How OCI registries are reached
///
/// Who may be asked for a name and a password is what `docker login` and its like have written: ~/.docker/config.json, or
/// the folder in DOCKER_CONFIG.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RegistryOptions {
    /// Certificates in PEM that registries and servers of https:// images may be known by, beside those that the system trusts
    #[arg(long, value_name = "FILE", env = "LATTICE_REGISTRY_CA")]
    pub(crate) registry_ca: Option<PathBuf>,
    /// A registry that is asked without encryption; may be repeated. One on this machine always is, unless --registry-ca is there
    #[arg(long, value_name = "HOST[:PORT]", env = "LATTICE_INSECURE_REGISTRY", value_delimiter = ',')]
    pub(crate) insecure_registry: Vec<String>,
}

fn variable(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn duration(text: &str) -> std::result::Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a number with ms, s, m or h, as in `90s`".to_owned())
}

fn deadline(text: &str) -> std::result::Result<Duration, String> {
    match duration(text)? {
        time if time.is_zero() => Err("write a time above 0".to_owned()),
        time if time > MAX_DEADLINE => Err(format!("{} s is the most", MAX_DEADLINE.as_secs())),
        time => Ok(time),
    }
}

impl Global {
    /// The lattice that the options name.
    pub(crate) async fn connect(&self) -> Result<Bus> {
        Ok(Bus::connect(&self.nats, self.lattice.clone(), "lattice-ctl").await?)
    }
}

/// Prints the completion script of `shell`.
pub(crate) fn completions(shell: Shell, output: &mut Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lattice-ctl", &mut script);
    output.text(&String::from_utf8(script).map_err(|e| Failure::Other(e.to_string()))?)
}

/// Writes the manual pages.
pub(crate) fn manual(folder: &Path, output: &mut Output) -> Result<()> {
    let folder = folder.join("man1");
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        // Variables of who makes the pages are nothing for who reads them.
        clap_mangen::generate_to(hidden(Cli::command()), &folder)
    });
    written.map_err(|source| Failure::File { what: "cannot write to", path: folder.clone(), source })?;
    output.say(&format!("written to {}", folder.display()))
}

/// A command whose help says nothing of the environment that it runs in.
pub(crate) fn hidden(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide_env_values(true)).mut_subcommands(hidden)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_are_understood() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert!(duration("soon").is_err());
    }
}
