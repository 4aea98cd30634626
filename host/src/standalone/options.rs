//! The command lines of `run` and `serve`.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lattice::model::manifest::{parse_duration, parse_size};

use crate::{
    runtime::grants::{GrantedDir, Grants},
    secrets::Granted,
};

#[derive(Debug, clap::Args)]
pub struct RunOptions {
    /// A component that exports wasi:cli/run, or a core module for WASI 0.1
    pub file: PathBuf,
    #[command(flatten)]
    pub grants: GrantOptions,
    /// The most linear memory, as in 64MiB [default: what the machine has]
    #[arg(long, value_parser = size)]
    pub memory: Option<u64>,
    /// Ends the program after this time, as in 5s
    #[arg(long, value_parser = duration)]
    pub timeout: Option<Duration>,
    /// What the program gets as its arguments; those that begin with a dash after `--`
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct ServeOptions {
    /// A component that exports wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3
    pub file: PathBuf,
    /// Where to listen; port 0 is any that is free
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "IP:PORT")]
    pub addr: SocketAddr,
    #[command(flatten)]
    pub grants: GrantOptions,
    /// The most linear memory of one instance
    #[arg(long, value_parser = size, default_value = "128MiB")]
    pub memory: u64,
    /// The most time for one request
    #[arg(long, value_parser = duration, default_value = "30s")]
    pub timeout: Duration,
    /// Requests at a time; one more is refused at once
    #[arg(long, default_value_t = 256)]
    pub concurrency: u32,
    /// Requests that one instance serves before it is thrown away
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub reuse: u32,
    /// The largest request body
    #[arg(long, value_parser = size, default_value = "8MiB", value_name = "SIZE")]
    pub max_body: u64,
}

#[derive(Debug, clap::Args)]
pub struct ReplayOptions {
    /// A recording of `lattice-ctl record`
    pub recording: PathBuf,
    /// The component that is called
    pub file: PathBuf,
}

/// What a component is granted.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Grants")]
pub struct GrantOptions {
    /// A variable of its environment; a name alone is taken from the environment here
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// The whole environment here
    #[arg(long)]
    pub inherit_env: bool,
    /// A folder that it sees, as the name after `::`; with `::ro` it can only read there
    #[arg(long = "dir", value_name = "HOST[::GUEST][::ro]", value_parser = dir)]
    pub dirs: Vec<GrantedDir>,
    /// TCP sockets
    #[arg(long)]
    pub tcp: bool,
    /// UDP sockets
    #[arg(long)]
    pub udp: bool,
    /// Looking up names of the Internet
    #[arg(long)]
    pub dns: bool,
    /// Sending HTTP requests
    #[arg(long)]
    pub http: bool,
    /// All of --tcp, --udp, --dns and --http
    #[arg(long)]
    pub allow_net: bool,
}

impl GrantOptions {
    /// The environment. A later variable replaces an earlier one of the same name.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = Vec::new();
        if self.inherit_env {
            // What is no text cannot be given to a component.
            env.extend(std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))));
        }
        for variable in &self.env {
            let (name, value) = match variable.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                None => match std::env::var(variable) {
                    Ok(value) => (variable.as_str(), value),
                    Err(_) => continue,
                },
            };
            env.retain(|(known, _)| known != name);
            env.push((name.to_owned(), value));
        }
        env
    }

    pub(super) fn grants(&self, args: Vec<String>, input: bool) -> Grants {
        let net = |one: bool| one || self.allow_net;
        Grants {
            args,
            dirs: self.dirs.clone(),
            sockets: true,
            tcp: net(self.tcp),
            udp: net(self.udp),
            dns: net(self.dns),
            http: net(self.http),
            output: true,
            input,
            quota: None,
            counts: Arc::default(),
            secrets: Granted::default(),
        }
    }
}

fn dir(text: &str) -> Result<GrantedDir, String> {
    let (text, read_only) = match text.strip_suffix("::ro") {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err("write HOST::GUEST, as in ./data::/data or ./data::/data::ro".to_owned());
    }
    Ok(GrantedDir { host: host.into(), guest: guest.to_owned(), read_only })
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "write a size such as 64MiB".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).filter(|time| !time.is_zero()).ok_or_else(|| "write a time such as 500ms or 10s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_its_own_name_unless_it_is_given_one() {
        let is = |text: &str, host: &str, guest: &str, read_only| {
            assert_eq!(dir(text), Ok(GrantedDir { host: host.into(), guest: guest.into(), read_only }), "{text}");
        };
        is("data", "data", "data", false);
        is("data::/d", "data", "/d", false);
        is("data::/d::ro", "data", "/d", true);
        is("data::ro", "data", "data", true);
        assert!(dir("::x").is_err() && dir("x::").is_err());
    }
}
