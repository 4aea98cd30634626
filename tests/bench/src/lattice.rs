//! Our side: nats-server, hosts and the CLI as users run them.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    bench::Bench,
    child::{Child, tied_to_us},
    rows::Traffic,
};

const LATTICE: &str = "bench";
/// Long enough for a host that has just joined to take the lease.
const TURN: Duration = Duration::from_millis(500);

/// The part that we need of what nats-server writes about its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

/// The same of what it says of itself.
#[derive(Deserialize)]
struct Varz {
    in_msgs: u64,
    out_msgs: u64,
    in_bytes: u64,
    out_bytes: u64,
}

/// A nats-server with JetStream.
pub(crate) struct Nats {
    pub(crate) url: String,
    monitoring: String,
    _process: Child,
}

impl Nats {
    /// What it has taken and given since it was started.
    pub(crate) fn traffic(&self) -> Result<Traffic> {
        let address = self.monitoring.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /varz HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let body = answer.split_once("\r\n\r\n").context("no answer of nats-server")?.1;
        let Varz { in_msgs, out_msgs, in_bytes, out_bytes } = serde_json::from_str(body)?;
        Ok(Traffic { messages: in_msgs + out_msgs, bytes: in_bytes + out_bytes })
    }

    pub(crate) fn start(bench: &Bench, dir: &Path) -> Result<Self> {
        let (config, shown) = (dir.join("nats.conf"), dir.display());
        // Port -1: the server picks a free one, and writes a file that says which.
        let text = format!(
            "listen: \"127.0.0.1:-1\"\nhttp: \"127.0.0.1:-1\"\nports_file_dir: \"{shown}\"\nmax_payload: 8MB\njetstream {{ store_dir: \"{shown}/nats\" }}\n"
        );
        fs::write(&config, text)?;
        let mut process = Child::spawn("nats-server", &bench.nats_server, dir, |nats| {
            nats.arg("--config").arg(&config);
        })?;
        let ports = dir.join(format!("nats-server_{}.ports", process.id()));
        let (url, monitoring) = process.wait_until(|_| {
            // A file that is half written does not parse, and is read again.
            let ports: Ports = serde_json::from_str(&fs::read_to_string(&ports).ok()?).ok()?;
            ports.nats.into_iter().next().zip(ports.monitoring.into_iter().next())
        })?;
        Ok(Self { url, monitoring, _process: process })
    }
}

/// A redis-server that keeps nothing.
pub(crate) struct Redis {
    pub(crate) url: String,
    _process: Child,
}

impl Redis {
    pub(crate) fn start(bench: &Bench, dir: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut process = Child::spawn("redis-server", &bench.redis_server, dir, |redis| {
            redis.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            redis.args(["--save", "", "--appendonly", "no", "--dir"]).arg(dir);
        })?;
        process.wait_until(|_| ping(address).ok().filter(|pong| *pong))?;
        Ok(Self { url: format!("redis://{address}"), _process: process })
    }

    /// The number under `key`; 0 without one.
    pub(crate) fn number(&self, key: &str) -> Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut connection = redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection().await?;
            let number: Option<u64> = redis::cmd("GET").arg(key).query_async(&mut connection).await?;
            Ok(number.unwrap_or(0))
        })
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

/// An address of this machine that was free a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?.local_addr()?)
}

/// NATS and some hosts. The fields are dropped, and so the processes ended, from top to bottom.
pub(crate) struct Lattice {
    hosts: Vec<Child>,
    pub(crate) nats: Nats,
    ctl: std::path::PathBuf,
    pub(crate) dir: TempDir,
}

impl Lattice {
    /// Starts a host for each of `zones`, which is also its label.
    pub(crate) fn start(bench: &Bench, zones: &[&str]) -> Result<Self> {
        Self::start_with(bench, zones, &[])
    }

    /// The same, with further arguments for each host.
    pub(crate) fn start_with(bench: &Bench, zones: &[&str], arguments: &[String]) -> Result<Self> {
        let mut lattice = Self::empty(bench)?;
        for zone in zones {
            lattice.add_host(bench, zone, arguments)?;
        }
        for host in &mut lattice.hosts {
            host.ready()?;
        }
        Ok(lattice)
    }

