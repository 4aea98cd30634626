//! An S3 server of others, which checks signatures.

use std::{io, net::SocketAddr, path::Path};

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

/// The server, with a folder of its own. It ends with its handle.
pub struct S3Server {
    address: SocketAddr,
    connections: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl S3Server {
    pub async fn start() -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::create_dir(folder.path().join(BUCKET))?;
        let mut server = Self { address: free_address(), connections: None, folder };
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
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY_ID, SECRET_ACCESS_KEY));
        let service = builder.build();
        self.connections = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let http = Builder::new(TokioExecutor::new());
                    drop(http.serve_connection(TokioIo::new(socket), service).await);
                });
            }
        }));
        Ok(())
    }
}
