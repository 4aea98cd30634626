//! The servers, and the way by which shell commands stop and start them: one line over a socket, one line back.

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use lattice_provider::conformance::servers::{AzureServer, NatsServer, PostgresServer, RedisServer};
use lattice_tests::{azure, s3::S3Server};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Mutex,
    task::{JoinHandle, block_in_place},
};

/// What a backend needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Nats,
    Redis,
    Postgres,
    S3,
    Azure,
    Google,
}

/// One that runs, or was stopped and keeps its port and its data.
enum Server {
    Nats(NatsServer),
    Redis(RedisServer),
    Postgres(PostgresServer),
    S3(S3Server),
    Azure(AzureServer),
}

impl Server {
    async fn start(kind: Kind) -> io::Result<Self> {
        Ok(match kind {
            Kind::Nats => block_in_place(NatsServer::start).map(Self::Nats)?,
            Kind::Redis => block_in_place(RedisServer::start).map(Self::Redis)?,
            Kind::Postgres => block_in_place(PostgresServer::start).map(Self::Postgres)?,
            Kind::S3 => S3Server::start().await.map(Self::S3)?,
            Kind::Azure => block_in_place(azure::start).map(Self::Azure)?,
            Kind::Google => S3Server::start_google().await.map(Self::S3)?,
        })
    }

    fn url(&self) -> String {
        match self {
            Self::Nats(server) => server.url(),
            Self::Redis(server) => server.url(),
            Self::Postgres(server) => server.url(),
            Self::S3(server) => server.url(),
            Self::Azure(server) => server.url(),
        }
    }

    async fn stop(&mut self) {
        match self {
            Self::Nats(server) => block_in_place(|| server.stop()),
            Self::Redis(server) => block_in_place(|| server.stop()),
            Self::Postgres(server) => block_in_place(|| server.stop()),
            Self::S3(server) => server.stop().await,
            Self::Azure(server) => block_in_place(|| server.stop()),
        }
    }

    async fn restart(&mut self) -> io::Result<()> {
        match self {
            Self::Nats(server) => block_in_place(|| server.restart()),
            Self::Redis(server) => block_in_place(|| server.restart()),
            Self::Postgres(server) => block_in_place(|| server.restart()),
            Self::S3(server) => server.restart().await,
            Self::Azure(server) => block_in_place(|| server.restart()),
        }
    }
}

/// All servers by the name of their backend. A lock, as jobs and commands come from anywhere; each holds it for one server's
/// stop or start, and there are few.
type Servers = Arc<Mutex<HashMap<String, Server>>>;

/// What holds them. They end with it.
pub(crate) struct Control {
    servers: Servers,
    folder: TempDir,
    listener: JoinHandle<()>,
}

impl Control {
    pub(crate) fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("lattice-matrix-").tempdir()?;
        let servers = Servers::default();
        let listener = UnixListener::bind(socket(folder.path())).context("cannot listen")?;
        let listener = tokio::spawn(listen(listener, servers.clone()));
        Ok(Self { servers, folder, listener })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.folder.path())
    }

    /// Starts a server. Returns its URL.
    pub(crate) async fn add(&self, name: &str, kind: Kind) -> Result<String> {
        let server = Server::start(kind).await?;
        let url = server.url();
        self.servers.lock().await.insert(name.to_owned(), server);
        Ok(url)
    }

    /// Ends it, when there is one.
    pub(crate) async fn remove(&self, name: &str) {
        if let Some(mut server) = self.servers.lock().await.remove(name) {
            server.stop().await;
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("control")
}

async fn listen(listener: UnixListener, servers: Servers) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let servers = servers.clone();
        tokio::spawn(async move {
            let mut line = String::new();
            if BufReader::new(&mut socket).read_line(&mut line).await.is_ok() {
                let answer = match obey(line.trim(), &servers).await {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => format!("{error:#}"),
                };
                // Whoever does not wait for it is told by nobody else.
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
    }
}

async fn obey(line: &str, servers: &Servers) -> Result<()> {
    let (what, name) = line.split_once(' ').context("write WHAT SERVER")?;
    let mut servers = servers.lock().await;
    let server = servers.get_mut(name).with_context(|| format!("there is no server for {name}"))?;
    match what {
        "stop" => server.stop().await,
        "start" => server.restart().await?,
        _ => bail!("`{what}` is neither stop nor start"),
    }
    Ok(())
}

/// Asks the program that listens at `socket` to stop or start a server, and waits until it is done.
pub(crate) async fn ask(socket: &str, what: &str, server: &str) -> Result<()> {
    let mut socket = UnixStream::connect(socket).await.with_context(|| format!("nobody listens at {socket}"))?;
    socket.write_all(format!("{what} {server}\n").as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    if answer != "ok" {
        bail!("{answer}");
    }
    Ok(())
}
