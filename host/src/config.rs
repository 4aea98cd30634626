//! The host's command line.

use std::{collections::BTreeMap, path::PathBuf};

use lattice::{bus::NatsOptions, wire::LatticeName};

/// Joins a lattice and runs what it assigns to this host.
#[derive(Debug, clap::Parser)]
#[command(name = "lattice-host", version)]
pub struct Options {
    /// The lattice to join
    #[arg(long, env = "LATTICE", default_value = "default", value_parser = parse_lattice)]
    pub lattice: LatticeName,
    #[command(flatten)]
    pub nats: NatsOptions,
    /// Folder for the host's key, its caches and the files of its providers
    #[arg(long, env = "LATTICE_DATA", value_name = "DIR", default_value = ".lattice/host")]
    pub data: PathBuf,
    /// A label of this host; placement rules of manifests refer to them
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// Folder with the executables of providers that run as processes [default: where lattice-host is]
    #[arg(long, env = "LATTICE_PROVIDERS", value_name = "DIR")]
    pub providers: Option<PathBuf>,
    /// Take no part in planning for the lattice
    #[arg(long)]
    pub no_control: bool,
    /// Form of the log on standard error; what it contains is set by LATTICE_LOG, as in `LATTICE_LOG=debug`
    #[arg(long, env = "LATTICE_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Options {
    /// The labels by name; what the machine is comes first, and may be overruled.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let machine = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
        let machine = machine.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        machine.chain(self.labels.iter().cloned()).collect()
    }

    /// Where the executables of providers are.
    pub fn providers(&self) -> PathBuf {
        let beside = || std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
        self.providers.clone().or_else(beside).unwrap_or_else(|| PathBuf::from("."))
    }
}

fn parse_lattice(text: &str) -> Result<LatticeName, String> {
    text.parse().map_err(|error: lattice::wire::IdError| error.to_string())
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in zone=a".to_owned()),
    }
}
