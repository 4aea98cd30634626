//! The baselines, each a process of its own: the parts that a lattice is made of, put together in the plainest way.
//!
//! Each writes a line `ready ADDRESS` when it serves, and ends when its standard input does.

mod http;
mod nats;
pub(crate) mod wasi;

use std::{
    io::Read,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Subcommand;

pub(crate) use self::http::GREETING;
use crate::child::Child;

#[derive(Subcommand)]
pub(crate) enum Server {
    /// A component behind HTTP, as `wasmtime serve` does it
    #[command(hide = true)]
    ServeWasm { file: PathBuf },
    /// HTTP with nothing behind it
    #[command(hide = true)]
    Hyper,
    /// HTTP, and for each request one over NATS
    #[command(hide = true)]
    HyperNats { nats: String, subject: String },
    /// HTTP, and for each request one INCR in Redis
    #[command(hide = true)]
    HyperRedis { redis: String, key: String },
    /// Answers requests over NATS at once, with what they contain or with so many bytes
    #[command(hide = true)]
    NatsEcho {
        nats: String,
        subject: String,
        #[arg(long)]
        answer: Option<usize>,
    },
    /// Answers each request over NATS with so many messages of so many bytes
    #[command(hide = true)]
    NatsFlood { nats: String, subject: String, messages: usize, length: usize },
    /// Answers requests over NATS with what another one answers over NATS
    #[command(hide = true)]
    NatsRelay { nats: String, subject: String, to: String },
    /// Answers requests over NATS with one INCR in Redis
    #[command(hide = true)]
    NatsRedis { nats: String, subject: String, redis: String, key: String },
}

/// Runs a baseline until its standard input ends.
pub(crate) fn run(server: Server) -> Result<()> {
    end_with_parent()?;
    // As the host has it: a worker for each core.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match server {
            Server::ServeWasm { file } => wasi::serve(&file).await,
            Server::Hyper => http::alone().await,
            Server::HyperNats { nats, subject } => http::before_nats(&nats, subject).await,
            Server::HyperRedis { redis, key } => http::before_redis(&redis, key).await,
            Server::NatsEcho { nats, subject, answer } => nats::echo(&nats, subject, answer).await,
            Server::NatsFlood { nats, subject, messages, length } => {
                nats::flood(&nats, subject, messages, length).await
            }
            Server::NatsRelay { nats, subject, to } => nats::relay(&nats, subject, to).await,
            Server::NatsRedis { nats, subject, redis, key } => nats::increment(&nats, subject, &redis, key).await,
        }
    })
}

fn end_with_parent() -> Result<()> {
    let wait = || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    };
    std::thread::Builder::new().name("parent".into()).spawn(wait)?;
    Ok(())
}

/// Tells the parent that requests can come.
fn ready(address: impl std::fmt::Display) {
    println!("ready {address}");
}

async fn redis_connection(url: &str) -> Result<redis::aio::ConnectionManager> {
    redis::Client::open(url)?.get_connection_manager().await.context("cannot reach Redis")
}

/// Starts a baseline as a child of this process.
pub(crate) fn spawn(dir: &Path, arguments: &[&str]) -> Result<(Child, String)> {
    let name = arguments.first().copied().unwrap_or("baseline");
    let mut child = Child::spawn(name, &std::env::current_exe()?, dir, |command| {
        command.args(arguments);
    })?;
    let line = child.ready()?;
    let address = line.trim().strip_prefix("ready ").with_context(|| format!("{name} says {line:?}"))?.to_owned();
    Ok((child, address))
}

/// Starts a baseline that serves HTTP.
pub(crate) fn spawn_http(dir: &Path, arguments: &[&str]) -> Result<(Child, SocketAddr)> {
    let (child, address) = spawn(dir, arguments)?;
    let address = address.parse().with_context(|| format!("{address:?} is no address"))?;
    Ok((child, address))
}
