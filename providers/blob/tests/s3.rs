//! S3, as another implementation of it understands it. In a process of its own, as its memory is looked at.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use lattice::bus::Bus;
use lattice_provider::{
    Capability, Health, Provider, StartError,
    blobstore::Blobstore,
    conformance::{self, BlobTest},
};
use lattice_provider_blob::{S3, S3Config, Secret};
use lattice_tests::s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};
use tokio::sync::watch;

async fn start(config: S3Config) -> Result<(Arc<dyn Blobstore>, watch::Receiver<Health>), StartError> {
    let bus = Bus::memory("default".parse().unwrap());
    let (context, health) = conformance::context(&"shop/files".parse().unwrap(), Path::new("/"), &bus);
    let Capability::Blobstore(backend) = S3::start(context, config).await? else { panic!("it is a store") };
    Ok((backend, health))
}

fn config(server: &S3Server, prefix: Option<&str>, secret: &str) -> S3Config {
    S3Config {
        bucket: BUCKET.into(),
        prefix: prefix.map(str::to_owned),
        region: None,
        endpoint: Some(server.url()),
        access_key_id: Some(ACCESS_KEY_ID.into()),
        secret_access_key: Some(Secret(secret.into())),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms() {
    let server = S3Server::start().await.unwrap();
    let (backend, _) = start(config(&server, None, SECRET_ACCESS_KEY)).await.unwrap();
    // The server is in this process, too; it reads the whole folder for each page, and keeps long names in longer ones.
    let test = BlobTest { names: 1500, longest: 100, large: 256, memory: Some(160) };
    conformance::blobstore(backend, "S3", test).await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_goes_and_comes_back() {
    let mut server = S3Server::start().await.unwrap();
    let (backend, mut health) = start(config(&server, Some("deep/er"), SECRET_ACCESS_KEY)).await.unwrap();
    let (c, o) = (|| "c".to_owned(), || "o".to_owned());
    backend.create_container(c()).await.unwrap();
    backend.write(c(), o(), Bytes::from("kept").into()).await.unwrap();
    assert!(server.folder().join("bucket/deep/er/c/o").is_file());
    server.stop().await;
    backend.object_info(c(), o()).await.unwrap_err();
    let away = |health: &Health| *health != Health::Ready;
    tokio::time::timeout(Duration::from_secs(15), health.wait_for(away)).await.unwrap().unwrap();
    server.restart().await.unwrap();
    let (_, data) = backend.read(c(), o(), 0, u64::MAX).await.unwrap();
    assert_eq!(data.whole(), Some(&Bytes::from("kept")));
    assert_eq!(*health.borrow_and_update(), Health::Ready);
}

#[tokio::test]
async fn what_s3_refuses_is_said_without_the_secret() {
    let server = S3Server::start().await.unwrap();
    let text = start(config(&server, None, "a-wrong-secret")).await.err().unwrap().to_string();
    assert!(!text.contains("a-wrong-secret") && text.contains("bucket"), "{text}");
    let wrong = config(&server, None, "a-wrong-secret");
    assert!(!format!("{wrong:?}").contains("a-wrong-secret"), "{wrong:?}");
    let text = start(S3Config { secret_access_key: None, ..wrong }).await.err().unwrap().to_string();
    assert_eq!(text, "bad configuration: accessKeyId: goes together with secretAccessKey");
}
