//! Commands for hosts.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::{EXIT_CODES, duration};

/// A host is named by its id or the beginning of it, as `lattice-ctl get hosts` shows it. What is said of a host is kept in
/// the lattice: it holds also when the host is started again.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Set labels of a host, or take them away
    ///
    /// What runs there and may not any more moves, as soon as it runs elsewhere.
    #[command(after_help = EXIT_CODES)]
    Label {
        host: String,
        /// `zone=b` sets a label, `zone-` takes it away
        #[arg(value_name = "NAME=VALUE|NAME-", value_parser = label, required_unless_present = "as_started")]
        labels: Vec<(String, Option<String>)>,
        /// First forget what was set before: the labels are those that the host was started with
        #[arg(long)]
        as_started: bool,
    },
    /// Set taints of a host, or take them away: it gets only units that tolerate all of them, and keeps what it has
    #[command(after_help = EXIT_CODES)]
    Taint {
        host: String,
        /// `gpu` sets a taint, `gpu-` takes it away
        #[arg(value_name = "NAME|NAME-", value_parser = taint, required_unless_present = "as_started")]
        taints: Vec<(String, bool)>,
        /// First forget what was set before: the taints are those that the host was started with
        #[arg(long)]
        as_started: bool,
    },
    /// Let a host keep what it has and get nothing more
    #[command(after_help = EXIT_CODES)]
    Cordon {
        host: String,
        /// Why, for whoever reads `get hosts` or `why`
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let a host get units again, after `cordon` or `drain`
    #[command(after_help = EXIT_CODES)]
    Uncordon {
        host: String,
    },
    Drain(DrainArgs),
    /// Forget a host that will not come back
    ///
    /// What nobody else could be given, and what was said of the host, goes with it. One that is alive is not forgotten; one that
    /// comes back all the same joins as a new one.
    #[command(after_help = EXIT_CODES)]
    Forget {
        host: String,
    },
}

/// Move everything off a host, then end it
///
/// Each unit goes on until it takes calls elsewhere. What has no other place stays, and the host with it: after --timeout the
/// command says what that is and ends with exit code 5. The host stays cordoned, also when it is started again, until
/// `uncordon`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct DrainArgs {
    pub(crate) host: String,
    /// Why, for whoever reads `get hosts` or `why`
    #[arg(long, default_value = "")]
    pub(crate) reason: String,
    /// Do not end the host's process
    #[arg(long)]
    pub(crate) keep_running: bool,
    /// How long to wait, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) timeout: Duration,
}

fn label(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = match (text.split_once('='), text.strip_suffix('-')) {
        (Some((name, value)), _) => (name, Some(value.to_owned())),
        (None, Some(name)) => (name, None),
        (None, None) => return Err("write NAME=VALUE, or NAME- to take a label away".to_owned()),
    };
    if name.is_empty() { Err("a label needs a name".to_owned()) } else { Ok((name.to_owned(), value)) }
}

fn taint(text: &str) -> Result<(String, bool), String> {
    let (name, has) = text.strip_suffix('-').map_or((text, true), |name| (name, false));
    if name.is_empty() { Err("a taint needs a name".to_owned()) } else { Ok((name.to_owned(), has)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_taints_are_understood() {
        assert_eq!(label("zone=b"), Ok(("zone".to_owned(), Some("b".to_owned()))));
        assert_eq!(label("a-b=c-"), Ok(("a-b".to_owned(), Some("c-".to_owned()))));
        assert_eq!(label("zone-"), Ok(("zone".to_owned(), None)));
        assert!(label("zone").is_err() && label("=b").is_err() && label("-").is_err());
        assert_eq!(taint("gpu"), Ok(("gpu".to_owned(), true)));
        assert_eq!(taint("gpu-"), Ok(("gpu".to_owned(), false)));
        assert!(taint("-").is_err());
    }
}
