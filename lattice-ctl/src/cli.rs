//! The command line. Commands for apps are in [`apps`], those for hosts in [`hosts`], those that only look in [`looking`],
//! those for who writes components in [`developing`].

mod apps;
mod developing;
mod hosts;
mod looking;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lattice::{
    bus::{Bus, NatsOptions},
    model::manifest::{parse_duration, parse_size},
    wire::{AppName, InstanceId, Interface, LatticeName, MAX_DEADLINE, UnitId},
};

pub(crate) use self::{
    apps::{
        ApplyArgs, DeleteArgs, HistoryArgs, ManifestOptions, PlanArgs, RollbackArgs, RolloutCommand, ScaleArgs,
        StatusArgs, Waiting, WhyArgs,
    },
    developing::{BuildArgs, DevArgs, InspectArgs, Kind, NewArgs},
    hosts::{DrainArgs, HostCommand},
    looking::{ExplainArgs, LogsArgs, TopArgs},
};
use crate::{
    call::FunctionName,
    failure::{Failure, Result},
    output::Output,
    secrets::SecretId,
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
    Top(TopArgs),
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

/// List what a lattice has
///
/// The fields of `-o json` and `-o yaml` (an array of objects) are stable:
///
///   apps:        app, revision, ready, state, units, units_ready, labels
///   hosts:       id, short_id, alive, release, labels, taints, cordon, leaving, capacity, programs, trusts,
///                units, uptime_seconds, generation
///   components:  app, unit, image, digest, revision, state, replicas, ready, hosts, reason
///   providers:   app, unit, use, image, digest, isolate, revision, state, replicas, ready, hosts, address, reason
///   links:       app, from, interface, name, to, transport, deadline_ms, idempotent, route, weight
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct GetArgs {
    #[arg(value_enum)]
    pub(crate) what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Apps,
    Hosts,
    Components,
    Providers,
    Links,
}

/// Call a function of a component or provider that runs in the lattice
///
/// The result goes to stdout as JSON: in lines on a terminal, in one line elsewhere and with
/// `-o json`. When the function returns the error of a WIT `result`, it is printed, and the exit
/// code is 9.
///
/// Arguments and results are written like this:
///
///   numbers, bool, char, string   3, 1.5, true, "x", "text"
///   list, tuple                   [1, 2, 3]
///   list<u8>                      "aGk=" (base64), or [104, 105]
///   stream, future                all that it carries: a list, or the value
///   record                        {"amount": 5, "currency": "eur"}
///   variant                       "case", or {"case": value}
///   enum                          "case"
///   flags                         ["one", "two"]
///   option                        null, or the value
///   result                        {"ok": value} or {"err": value}
///   resource                      as a call has returned it
///
/// Examples:
///
///   lattice-ctl call shop/cache lattice:keyvalue/store.get '["carts", "42"]'
///   lattice-ctl call shop/pricing acme:pricing/quote@1.2.0.price '["apple"]' --deadline 2s
///   lattice-ctl call shop/report wasi:cli/run.run
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct CallArgs {
    /// Whom to call
    #[arg(value_name = "APP/UNIT")]
    pub(crate) unit: UnitId,
    /// What to call: an interface and its function, or the name of a function that is in no interface. Without a version,
    /// that which the unit serves
    #[arg(value_name = "[NS:PKG/INTERFACE[@VERSION].]FUNCTION")]
    pub(crate) function: FunctionName,
    /// A JSON array with one value for each parameter; `-` reads it from stdin
    #[arg(value_name = "ARGUMENTS", default_value = "[]")]
    pub(crate) arguments: String,
    /// How long the call may take, such as 500ms or 1m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = deadline)]
    pub(crate) deadline: Duration,
    /// Call this instance, and no other; `lattice-ctl status APP -o json` has their ids
    #[arg(long, value_name = "ID")]
    pub(crate) instance: Option<InstanceId>,
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

/// Print the manifest of ours that one of wadm becomes
///
/// `apply`, `plan` and `up` take manifests of wadm (core.oam.dev/v1beta1) as they are; this shows what they make of them. What
/// changes its meaning is told on stderr.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct ConvertArgs {
    /// The manifest; `-` reads it from stdin
    #[arg(long, short, value_name = "FILE")]
    pub(crate) file: String,
}

/// Put a component or a program into an OCI registry
///
/// A component becomes one layer of the media type application/wasm, with what it imports and exports in the image's
/// configuration. The same bytes are the same image.
///
/// The fields of `-o json` and `-o yaml` are stable: image, image_digest, digest, bytes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PushArgs {
    pub(crate) file: PathBuf,
    /// oci://registry/repository:tag
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

/// Get a component or a program from an OCI registry
///
/// The fields of `-o json` and `-o yaml` are stable: image, image_digest (null), digest, bytes.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PullArgs {
    /// oci://registry/repository:tag
    pub(crate) image: String,
    /// Where it is written; a file that is there is replaced
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    Put(PutSecretArgs),
    /// List secrets, and how many hosts can read each; their values cannot be had here
    #[command(after_help = EXIT_CODES)]
    List {
        /// Only those of this app
        app: Option<AppName>,
    },
    /// Delete a secret
    ///
    /// What runs with it goes on with it; what starts later fails until it is there again.
    #[command(after_help = EXIT_CODES)]
    Delete {
        /// Whose secret it is, and its name
        #[arg(value_name = "APP/NAME")]
        secret: SecretId,
    },
    /// Make a key by which hosts open secrets: `lattice-host --secrets-key FILE`
    #[command(after_help = EXIT_CODES)]
    Keygen {
        /// Where its seed is written; a file that is there is not touched
        file: PathBuf,
    },
}

