//! Machines of a network that can be told to lose them: network namespaces, each with a cable to a hub where NATS is. Where those
//! are not allowed, hosts are cut off by proxies on loopback, and the test says so.

use std::{
    collections::BTreeMap,
    env,
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    path::PathBuf,
    process::{self, Command},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use lattice_provider::conformance::servers::NatsServer;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{host::Host, places::free_address, proxy::Proxy};

/// One machine for each zone.
pub struct Machines(Kind);

enum Kind {
    Namespaces(Network),
    Loopback {
        /// What units listen on, all machines being one.
        addresses: [SocketAddr; 2],
        // Filled when the hosts are made, one after the other.
        proxies: Mutex<BTreeMap<String, Proxy>>,
    },
}

/// Where units listen on a machine that is a namespace.
const PORTS: [u16; 2] = [8080, 8081];

impl Machines {
    pub fn new(zones: &[&str]) -> Self {
        Self(match Network::new(zones) {
            Ok(network) => Kind::Namespaces(network),
            Err(error) => {
                eprintln!(
                    "no network namespaces can be made here ({error}): hosts are cut off by proxies on loopback instead"
                );
                Kind::Loopback { addresses: [free_address(), free_address()], proxies: Mutex::default() }
            }
        })
    }

    /// Runs a test where it can reach the machines, as what it starts can.
    pub fn at_hub<T: Send>(&self, test: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Kind::Namespaces(network) => within(&network.hub, test),
            Kind::Loopback { .. } => test(),
        }
    }

    /// Does something on one of them.
    pub fn on<T: Send>(&self, zone: &str, work: impl FnOnce() -> T + Send) -> T {
        match &self.0 {
            Kind::Namespaces(network) => within(&network.machines[zone], work),
            Kind::Loopback { .. } => work(),
        }
    }

    /// # Errors
    /// When it does not start.
    pub fn nats(&self) -> io::Result<NatsServer> {
        match &self.0 {
            Kind::Namespaces(_) => NatsServer::start_for_all_addresses(),
            Kind::Loopback { .. } => NatsServer::start(),
        }
    }

    /// Where the host on a machine finds NATS.
    pub fn url(&self, zone: &str, nats: &NatsServer) -> String {
        match &self.0 {
            Kind::Namespaces(network) => {
                let port = nats.url().rsplit(':').next().unwrap_or_default().to_owned();
                format!("nats://{}:{port}", network.address(zone, 1))
            }
            Kind::Loopback { proxies, .. } => {
                let mut proxies = proxies.lock().unwrap_or_else(PoisonError::into_inner);
                proxies.entry(zone.to_owned()).or_insert_with(|| Proxy::start(&nats.url())).url()
            }
        }
    }

    /// Puts a host on its machine.
    pub fn place(&self, host: &mut Host) {
        if let Kind::Namespaces(network) = &self.0 {
            let name = network.machines[&host.zone].clone();
            let ip = network.ip.display().to_string();
            host.wrapper = [&ip, "netns", "exec", &name].map(str::to_owned).into();
        }
    }

    /// What a unit can listen on, on whichever machine; there are two of them.
    pub fn listen(&self, number: usize) -> SocketAddr {
        match &self.0 {
            Kind::Namespaces(_) => (Ipv4Addr::UNSPECIFIED, PORTS[number]).into(),
            Kind::Loopback { addresses, .. } => addresses[number],
        }
    }

    /// Where it is found when it is on this machine.
    pub fn address(&self, zone: &str, number: usize) -> SocketAddr {
        match &self.0 {
            Kind::Namespaces(network) => (network.address(zone, 2), PORTS[number]).into(),
            Kind::Loopback { addresses, .. } => addresses[number],
        }
    }

    /// Whether what listens on one of them is another listener than those of the others.
    pub fn are_apart(&self) -> bool {
        matches!(self.0, Kind::Namespaces(_))
    }

    /// Pulls a machine's cable: nothing comes through, and nobody is told.
    pub fn cut(&self, zone: &str) {
        match &self.0 {
            Kind::Namespaces(network) => network.cable(zone, "down"),
            Kind::Loopback { proxies, .. } => {
                proxies.lock().unwrap_or_else(PoisonError::into_inner)[zone].stall();
            }
        }
    }

    pub fn mend(&self, zone: &str) {
        match &self.0 {
            Kind::Namespaces(network) => network.cable(zone, "up"),
            Kind::Loopback { proxies, .. } => {
                proxies.lock().unwrap_or_else(PoisonError::into_inner)[zone].resume();
            }
        }
    }
}

/// Namespaces by their names. They go with it.
struct Network {
    ip: PathBuf,
    hub: String,
    machines: BTreeMap<String, String>,
}

impl Network {
    fn new(zones: &[&str]) -> io::Result<Self> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
        let ip = folders.map(|folder| folder.join("ip")).find(|program| program.is_file());
        let ip = ip.ok_or_else(|| io::Error::other("there is no program `ip`"))?;
        let prefix = format!("lattice-{}-{}", process::id(), NETWORKS.fetch_add(1, Ordering::Relaxed));
        let mut network = Self { ip, hub: format!("{prefix}-hub"), machines: BTreeMap::new() };
        network.run(&["netns", "add", &network.hub])?;
        network.run(&["-n", &network.hub, "link", "set", "lo", "up"])?;
        for zone in zones {
            let name = format!("{prefix}-{zone}");
            network.run(&["netns", "add", &name])?;
            network.machines.insert((*zone).to_owned(), name.clone());
        }
        for zone in zones {
            let (name, cable) = (&network.machines[*zone], format!("to-{zone}"));
            let (here, there) =
                (format!("{}/24", network.address(zone, 1)), format!("{}/24", network.address(zone, 2)));
            network.run(&[
                "-n",
                &network.hub,
                "link",
                "add",
                &cable,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                name,
            ])?;
            network.run(&["-n", &network.hub, "addr", "add", &here, "dev", &cable])?;
            network.run(&["-n", name, "addr", "add", &there, "dev", "eth0"])?;
            network.run(&["-n", name, "link", "set", "lo", "up"])?;
            network.run(&["-n", name, "link", "set", "eth0", "up"])?;
            network.run(&["-n", &network.hub, "link", "set", &cable, "up"])?;
        }
        Ok(network)
    }

    /// An end of a machine's cable: 1 is the hub's, 2 the machine's.
    fn address(&self, zone: &str, end: u8) -> IpAddr {
        let number = self.machines.keys().position(|known| known == zone).expect("a machine of the network");
        Ipv4Addr::new(10, 77, number as u8 + 1, end).into()
    }

    fn cable(&self, zone: &str, to: &str) {
        self.run(&["-n", &self.hub, "link", "set", &format!("to-{zone}"), to]).unwrap();
    }

    fn run(&self, args: &[&str]) -> io::Result<()> {
        let output = Command::new(&self.ip).args(args).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.machines.values().chain([&self.hub]) {
            // It may never have been made.
            let _ = self.run(&["netns", "del", name]);
        }
    }
}

/// On a thread that is in a namespace, as are its children.
fn within<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    thread::scope(|scope| {
        let there = scope.spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        });
        there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
