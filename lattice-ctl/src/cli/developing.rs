//! Commands for who writes components.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};
use lattice::wire::UnitName;

use super::{EXIT_CODES, RegistryOptions};
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
}

/// Build a component: of a crate, of an app.py, or of a core module
///
/// It comes beside its source, as NAME.wasm after the folder. A crate is built for wasm32-wasip2; app.py and its WIT in `wit/` by
/// componentize-py; a module of WASI 0.1, or one that wit-bindgen has made for wasm32-unknown-unknown, is turned into a component.
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
