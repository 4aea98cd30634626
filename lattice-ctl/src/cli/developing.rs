//! Commands for who writes components and providers, and for their images.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use lattice::wire::{Interface, UnitName};

use super::{EXIT_CODES, RegistryOptions, duration, variable};
use crate::new::parse_name;

/// Make a project to begin with: source, WIT and a manifest
///
/// Next: `cd NAME && lattice-ctl dev`. The fields of -o json and -o yaml are stable: name, folder.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct NewArgs {
    /// What it is to be
    #[arg(value_enum, value_name = "TEMPLATE")]
    pub(crate) kind: Kind,
    /// What it is called
    #[arg(value_parser = parse_name)]
    pub(crate) name: UnitName,
    /// Where it is made [default: a folder of its name]
    #[arg(long, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    /// Of a provider: the folder `providers/sdk` of this project's source [default: of the source that this program was built from]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk: Option<PathBuf>,
}

/// What `new` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Answers HTTP requests, in Rust
    Http,
    /// Answers HTTP requests and keeps something, in Rust
    HttpKeyvalue,
    /// Functions that other components call, in Rust
    Library,
    /// Answers HTTP requests, in Python
    Python,
    /// Answers HTTP requests, in JavaScript
    Javascript,
    /// A program that components call, in Rust, on the SDK of this project (--sdk)
    Provider,
}

/// Build a component of a crate, of an app.py or app.js, or of a core module; or a provider
///
/// It comes beside its source, as NAME.wasm after the folder. A crate is built for wasm32-wasip2; app.py and its WIT in `wit/` by
/// componentize-py, app.js by componentize-js; a module of WASI 0.1, or one that wit-bindgen has made for wasm32-unknown-unknown, is
/// turned into a component. A crate that depends on lattice-provider is built for this machine, as NAME.
///
/// The fields of -o json and -o yaml are stable: file, bytes, digest, imports, exports.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct BuildArgs {
    /// The project's folder, or a module's file
    #[arg(default_value = ".")]
    pub(crate) project: PathBuf,
    /// Where it is written
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// As `lattice-ctl dev` builds it: sooner done, and larger
    #[arg(long)]
    pub(crate) dev: bool,
}

/// Run a project while you write it: each change is built and swapped in, and what it keeps stays
///
/// It needs no manifest: each import gets a provider in memory (wasi:keyvalue, wasi:blobstore, wasmcloud:messaging, wasi:http to https
/// addresses), and HTTP is served at --address. Where an app.yaml lies beside the source, that is applied. The lattice is one of its own,
/// which ends with the command, unless --nats or NATS_URL names another one. What the app logs is shown.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct DevArgs {
    /// The project's folder, or a component's file that somebody else builds
    #[arg(default_value = ".")]
    pub(crate) project: PathBuf,
    /// What app and component are called [default: as the folder, or the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<UnitName>,
    /// Where HTTP is served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    pub(crate) address: SocketAddr,
    /// Build it once, print the manifest that is made for it, and leave
    #[arg(long)]
    pub(crate) manifest: bool,
    /// Folder for the data of what is started [default: .lattice/dev beside the source]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Let the host run programs that an app.yaml brings along (`image:` of a provider)
    #[arg(long, env = "LATTICE_ALLOW_PROGRAMS")]
    pub(crate) allow_programs: bool,
    #[command(flatten)]
    pub(crate) registry: RegistryOptions,
}

/// Show what a component is: its size, imports and exports, and its WIT
///
/// Of a unit it is told where each import leads.
///
/// The fields of -o json and -o yaml are stable: of, digest, bytes, imports (each: interface, to: units, or null where no link is needed),
/// exports, wit.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct InspectArgs {
    /// A component's file, or a unit
    #[arg(value_name = "FILE|APP/UNIT")]
    pub(crate) of: String,
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

/// Check that a provider does what its interface promises, and print what came out
///
/// The provider is started as a process, as a host does it, and called over NATS: a server of its
/// own, or the one that --nats or NATS_URL names. Beside the rules of the interface two things are
/// checked of every provider: when its process is killed and started again, and when its backend
/// goes and comes back (--stop, --start), what it has acknowledged is there, and calls fail at once
/// meanwhile.
///
/// The backend should be there for this alone. What the checks write has names of its own and is
/// removed again, but for a JetStream bucket of keyvalue-nats.
///
/// Examples:
///
///   lattice-ctl conform keyvalue-redis --config url=redis://127.0.0.1:6379
///   lattice-ctl conform postgres --config @postgres.json \
///       --stop 'systemctl stop postgresql' --start 'systemctl start postgresql'
///   lattice-ctl conform ./my-provider --serves lattice:keyvalue/store@0.1.0 --config '{"url": "..."}'
///
/// The fields of `-o json` and `-o yaml` are stable: provider, interfaces, passed, failed,
/// left_out, seconds, and of each of the checks: interface, check, outcome (ok, failed, left-out),
/// reason.
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
