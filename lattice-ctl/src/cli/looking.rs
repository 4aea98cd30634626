//! Commands that look at what runs.

use std::time::Duration;

use clap::{Args, ValueEnum};
use lattice::{
    model::log::Level,
    wire::{AppName, UnitName},
};

use super::{EXIT_CODES, apps::app_or_unit, duration};

/// Print what apps have logged, from all hosts, in the order of time
///
/// What components write to their standard output and error and by wasi:logging, what the processes of providers say, and what
/// hosts say of both. A host remembers the newest 1,000 lines of a unit, and 64 KiB; it forgets them when it ends. Times are those of
/// the hosts' clocks.
///
/// With -o json, each line is an object by itself. Its fields, and those of -o yaml, are stable: at (RFC 3339), host, unit (null
/// for the host's own), level (trace, debug, info, warn, error), source (guest, provider, host), text.
///
/// Examples:
///
///   lattice-ctl logs shop -f
///   lattice-ctl logs shop/cart --since 10m --level warn
///   lattice-ctl logs --host NCFELN2W
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct LogsArgs {
    /// An app, or one of its units
    #[arg(value_name = "APP[/UNIT]", value_parser = app_or_unit, required_unless_present = "host")]
    pub(crate) of: Option<(AppName, Option<UnitName>)>,
    /// Go on with what is logged from now on, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what is not older, such as 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Only so many of the newest lines
    #[arg(long, value_name = "LINES")]
    pub(crate) tail: Option<usize>,
    /// Only what matters so much
    #[arg(long, value_enum, default_value_t = AtLeast::Trace)]
    pub(crate) level: AtLeast,
    /// Only this host; without an app, all that it has, with what it says of itself. The beginning of its id will do
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AtLeast {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<AtLeast> for Level {
    fn from(level: AtLeast) -> Self {
        match level {
            AtLeast::Trace => Self::Trace,
            AtLeast::Debug => Self::Debug,
            AtLeast::Info => Self::Info,
            AtLeast::Warn => Self::Warn,
            AtLeast::Error => Self::Error,
        }
    }
}

/// Show the calls that components take: how many, how long they take, and how many fail
///
/// Hosts are asked twice, and what came between is shown; on a terminal again and again, until Ctrl-C. Times are as exact as the
/// hosts' buckets (50 us to 10 s, two or three in each decade). Calls of providers are in `lattice-ctl explain`.
///
/// The fields of -o json and -o yaml (an array of objects) are stable: unit, hosts, in_flight, per_second, p50_us and p99_us (null
/// without calls), failed_per_second, calls, failed and starts (since the hosts started it).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct TopArgs {
    /// Only of this app
    pub(crate) app: Option<String>,
    /// How long is counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::deadline)]
    pub(crate) every: Duration,
    /// Leave after the first time
    #[arg(long)]
    pub(crate) once: bool,
}

/// Show where the links and routes of an app lead, by which way, and how their calls go
///
/// Of each link: to which unit, from which hosts to which, whether inside the process or over NATS, and of the calls over NATS how
/// many there are, how long they take with the way, and how many fail, now and since the hosts began to count. A call inside the process takes
/// what the callee takes.
///
/// The fields of -o json and -o yaml (an array of objects) are stable: from, link (the interface, or the pattern of a route), name (null
/// for a route), to, transport, ways (each: from, to, way: local, lattice, fused or none), calls (of those over NATS, null without any:
/// per_second, p50_us, p99_us, failed_per_second, total, failed).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct ExplainArgs {
    pub(crate) app: String,
    /// How long calls are counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = super::deadline)]
    pub(crate) during: Duration,
}
