//! The host's command line.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use lattice::{
    bus::NatsOptions,
    model::{manifest::parse_size, placement::Capacity},
    wire::LatticeName,
};

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    logbook::Remember,
    otlp::OtlpOptions,
    standalone::{ReplayOptions, RunOptions, ServeOptions},
};

/// Joins a lattice and runs what it assigns to this host; or, with a subcommand, runs one component by itself.
#[derive(Debug, clap::Parser)]
#[command(name = "lattice-host", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Runs a command (wasi:cli/run) to its end, without a lattice
    Run(RunOptions),
    /// Serves HTTP with one component, without a lattice
    Serve(ServeOptions),
    /// Makes the calls of a recording again: `lattice-ctl replay` uses it
    #[command(hide = true)]
    Replay(ReplayOptions),
}

/// How to take part in a lattice.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The lattice to join
    #[arg(long, env = "LATTICE", default_value = "default", value_parser = parse_lattice)]
    pub lattice: LatticeName,
    /// Run what is in this file, which `lattice-ctl bundle` has made, with no lattice at all
    #[arg(long, env = "LATTICE_BUNDLE", value_name = "FILE", conflicts_with = "no_control")]
    pub bundle: Option<PathBuf>,
    /// Folder for the host's key, its caches and the files of its providers
    #[arg(long, env = "LATTICE_DATA", value_name = "DIR", default_value = ".lattice/host")]
    pub data: PathBuf,
    /// A label of this host; placement rules of manifests refer to them
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    pub labels: Vec<(String, String)>,
    /// A taint of this host: it gets only units whose placement tolerates all of its taints
    #[arg(long = "taint", value_name = "NAME")]
    pub taints: Vec<String>,
    /// What this host has for units: `units`, `memory`, `concurrency` (calls that its components may serve at a time). What is
    /// not named has no bound
    #[arg(long, env = "LATTICE_CAPACITY", value_name = "units=N,memory=SIZE,concurrency=N", value_parser = parse_capacity)]
    pub capacity: Option<Capacity>,
    /// Folder with the executables of providers that run as processes [default: where lattice-host is]
    #[arg(long, env = "LATTICE_PROVIDERS", value_name = "DIR")]
    pub providers: Option<PathBuf>,
    /// Run programs that manifests bring along (`image:` of a provider), with the rights of this process: its files, its
    /// network and, without --nats-signing-key, its access to NATS
    #[arg(long, env = "LATTICE_ALLOW_PROGRAMS")]
    pub allow_programs: bool,
    /// File with the seed of an xkey by which sealed secrets are opened; with several, they are sealed to the first.
    /// `lattice-ctl secrets keygen` makes one
    #[arg(long = "secrets-key", env = "LATTICE_SECRETS_KEY", value_name = "FILE", value_delimiter = ',')]
    pub secrets_keys: Vec<PathBuf>,
    /// Folder with secrets of this host, each in a file APP/NAME
    #[arg(long, env = "LATTICE_SECRETS_DIR", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Run only components and programs that one of these signers has signed, each a public nkey; without any, all are run.
    /// `lattice-ctl artifact sign` signs
    #[arg(long, env = "LATTICE_TRUST", value_name = "NKEY", value_delimiter = ',', value_parser = crate::trust::parse_signer)]
    pub trust: Vec<String>,
    /// Answer /livez, /readyz and /metrics (for Prometheus) over HTTP there, as in 127.0.0.1:9100. Whoever can reach it can read them
    #[arg(long, env = "LATTICE_ADMIN", value_name = "ADDRESS")]
    pub admin: Option<SocketAddr>,
    /// Show the dashboard there as well, as `lattice-ctl ui` does, to browsers that have the key in this file; without the file one
    /// is made. It is opened by /?key=KEY
    #[arg(long, env = "LATTICE_DASHBOARD", value_name = "KEYFILE", requires = "admin")]
    pub dashboard: Option<PathBuf>,
    /// Show no calls to `lattice-ctl spy`, not even to who may ask hosts: what is in them is nobody's business
    #[arg(long, env = "LATTICE_NO_SPY")]
    pub no_spy: bool,
    /// Take no part in planning for the lattice
    #[arg(long)]
    pub no_control: bool,
    /// While this host plans: when more than this part of the hosts falls silent at once, nothing of theirs moves for 15 s, and then
    /// slowly
    #[arg(long, value_name = "PERCENT", env = "LATTICE_HOLD_ABOVE", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub hold_above: u32,
    /// Form of the log on standard error; what it contains is set by LATTICE_LOG, as in `LATTICE_LOG=debug`
    #[arg(long, env = "LATTICE_LOG_FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
    // Their headings hold for all that comes after them.
    #[command(flatten)]
    pub nats: NatsOptions,
    /// File with the seed of an account's signing key (SA...): each provider process gets a NATS user of its own then, which may do
    /// what it needs and nothing else. The account is that of the host's own credentials, `--nats-creds`
    #[arg(long, env = "NATS_SIGNING_KEY", value_name = "FILE", requires = "creds", help_heading = "NATS")]
    pub nats_signing_key: Option<PathBuf>,
    #[command(flatten)]
    pub otlp: OtlpOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    /// Sends the log to standard error, and remembers the newest of it. `filter` says what is in it unless LATTICE_LOG does.
    pub fn start(self, filter: &str) {
        let filter = EnvFilter::try_from_env("LATTICE_LOG").unwrap_or_else(|_| filter.into());
        let kept = tracing_subscriber::registry().with(filter).with(Remember);
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        match self {
            Self::Text => kept.with(log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))).init(),
            Self::Json => kept.with(log.json()).init(),
        }
    }
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

fn parse_capacity(text: &str) -> Result<Capacity, String> {
    let mut capacity = Capacity::default();
    for part in text.split(',') {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no NAME=VALUE"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name}=`{value}` is no number"));
        let (place, number) = match name.trim() {
            "units" => (&mut capacity.units, number()?),
            "concurrency" => (&mut capacity.concurrency, number()?),
            "memory" => {
                let size = parse_size(value).ok_or_else(|| format!("memory=`{value}` is no size such as 8GiB"))?;
                (&mut capacity.memory_bytes, size)
            }
            _ => return Err(format!("`{name}` is none of units, memory, concurrency")),
        };
        if place.replace(number).is_some() {
            return Err(format!("{name} stands here twice"));
        }
    }
    Ok(capacity)
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in zone=a".to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_understood() {
        let capacity = parse_capacity("units=20,memory=2GiB").unwrap();
        assert_eq!(capacity, Capacity { units: Some(20), memory_bytes: Some(2 << 30), concurrency: None });
        for (text, error) in [
            ("units", "`units` is no NAME=VALUE"),
            ("units=-1", "units=`-1` is no number"),
            ("memory=2GB", "memory=`2GB` is no size such as 8GiB"),
            ("cpus=2", "`cpus` is none of units, memory, concurrency"),
            ("units=1,units=2", "units stands here twice"),
        ] {
            assert_eq!(parse_capacity(text).unwrap_err(), error);
        }
    }
}