    /// The same, one host after another: the first one holds the lease.
    pub(crate) fn start_in_turn(bench: &Bench, zones: &[&str]) -> Result<Self> {
        let mut lattice = Self::empty(bench)?;
        for zone in zones {
            lattice.add_host(bench, zone, &[])?.ready()?;
            std::thread::sleep(TURN);
        }
        Ok(lattice)
    }

    fn empty(bench: &Bench) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
        let nats = Nats::start(bench, dir.path())?;
        Ok(Self { hosts: Vec::new(), nats, ctl: bench.binary("lattice-ctl"), dir })
    }

    fn add_host(&mut self, bench: &Bench, zone: &str, arguments: &[String]) -> Result<&mut Child> {
        let (name, dir) = (format!("host-{zone}"), self.dir.path());
        let host = Child::spawn(&name, &bench.binary("lattice-host"), dir, |host| {
            host.args(["--nats", &self.nats.url, "--lattice", LATTICE, "--label", &format!("zone={zone}"), "--data"]);
            host.arg(dir.join(&name)).args(arguments).env("LATTICE_LOG", "warn");
        })?;
        self.hosts.push(host);
        self.hosts.last_mut().context("no host")
    }

    /// `kill -9` of the host that was started as the `at`-th.
    pub(crate) fn kill(&mut self, at: usize) -> Result<()> {
        self.hosts.get_mut(at).context("no such host")?.kill()
    }

    /// The processes of the hosts; providers in processes of their own are their children.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.hosts.iter().map(Child::id).collect()
    }

    /// `lattice-ctl` with these arguments, as a user runs it.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Result<Ctl<'_>> {
        let mut command = tied_to_us(&self.ctl);
        command.args(["--nats", &self.nats.url, "--lattice", LATTICE]).args(arguments);
        let process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        Ok(Ctl { lattice: self, process: Some(process) })
    }

    /// Applies a manifest and waits until the app runs.
    pub(crate) fn apply(&self, name: &str, spec: &str) -> Result<()> {
        let file = self.manifest(name, spec)?;
        self.ctl(&["apply", "--timeout", "10m", "-f", &file])?.wait()
    }

    pub(crate) fn delete(&self, app: &str) -> Result<()> {
        self.ctl(&["delete", app])?.wait()
    }

    /// Writes a manifest, and returns its path.
    pub(crate) fn manifest(&self, name: &str, spec: &str) -> Result<String> {
        let file = self.dir.path().join(format!("{name}.yaml"));
        let head = format!("apiVersion: lattice/v1\nkind: App\nmetadata: {{ name: {name} }}\nspec:\n");
        fs::write(&file, head + spec)?;
        Ok(file.display().to_string())
    }

    fn logs(&self) -> String {
        self.hosts.iter().map(|host| format!("\n---- host {}\n{}", host.id(), host.log_tail())).collect()
    }
}

impl Drop for Lattice {
    fn drop(&mut self) {
        Child::end_all(&mut self.hosts);
    }
}

/// A `lattice-ctl` at work.
pub(crate) struct Ctl<'a> {
    lattice: &'a Lattice,
    /// `None` when it has ended.
    process: Option<std::process::Child>,
}

impl Ctl<'_> {
    pub(crate) fn wait(mut self) -> Result<()> {
        let Some(process) = self.process.take() else { return Ok(()) };
        let output = process.wait_with_output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("lattice-ctl ended with {}\n{said}{}", output.status, self.lattice.logs());
        }
        Ok(())
    }
}

impl Drop for Ctl<'_> {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A unit that only a host of `zone` may run.
pub(crate) fn in_zone(zone: &str) -> String {
    format!("placement: {{ require: {{ zone: [{zone}] }} }}")
}

/// An http-server on a host of zone a, with all requests for `component`.
pub(crate) fn web(address: SocketAddr, component: &str) -> String {
    format!(
        "    web: {{ use: http-server, config: {{ address: \"{address}\" }}, routes: {{ \"/\": {component} }}, {} }}\n",
        in_zone("a")
    )
}