/// Several lattices
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// List contexts
    ///
    /// The fields of `-o json` and `-o yaml` (an array of objects) are stable: name, current, lattice, nats, login.
    #[command(after_help = EXIT_CODES)]
    List,
    /// Keep what --nats, its credentials and --lattice say now, or their variables, under a name
    ///
    /// The first that is set is used where none is named. They are in ~/.config/lattice/contexts.json, which its owner alone can read; files of
    /// credentials stay where they are.
    #[command(after_help = EXIT_CODES)]
    Set { name: String },
    /// Use a context where none is named: neither by --context nor by --nats or NATS_URL
    #[command(after_help = EXIT_CODES)]
    Use { name: String },
    /// Forget a context
    #[command(after_help = EXIT_CODES)]
    Remove { name: String },
}

/// What holds where manifests say nothing
#[derive(Debug, Subcommand)]
pub(crate) enum DefaultsCommand {
    /// Take a file's: `components:` with `limits`, `rollout` and `reuse`, and `providers:` with `rollout`, as in a manifest
    ///
    /// What runs is not touched: an app has them when it is applied next, and `lattice-ctl plan` shows what that would change.
    #[command(after_help = EXIT_CODES)]
    Set { file: String },
    /// Print them as they were written
    #[command(after_help = EXIT_CODES)]
    Show,
    /// Go back to those that are built in
    #[command(after_help = EXIT_CODES)]
    Clear,
}

/// How much of the lattice apps may have
#[derive(Debug, Subcommand)]
pub(crate) enum QuotaCommand {
    /// List quotas, and what apps have of them
    ///
    /// The fields of `-o json` and `-o yaml` (an array of objects) are stable: app (`null` for apps without a quota of their own), copies,
    /// memoryBytes, inFlight, perSecond, copies_used, memory_used.
    #[command(after_help = EXIT_CODES)]
    List,
    /// Set the quota of an app, or of all apps that have none of their own
    ///
    /// What is not named has no bound. Copies that are there stay when the quota is lowered. Calls are those that the components of the
    /// app take; each host with one of them allows its share, and refuses what is more at once.
    #[command(after_help = EXIT_CODES)]
    Set {
        app: Option<AppName>,
        /// Copies of all of its units together
        #[arg(long, value_name = "N")]
        copies: Option<u32>,
        /// What these may use by their limits, such as 2GiB
        #[arg(long, value_name = "SIZE", value_parser = size)]
        memory: Option<u64>,
        /// Calls under way
        #[arg(long, value_name = "N")]
        in_flight: Option<u32>,
        /// Calls that begin in a second
        #[arg(long, value_name = "N")]
        per_second: Option<u32>,
    },
    /// Remove the quota of an app, or the one of all that have none of their own
    #[command(after_help = EXIT_CODES)]
    Remove { app: Option<AppName> },
}

fn size(text: &str) -> std::result::Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a number with KiB, MiB or GiB, as in 64MiB".to_owned())
}

/// Components and programs, as the lattice keeps them
#[derive(Debug, Subcommand)]
pub(crate) enum ArtifactCommand {
    /// List what is in the lattice's store
    ///
    /// The fields of `-o json` and `-o yaml` (an array of objects) are stable: digest, bytes, age_seconds, used_by (apps; with `@` and
    /// the revision where they can go back to it), signed_by.
    #[command(after_help = EXIT_CODES)]
    List,
    /// Vouch for the artifacts of an app's newest revision
    ///
    /// Hosts that were started with `--trust` run nothing that no trusted signer has signed. `apply --sign FILE` signs what it applies.
    #[command(after_help = EXIT_CODES)]
    Sign {
        app: AppName,
        /// File with the seed of the signer's nkey
        #[arg(long, env = "LATTICE_SIGN", value_name = "FILE")]
        key: PathBuf,
    },
    Prune(PruneArgs),
    /// Make a key to sign with
    #[command(after_help = EXIT_CODES)]
    Keygen {
        /// Where its seed is written; a file that is there is not touched
        file: PathBuf,
    },
}

