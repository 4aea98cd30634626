//! An S3 server of others, which checks signatures; and the same server for clients of Google's storage, whose XML requests are
//! those of S3 but for the names of some headers.

use std::{io, net::SocketAddr, path::Path};

use hyper::{HeaderMap, Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::places::free_address;

/// The server's only bucket.
pub const BUCKET: &str = "bucket";
/// Who may use it.
pub const ACCESS_KEY_ID: &str = "me";
/// What belongs to that.
pub const SECRET_ACCESS_KEY: &str = "mine";

/// Whose requests a server understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Amazon,
    /// Without signatures.
    Google,
}

/// The server, with a folder of its own. It ends with its handle.
pub struct S3Server {
    dialect: Dialect,
    address: SocketAddr,
    connections: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl S3Server {
    pub async fn start() -> io::Result<Self> {
        Self::speaking(Dialect::Amazon).await
    }

    /// One for clients of Google's storage.
    pub async fn start_google() -> io::Result<Self> {
        Self::speaking(Dialect::Google).await
    }

    async fn speaking(dialect: Dialect) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let mut server = Self { dialect, address: free_address(), connections: None, folder };
        server.restart().await?;
        Ok(server)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The folder with a folder for each bucket.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends it with all its connections. What it stored stays.
    pub async fn stop(&mut self) {
        if let Some(connections) = self.connections.take() {
            connections.abort();
            let _ = connections.await;
        }
    }

    /// Ends it when it runs, and starts it on the same port with what it stored.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await?;
        let files = s3s_fs::FileSystem::new(self.folder.path());
        let files = files.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let mut builder = S3ServiceBuilder::new(files);
        let dialect = self.dialect;
        if dialect == Dialect::Amazon {
            builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        }
        let service = builder.build();
        self.connections = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                let service = service_fn(move |mut request: Request<Incoming>| {
                    if dialect == Dialect::Google {
                        translate(request.headers_mut());
                    }
                    hyper::service::Service::call(&service, request)
                });
                connections.spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    drop(http.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        }));
        Ok(())
    }
}

/// From Google's names to Amazon's.
fn translate(headers: &mut HeaderMap) {
    // Without a key it is there, and empty.
    headers.remove("authorization");
    if let Some(source) = headers.remove("x-goog-copy-source") {
        headers.insert("x-amz-copy-source", source);
    }
}
