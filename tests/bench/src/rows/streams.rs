//! A large body from a component on another host.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use futures_util::StreamExt;
use tokio::runtime::Runtime as Tasks;

use super::hello::deploy_guest;
use crate::{
    bench::{Bench, Times},
    lattice::Lattice,
    report::{Row, Target},
    servers::spawn,
    stats::like_a_host,
};

const MIB: usize = 1 << 20;
const SUBJECT: &str = "baseline.flood";
/// What the guest writes at a time, to the nearest power of two.
const PIECE: usize = 64 << 10;
/// Bytes of one body.
const BODY: usize = 64 * MIB;
/// Bytes for one request of the baseline: less than nats-server keeps for a client that is slow.
const FLOOD: usize = 16 * MIB;
/// How long a body may pause.
const PAUSE: Duration = Duration::from_secs(20);

/// Bodies in a row for as long as a measurement takes, in MiB a second. `body` gives the bytes that came.
fn rate(times: Times, mut body: impl FnMut() -> Result<usize>) -> Result<f64> {
    let warm = Instant::now() + times.warm_up;
    while Instant::now() < warm {
        body()?;
    }
    let (start, mut bytes) = (Instant::now(), 0);
    while start.elapsed() < times.measured {
        bytes += body()?;
    }
    Ok(bytes as f64 / MIB as f64 / start.elapsed().as_secs_f64())
}

/// Downloads one body, and looks only for its end.
fn download(address: SocketAddr, path: &str) -> Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PAUSE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let (mut buffer, mut head, mut bytes) = (vec![0; MIB], Vec::new(), 0);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        if head.len() < 12 {
            head.extend_from_slice(&buffer[..read.min(12)]);
        }
        bytes += read;
    }
    ensure!(head.starts_with(b"HTTP/1.1 200"), "not a 200: {}", String::from_utf8_lossy(&head));
    ensure!(bytes >= BODY, "{bytes} bytes of a body of {BODY}");
    Ok(BODY)
}

/// The same over NATS alone, from one process to another.
fn flood(tasks: &Tasks, client: &async_nats::Client) -> Result<usize> {
    tasks.block_on(async {
        let inbox = client.new_inbox();
        let mut pieces = client.subscribe(inbox.clone()).await?;
        let mut bytes = 0;
        for _ in 0..BODY / FLOOD {
            client.publish_with_reply(SUBJECT, inbox.clone(), Vec::new().into()).await?;
            let wanted = bytes + FLOOD;
            while bytes < wanted {
                let piece = tokio::time::timeout(PAUSE, pieces.next()).await?;
                bytes += piece.map_or(0, |piece| piece.payload.len());
            }
        }
        Ok(bytes)
    })
}

pub(super) fn remote(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a", "b"])?;
    let newer = deploy_guest(bench, &lattice, "p3-hello", "newer", "b", "reuse: 100,")?;
    let older = deploy_guest(bench, &lattice, "echo", "older", "b", "")?;
    let (messages, length) = ((FLOOD / PIECE).to_string(), PIECE.to_string());
    let (_flood, _) = spawn(lattice.dir.path(), &["nats-flood", &lattice.nats.url, SUBJECT, &messages, &length])?;
    let tasks = like_a_host()?;
    let client = tasks.block_on(async_nats::connect(&lattice.nats.url))?;
    let path = format!("/big?bytes={BODY}");
    let rounds = bench.rounds(|| {
        let newer = rate(bench.times, || download(newer, &path))?;
        let older = rate(bench.times, || download(older, &path))?;
        Ok((newer, older, rate(bench.times, || flood(&tasks, &client))?))
    })?;
    let row = |name: &str, of: fn(&(f64, f64, f64)) -> f64| {
        Row::compared(name, "MiB/s", "raw NATS, 64 KiB a message", rounds.iter().map(|round| (of(round), round.2)))
    };
    Ok(vec![
        row("stream_remote", |round| round.0)
            .target(Target::RatioAtLeast(0.7))
            .note("an HTTP body of 64 MiB out of tests/guests/p3-hello on another host, which writes 64 KiB at a time"),
        row("stream_remote.p2", |round| round.1)
            .note("out of tests/guests/echo, which writes and flushes 4 KiB at a time"),
    ])
}