/// Put apps with all that they are made of into one file, for hosts without a lattice
///
/// `lattice-host --bundle FILE` runs it, with no NATS, no controller and no registry. Their sealed secrets are in it, still sealed.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct BundleArgs {
    #[arg(required = true, value_name = "APP")]
    pub(crate) apps: Vec<AppName>,
    /// The file to write, a tar file
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Sign it, with the nkey whose seed is in this file: for hosts with `--trust`
    #[arg(long, env = "LATTICE_SIGN", value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
}

/// Remove what no app needs, neither now nor to go back to one of its revisions
///
/// What was stored lately stays in any case: somebody may be about to apply it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PruneArgs {
    /// What was stored later stays
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) older_than: Duration,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Seal a secret and store it
///
/// The value is read from stdin, where a line's end at its end does not count, or is all of
/// a file's bytes. Units that are given the secret have the new value at once: components when
/// they ask again, providers by being started anew.
///
/// Examples:
///
///   lattice-ctl secrets put shop/db-url < url.txt
///   lattice-ctl secrets put shop/web-key --from-file key.pem
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct PutSecretArgs {
    /// Whose secret it is, and its name
    #[arg(value_name = "APP/NAME")]
    pub(crate) secret: SecretId,
    /// Read the value from a file, as it is
    #[arg(long, value_name = "FILE")]
    pub(crate) from_file: Option<PathBuf>,
    /// The public xkey to seal it to [default: that which all live hosts with a key have told]
    #[arg(long, value_name = "XKEY")]
    pub(crate) key: Option<String>,
}

/// Check that a provider does what its interface promises, and print what came out
///
/// The provider is started as a process, as a host does it, and called over NATS: a server of its own, or the one that
/// --nats or NATS_URL names. Beside the rules of the interface two things are checked of every provider: when its process
/// is killed and started again, and when its backend goes and comes back (--stop, --start), what it has acknowledged is
/// there, and calls fail at once meanwhile.
///
/// The backend should be there for this alone. What the checks write has names of its own and is removed
/// again, but for a JetStream bucket of keyvalue-nats.
///
/// Examples:
///
///   lattice-ctl conform keyvalue-redis --config url=redis://127.0.0.1:6379
///   lattice-ctl conform postgres --config @postgres.json \
///       --stop 'systemctl stop postgresql' --start 'systemctl start postgresql'
///   lattice-ctl conform ./my-provider --serves lattice:keyvalue/store@0.1.0 --config '{"url": "..."}'
///
/// The fields of `-o json` and `-o yaml` are stable: provider, interfaces, passed, failed, left_out, seconds, and of each of
/// the checks: interface, check, outcome (ok, failed, left-out), reason.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct ConformArgs {
    /// Its name in manifests (`use:`), or the path of an executable
    #[arg(value_name = "PROVIDER")]
    pub(crate) provider: String,
    /// What an executable serves
    #[arg(long, value_name = "INTERFACE", value_delimiter = ',')]
    pub(crate) serves: Vec<Interface>,
    /// Its settings: KEY=VALUE (a number, true, false or JSON in brackets or quotes is one, all else is a text), a JSON
    /// object, or @FILE with a JSON object; may be repeated
    #[arg(long, value_name = "SETTINGS")]
    pub(crate) config: Vec<String>,
    /// What an executable finds in its environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) env: Vec<(String, String)>,
    /// An executable keeps its data in memory alone, so that nothing is expected of it when its process was killed
    #[arg(long)]
    pub(crate) in_memory: bool,
    /// Shell command that takes the backend away, and returns when it is gone
    #[arg(long, value_name = "COMMAND", requires = "start")]
    pub(crate) stop: Option<String>,
    /// Shell command that brings the backend back with its data
    #[arg(long, value_name = "COMMAND", requires = "stop")]
    pub(crate) start: Option<String>,
}

/// Start what is missing (nats-server, a host), apply a manifest, and follow the host's log until Ctrl-C
///
/// Only what this command started ends with it. nats-server is started when none answers and the URL of NATS is on
/// this machine; a host is started when the lattice has none.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct UpArgs {
    /// The manifest
    pub(crate) file: String,
    /// Folder for the data of what is started
    #[arg(long, value_name = "DIR", default_value = ".lattice")]
    pub(crate) data: PathBuf,
    /// Let the host that is started run programs that manifests bring along (`image:` of a provider)
    #[arg(long, env = "LATTICE_ALLOW_PROGRAMS")]
    pub(crate) allow_programs: bool,
    /// How long to wait until the app is ready, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
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
