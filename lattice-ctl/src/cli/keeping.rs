//! Commands for what a lattice keeps: secrets, settings for all, quotas, artifacts; and for what this machine keeps of lattices.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use lattice::{model::manifest::parse_size, wire::AppName};

use super::{EXIT_CODES, duration};
use crate::secrets::SecretId;

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

fn size(text: &str) -> Result<u64, String> {
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
