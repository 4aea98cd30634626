//! examples/hello in one host, against what `wasmtime serve` does with it.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::Result;

use super::{Pairs, compared, rate_and_cpu};
use crate::{
    bench::Bench,
    child::Child,
    lattice::{Lattice, free_address, in_zone, web},
    load::{Client, Load, first_answer},
    report::{Row, Target},
    servers::spawn_http,
};

/// How long an app or a server may take to its first answer.
const FIRST: Duration = Duration::from_secs(20);

/// Puts hello on a host of `zone`, behind an http-server on a host of zone a, and returns where it answers.
pub(super) fn deploy(bench: &Bench, lattice: &Lattice, app: &str, zone: &str, options: &str) -> Result<SocketAddr> {
    deploy_guest(bench, lattice, "hello", app, zone, options)
}

/// As [`deploy`], for another guest.
pub(super) fn deploy_guest(
    bench: &Bench,
    lattice: &Lattice,
    guest: &str,
    app: &str,
    zone: &str,
    options: &str,
) -> Result<SocketAddr> {
    let (address, image) = (free_address()?, bench.guest(guest)?);
    let spec = format!(
        "  components:\n    hello: {{ image: \"{}\", {options} {} }}\n  providers:\n{}",
        image.display(),
        in_zone(zone),
        web(address, "hello")
    );
    lattice.apply(app, &spec)?;
    first_answer(address, "/", FIRST)?;
    Ok(address)
}

/// A server and where it is.
struct Server {
    address: SocketAddr,
    processes: Vec<u32>,
}

impl Server {
    fn load(&self, bench: &Bench, connections: usize) -> Result<Load> {
        Client { address: self.address, path: "/", connections, servers: &self.processes }.run(bench.times)
    }
}

fn serve(bench: &Bench, dir: &Path, guest: &str) -> Result<(Child, Server)> {
    let file = bench.guest(guest)?.display().to_string();
    let (child, address) = spawn_http(dir, &["serve-wasm", &file])?;
    let processes = vec![child.id()];
    Ok((child, Server { address, processes }))
}

/// `wasmtime serve` itself, where the machine has it.
fn wasmtime(bench: &Bench, dir: &Path) -> Result<Option<(Child, Server)>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(program) = std::env::split_paths(&path).map(|dir| dir.join("wasmtime")).find(|file| file.is_file()) else {
        return Ok(None);
    };
    let (address, file) = (free_address()?, bench.guest("hello")?);
    let child = Child::spawn("wasmtime", &program, dir, |wasmtime| {
        wasmtime.args(["serve", "-S", "cli", "--addr", &address.to_string()]).arg(file);
    })?;
    first_answer(address, "/", FIRST)?;
    let processes = vec![child.id()];
    Ok(Some((child, Server { address, processes })))
}

pub(super) fn local(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let address = deploy(bench, &lattice, "hello", "a", "")?;
    let ours = Server { address, processes: lattice.processes() };
    let (_serve, serve) = serve(bench, lattice.dir.path(), "hello")?;
    let wasmtime = wasmtime(bench, lattice.dir.path())?;
    let (mut at_16, mut at_64, mut binary) = (Vec::new(), Vec::new(), Vec::new());
    bench.rounds(|| {
        at_16.push((ours.load(bench, 16)?, serve.load(bench, 16)?));
        at_64.push((ours.load(bench, 64)?, serve.load(bench, 64)?));
        if let Some((_, wasmtime)) = &wasmtime {
            binary.push((ours.load(bench, 16)?, wasmtime.load(bench, 16)?));
        }
        Ok(())
    })?;
    let [rate, cpu] = rate_and_cpu("http_hello_local", "serve", &at_16);
    let mut rows = vec![rate.target(Target::RatioAtLeast(2.0)), cpu];
    if !binary.is_empty() {
        rows.push(compared("http_hello_local.wasmtime", "req/s", "wasmtime serve", &binary, |load| load.rate));
    }
    rows.push(p99(&at_64));
    rows.push(compared("http_hello_local_p99.rps", "req/s", "serve", &at_64, |load| load.rate));
    Ok(rows)
}

fn p99(pairs: &Pairs) -> Row {
    compared("http_hello_local_p99", "ms", "serve", pairs, |load| load.p99_us / 1000.0).target(Target::RatioAtMost(0.5))
}

pub(super) fn reuse(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let address = deploy(bench, &lattice, "hello", "a", "reuse: 1000,")?;
    let ours = Server { address, processes: lattice.processes() };
    let (_serve, serve) = serve(bench, lattice.dir.path(), "hello")?;
    let pairs = bench.rounds(|| Ok((ours.load(bench, 16)?, serve.load(bench, 16)?)))?;
    let [rate, cpu] = rate_and_cpu("http_hello_reuse", "serve", &pairs);
    let rate =
        rate.target(Target::RatioAtLeast(4.0)).note("an instance of ours serves 1,000 requests, one of serve's one");
    Ok(vec![rate, cpu])
}

/// A component of WASI 0.3, whose instances serve many requests on both sides, and some at a time.
pub(super) fn p3(bench: &Bench) -> Result<Vec<Row>> {
    let lattice = Lattice::start(bench, &["a"])?;
    let address = deploy_guest(bench, &lattice, "p3-hello", "hello", "a", "reuse: 128,")?;
    let ours = Server { address, processes: lattice.processes() };
    let (_serve, serve) = serve(bench, lattice.dir.path(), "p3-hello")?;
    let pairs = bench.rounds(|| Ok((ours.load(bench, 16)?, serve.load(bench, 16)?)))?;
    let [rate, cpu] = rate_and_cpu("http_p3_local", "serve", &pairs);
    let note = "tests/guests/p3-hello; an instance serves 128 requests on both sides, of serve's 16 at a time";
    Ok(vec![rate.target(Target::RatioAtLeast(1.5)).note(note), cpu])
}

/// The same host without traces, with one of a hundred requests traced, and with all.
pub(super) fn traced(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    // It takes whatever it is sent.
    let (_collector, collector) = spawn_http(dir.path(), &["hyper"])?;
    let start = |sample: Option<&str>| -> Result<(Lattice, Server)> {
        let otlp = format!("http://{collector}");
        let arguments = sample.map(|sample| ["--otlp", &otlp, "--trace-sample", sample].map(str::to_owned).to_vec());
        let lattice = Lattice::start_with(bench, &["a"], &arguments.unwrap_or_default())?;
        let address = deploy(bench, &lattice, "hello", "a", "")?;
        let server = Server { address, processes: lattice.processes() };
        Ok((lattice, server))
    };
    let (_off, off) = start(None)?;
    let (_some, some) = start(Some("0.01"))?;
    let (_all, all) = start(Some("1"))?;
    let (mut one, mut every) = (Vec::new(), Vec::new());
    bench.rounds(|| {
        one.push((some.load(bench, 16)?, off.load(bench, 16)?));
        every.push((all.load(bench, 16)?, off.load(bench, 16)?));
        Ok(())
    })?;
    let row = |name: &str, pairs: &Pairs| compared(name, "req/s", "without traces", pairs, |load| load.rate);
    let note = "two spans a request; what the collector's queue has no room for is left out";
    Ok(vec![row("tracing_cost.1percent", &one), row("tracing_cost.all", &every).note(note)])
}
