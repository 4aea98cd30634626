//! The servers that the lattice stands on, on ports and in folders of their own.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::process::{Interrupt, Process};

const READY: Duration = Duration::from_secs(20);

/// The part that we need of what nats-server writes about its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

/// A nats-server with JetStream.
pub(super) struct Nats {
    pub(super) process: Process,
    pub(super) url: String,
}

impl Nats {
    pub(super) fn start(program: &Path, dir: &Path, interrupt: &Interrupt) -> Result<Self> {
        let config = dir.join("nats.conf");
        // Port -1: the server picks a free one, and writes a file that says which.
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nports_file_dir: \"{dir}\"\nmax_payload: 8MB\njetstream {{ store_dir: \"{dir}/nats\" }}\n",
            dir = dir.display()
        );
        fs::write(&config, text)?;
        let mut process = Process::spawn("nats-server", program, dir, |nats| {
            nats.arg("--config").arg(&config);
        })?;
        let ports = dir.join(format!("nats-server_{}.ports", process.id()));
        let url = process.wait_until(interrupt, READY, |_| {
            // A file that is half written does not parse, and is read again.
            let ports: Ports = serde_json::from_str(&fs::read_to_string(&ports).ok()?).ok()?;
            ports.nats.into_iter().next()
        })?;
        Ok(Self { process, url })
    }
}

/// A redis-server that keeps nothing.
pub(super) struct Redis {
    pub(super) url: String,
    _process: Process,
}

impl Redis {
    pub(super) fn start(program: &Path, dir: &Path, interrupt: &Interrupt) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let mut process = Process::spawn("redis-server", program, dir, |redis| {
            redis.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            redis.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir);
        })?;
        process.wait_until(interrupt, READY, |_| ping(address).ok().filter(|pong| *pong).map(drop))?;
        Ok(Self { url: format!("redis://{address}"), _process: process })
    }
}

fn ping(address: SocketAddr) -> Result<bool> {
    let timeout = Duration::from_secs(1);
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?.port())
}
