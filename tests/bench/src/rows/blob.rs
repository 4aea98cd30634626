//! A large object through a component to files and back, beside a plain copy of a file.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    bench::Bench,
    lattice::{Lattice, free_address, in_zone},
    load::first_answer,
    machine::{forget_peak, resident},
    report::{Row, Target},
};

const MIB: u64 = 1 << 20;
/// Bytes of the object.
const SIZE: u64 = 1024 * MIB;
/// What the copy, and our client, read and write at a time.
const PIECE: usize = 256 << 10;
const FIRST: Duration = Duration::from_secs(20);
/// How long an answer may pause.
const PAUSE: Duration = Duration::from_secs(60);
/// More than this an object must not add to its host's memory, in MiB.
const GROWTH: f64 = 64.0;

/// examples/files on a host, and the folder of its store.
fn deploy(bench: &Bench, lattice: &Lattice) -> Result<SocketAddr> {
    let (address, image, here) = (free_address()?, bench.guest("files")?, in_zone("a"));
    let spec = format!(
        "  components:\n    files: {{ image: \"{}\", limits: {{ timeout: 600s }}, links: {{ \"wasi:blobstore\": store }}, {here} }}\n  \
         providers:\n    store: {{ use: blob-fs, config: {{ root: \"{}\" }}, {here} }}\n    web: {{ use: http-server, config: {{ \
         address: \"{address}\", maxBody: 4GiB }}, routes: {{ \"/\": files }}, {here} }}\n",
        image.display(),
        lattice.dir.path().join("objects").display()
    );
    lattice.apply("files", &spec)?;
    first_answer(address, "/", FIRST)?;
    Ok(address)
}

/// The object behind its component, and the same bytes in a file.
struct Contest {
    address: SocketAddr,
    host: u32,
    original: PathBuf,
    /// Where copies go.
    copy: PathBuf,
}

/// MiB a second of ours and of a plain copy, and by how many MiB the host's memory grew at most.
struct Round {
    put: (f64, f64),
    get: (f64, f64),
    grown: f64,
}

impl Contest {
    fn new(address: SocketAddr, host: u32, dir: &Path) -> Result<Self> {
        let (original, copy) = (dir.join("original"), dir.join("copy"));
        let mut file = File::create(&original)?;
        let piece: Vec<u8> = (0..PIECE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for _ in 0..SIZE / PIECE as u64 {
            file.write_all(&piece)?;
        }
        // What is still to be written to the disk would be counted with the first measurement.
        file.sync_all()?;
        Ok(Self { address, host, original, copy })
    }

    /// The object there and back, each beside a copy. Every time the file that is written is a new one.
    fn round(&self) -> Result<Round> {
        forget_peak(self.host)?;
        let before = resident(self.host)?.now;
        let put = (rate(|| self.put())?, rate(|| self.plain_copy())?);
        fs::remove_file(&self.copy)?;
        let got = rate(|| self.get())?;
        let grown = (resident(self.host)?.peak - before) / MIB as f64;
        fs::remove_file(&self.copy)?;
        let get = (got, rate(|| self.plain_copy())?);
        fs::remove_file(&self.copy)?;
        head(&mut self.send("DELETE", 0)?, "204")?;
        Ok(Round { put, get, grown })
    }

    fn plain_copy(&self) -> Result<()> {
        pour(&mut File::open(&self.original)?, &mut File::create(&self.copy)?)
    }

    fn put(&self) -> Result<()> {
        let mut answer = self.send("PUT", SIZE)?;
        pour(&mut File::open(&self.original)?, answer.get_mut())?;
        head(&mut answer, "204")
    }

    fn get(&self) -> Result<()> {
        let mut answer = self.send("GET", 0)?;
        head(&mut answer, "200")?;
        pour(&mut answer, &mut File::create(&self.copy)?)
    }

    /// The head of a request, whose body has so many bytes.
    fn send(&self, method: &str, length: u64) -> Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PAUSE))?;
        stream.set_write_timeout(Some(PAUSE))?;
        let host = self.address;
        write!(
            stream,
            "{method} /object HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        )?;
        Ok(BufReader::with_capacity(PIECE, stream))
    }
}

/// Reads the head of an answer.
fn head(answer: &mut BufReader<TcpStream>, status: &str) -> Result<()> {
    let (mut first, mut line) = (String::new(), String::new());
    answer.read_line(&mut first)?;
    ensure!(first.split(' ').nth(1) == Some(status), "not a {status}: {}", first.trim_end());
    while line != "\r\n" {
        line.clear();
        ensure!(answer.read_line(&mut line)? > 0, "an answer whose head has no end");
    }
    Ok(())
}

/// All of the object, in the plainest way: the kernel copies some files faster, and shares the blocks of others.
fn pour(from: &mut impl Read, to: &mut impl Write) -> Result<()> {
    let (mut piece, mut bytes) = (vec![0; PIECE], 0);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            break;
        }
        to.write_all(&piece[..read])?;
        bytes += read as u64;
    }
    ensure!(bytes == SIZE, "{bytes} bytes of {SIZE}");
    Ok(())
}

/// MiB a second of something that moves the whole object.
fn rate(transfer: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    transfer()?;
    Ok((SIZE / MIB) as f64 / start.elapsed().as_secs_f64())
}

pub(super) fn stream(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let address = deploy(bench, &lattice)?;
    let host = *lattice.processes().first().context("no host")?;
    let contest = Contest::new(address, host, lattice.dir.path())?;
    let rounds = bench.rounds(|| contest.round())?;
    let row = |name: &str, of: fn(&Round) -> (f64, f64)| {
        Row::compared(name, "MiB/s", "a copy of the file, 256 KiB at a time", rounds.iter().map(of))
            .target(Target::RatioAtLeast(0.5))
    };
    Ok(vec![
        row("blob_stream.put", |round| round.put).note(
            "1 GiB from a file over HTTP to examples/files on blob-fs; one of it a round, however long that takes",
        ),
        row("blob_stream.get", |round| round.get).note("the same back into a file"),
        Row::alone("blob_stream.memory", "MiB", rounds.iter().map(|round| round.grown).collect())
            .target(Target::ValueBelow(GROWTH))
            .note("from what the host had resident before a round to the most that it had in it"),
    ])
}
