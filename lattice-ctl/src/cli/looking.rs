//! Commands that look at what runs.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use lattice::{
    model::log::Level,
    wire::{AppName, InstanceId, UnitId, UnitName},
};

use super::{EXIT_CODES, apps::app_or_unit, deadline, duration};
use crate::call::FunctionName;

/// Print what apps have logged, from all hosts, in the order of time
///
/// What components write to their standard output and error and by wasi:logging, what the processes
/// of providers say, and what hosts say of both. A host remembers the newest 1,000 lines of a unit,
/// and 64 KiB; it forgets them when it ends. Times are those of the hosts' clocks.
///
/// With -o json, each line is an object by itself. Its fields, and those of -o yaml, are stable: at
/// (RFC 3339), host, unit (null for the host's own), level (trace, debug, info, warn, error),
/// source (guest, provider, host), text.
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

/// Show what has happened: hosts that come and go, apps and their rollouts, instances
///
/// Each host that has told events remembers its newest 1,000, and forgets them when it ends. They
/// are CloudEvents 1.0, which are also told on NATS as they happen, at lattice.LATTICE.event.KIND:
/// docs/events.md has the kinds.
///
/// With -o json, each event is an object by itself, as CloudEvents are written in JSON; -o yaml is
/// a sequence of the same.
///
/// Examples:
///
///   lattice-ctl events -f
///   lattice-ctl events shop --since 1h
///   lattice-ctl events --kind host
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct EventsArgs {
    /// Only those of an app, or of one of its units
    #[arg(value_name = "APP[/UNIT]", value_parser = app_or_unit)]
    pub(crate) of: Option<(AppName, Option<UnitName>)>,
    /// Go on with what happens from now on, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only what is not older, such as 10m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Only so many of the newest
    #[arg(long, value_name = "EVENTS")]
    pub(crate) tail: Option<usize>,
    /// Only of this kind, such as host.lost, or of those that begin so, such as host
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}

/// Show the calls that components take: how many, how long they take, and how many fail
///
/// Hosts are asked twice, and what came between is shown; on a terminal again and again, until
/// Ctrl-C. Times are as exact as the hosts' buckets (50 us to 10 s, two or three in each decade).
/// Calls of providers are in `lattice-ctl explain`.
///
/// The fields of -o json and -o yaml (an array of objects) are stable: unit, hosts, in_flight,
/// per_second, p50_us and p99_us (null without calls), failed_per_second, calls, failed and starts
/// (since the hosts started it).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct TopArgs {
    /// Only of this app
    pub(crate) app: Option<String>,
    /// How long is counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = deadline)]
    pub(crate) every: Duration,
    /// Leave after the first time
    #[arg(long)]
    pub(crate) once: bool,
}

/// Show where the links and routes of an app lead, by which way, and how their calls go
///
/// Of each link: to which unit, from which hosts to which, whether inside the process or over NATS,
/// and of the calls over NATS how many there are, how long they take with the way, and how many
/// fail, now and since the hosts began to count. A call inside the process takes what the callee
/// takes.
///
/// The fields of -o json and -o yaml (an array of objects) are stable: from, link (the interface,
/// or the pattern of a route), name (null for a route), to, transport, ways (each: from, to, way:
/// local, lattice, fused or none), calls (of those over NATS, null without any: per_second, p50_us,
/// p99_us, failed_per_second, total, failed).
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct ExplainArgs {
    pub(crate) app: String,
    /// How long calls are counted
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = deadline)]
    pub(crate) during: Duration,
}

/// Show the calls of units as they are made, with their arguments and results
///
/// Of an app, or of one of its units, all calls from it and to it: between components, to providers
/// and over HTTP, inside a host and over NATS. Values are decoded by their WIT types; of HTTP
/// requests there are method, URI and status. Hosts show calls while somebody looks, and otherwise
/// spend nothing on it. What is in calls may be confidential: hosts with --no-spy show none.
///
/// With -o json, each call is an object by itself. Its fields, and those of -o yaml, are stable: at
/// (RFC 3339), took_us, host, from, to, interface, function, way (local, lattice), arguments and
/// result (JSON, or {"bytes": N} where a value is longer than 4 KiB or of an unknown type), error
/// (where the call has failed, in place of result), trace (null where none is recorded).
///
/// Examples:
///
///   lattice-ctl spy shop/cart
///   lattice-ctl spy shop --function increment --failed
///   lattice-ctl spy shop/cart --sample 100 --count 20 -o json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct SpyArgs {
    /// An app, or one of its units
    #[arg(value_name = "APP[/UNIT]", value_parser = app_or_unit)]
    pub(crate) of: (AppName, Option<UnitName>),
    /// Only calls of this function, or of an interface that begins so
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Only calls that have failed, or that returned an error
    #[arg(long)]
    pub(crate) failed: bool,
    /// One of so many calls
    #[arg(long, value_name = "CALLS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) sample: u32,
    /// Leave after so many
    #[arg(long, value_name = "CALLS")]
    pub(crate) count: Option<usize>,
}

/// Record the calls of a component, with all that it calls itself, for `lattice-ctl replay`
///
/// Everything is in the file as it was sent, so that it is for its owner alone. Left out are calls
/// with streams, resources or more than 1 MiB, and those of which it cannot be told which calls they
/// made: several at the same time in one trace.
///
/// The fields of -o json and -o yaml are stable: unit, file, calls, left_out.
///
/// Example:
///
///   lattice-ctl record shop/cart --out cart.calls --count 100
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct RecordArgs {
    #[arg(value_name = "APP/UNIT")]
    pub(crate) unit: UnitId,
    /// Where it is written; what is there is written over
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Leave after so many calls
    #[arg(long, value_name = "CALLS", value_parser = calls)]
    pub(crate) count: Option<usize>,
    /// Leave after so long
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) during: Option<Duration>,
}

/// Make the calls of a recording again, of another build of the component, and say what is otherwise
///
/// Nothing else needs to be there: what the component calls is answered out of the recording. Each
/// call is compared by what it returned and by what it called, with which arguments. Time and chance
/// are those of now. The exit code is 1 when anything is otherwise.
///
/// With -o json, each call is an object by itself. Its fields, and those of -o yaml, are stable:
/// call, differences.
///
/// Example:
///
///   lattice-ctl replay cart.calls target/wasm32-wasip2/release/cart.wasm
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct ReplayArgs {
    /// What `lattice-ctl record` has written
    pub(crate) recording: PathBuf,
    /// The component
    pub(crate) component: PathBuf,
}

fn calls(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|calls| *calls > 0).ok_or_else(|| "write a number above 0".to_owned())
}

/// Show the lattice in a browser: hosts, apps, links and their calls, logs and events, as they change
///
/// The page is a part of this program, and works without the internet. It is for the browser that
/// opens the address that is printed, until Ctrl-C: the key in it keeps others out. It changes
/// nothing, unless --allow-changes lets it scale units, take apps back, pause rollouts and cordon
/// hosts, with the rights of whoever has started it.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXIT_CODES)]
pub(crate) struct UiArgs {
    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Let the page change the lattice
    #[arg(long)]
    pub(crate) allow_changes: bool,
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
/// The result goes to stdout as JSON: in lines on a terminal, in one line elsewhere and with `-o
/// json`. When the function returns the error of a WIT `result`, it is printed, and the exit code
/// is 9.
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
