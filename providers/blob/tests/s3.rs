//! S3, as another implementation of it understands it. In a process of its own, as its memory is looked at.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use lattice::bus::Bus;
use lattice_provider::{
    Capability, Health, Provider, StartError,
    blobstore::Blobstore,
    conformance::{self, BlobTest},
};
use lattice_provider_blob::{S3, S3Config, Secret};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

async fn start(config: S3Config) -> Result<(Arc<dyn Blobstore>, watch::Receiver<Health>), StartError> {
    let bus = Bus::memory("default".parse().unwrap());
    let (context, health) = conformance::context(&"shop/files".parse().unwrap(), Path::new("/"), &bus);
    let Capability::Blobstore(backend) = S3::start(context, config).await? else { panic!("it is a store") };
    Ok((backend, health))
}

/// A server that checks signatures. It ends with its handle.
struct S3Server {
    address: SocketAddr,
    connections: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

const BUCKET: &str = "bucket";

impl S3Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let mut server = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), connections: None, folder };
        server.restart().await;
        server
    }

    async fn stop(&mut self) {
        if let Some(connections) = self.connections.take() {
            connections.abort();
            let _ = connections.await;
        }
    }

    async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(self.folder.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("me", "mine"));
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
    }

    fn config(&self, prefix: Option<&str>, secret: &str) -> S3Config {
        S3Config {
            bucket: BUCKET.into(),
            prefix: prefix.map(str::to_owned),
            region: None,
            endpoint: Some(format!("http://{}", self.address)),
            access_key_id: Some("me".into()),
            secret_access_key: Some(Secret(secret.into())),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms() {
    let server = S3Server::start().await;
    let (backend, _) = start(server.config(None, "mine")).await.unwrap();
    // The server is in this process, too; it reads the whole folder for each page, and keeps long names in longer ones.
    let test = BlobTest { names: 1500, longest: 100, large: 256, memory: Some(160) };
    conformance::blobstore(backend, "S3", test).await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_goes_and_comes_back() {
    let mut server = S3Server::start().await;
    let (backend, mut health) = start(server.config(Some("deep/er"), "mine")).await.unwrap();
    let (c, o) = (|| "c".to_owned(), || "o".to_owned());
    backend.create_container(c()).await.unwrap();
    backend.write(c(), o(), Bytes::from("kept").into()).await.unwrap();
    assert!(server.folder.path().join("bucket/deep/er/c/o").is_file());
    server.stop().await;
    backend.object_info(c(), o()).await.unwrap_err();
    let away = |health: &Health| *health != Health::Ready;
    tokio::time::timeout(Duration::from_secs(15), health.wait_for(away)).await.unwrap().unwrap();
    server.restart().await;
    let (_, data) = backend.read(c(), o(), 0, u64::MAX).await.unwrap();
    assert_eq!(data.whole(), Some(&Bytes::from("kept")));
    assert_eq!(*health.borrow_and_update(), Health::Ready);
}

#[tokio::test]
async fn what_s3_refuses_is_said_without_the_secret() {
    let server = S3Server::start().await;
    let text = start(server.config(None, "a-wrong-secret")).await.err().unwrap().to_string();
    assert!(!text.contains("a-wrong-secret") && text.contains("bucket"), "{text}");
    let config = server.config(None, "a-wrong-secret");
    assert!(!format!("{config:?}").contains("a-wrong-secret"), "{config:?}");
    let text = start(S3Config { secret_access_key: None, ..config }).await.err().unwrap().to_string();
    assert_eq!(text, "bad configuration: accessKeyId: goes together with secretAccessKey");
}
