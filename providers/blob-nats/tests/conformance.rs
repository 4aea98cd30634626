#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{self, object_store};
use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use lattice::{
    bus::{Bus, NatsOptions},
    wire::CallError,
};
use lattice_provider::{
    ByteStream, Capability, Health, Provider, StartError,
    blobstore::{BlobError, Blobstore},
    conformance::{self, BlobTest, servers::NatsServer},
};
use lattice_provider_blob_nats::{Config, NatsObjects};
use tokio::{io::AsyncReadExt, sync::watch};

const SOON: Duration = Duration::from_secs(20);

async fn start(server: &NatsServer, prefix: Option<&str>) -> (Arc<dyn Blobstore>, watch::Receiver<Health>) {
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let bus = Bus::connect_for_calls(&options, "default".parse().unwrap(), "test").await.unwrap();
    let (context, health) = conformance::context(&"shop/files".parse().unwrap(), std::env::temp_dir().as_path(), &bus);
    let config = Config { prefix: prefix.map(str::to_owned), replicas: None };
    let Capability::Blobstore(backend) = NatsObjects::start(context, config).await.unwrap() else {
        panic!("it is a store")
    };
    (backend, health)
}

async fn jetstream(server: &NatsServer) -> jetstream::Context {
    jetstream::new(async_nats::connect(server.url()).await.unwrap())
}

/// Messages in the stream of the container `c`: a description and the chunks for each object.
async fn messages(server: &NatsServer) -> u64 {
    let stream = jetstream(server).await.get_stream("OBJ_default-shop-files-c").await.unwrap();
    stream.cached_info().state.messages
}

fn c() -> String {
    "c".to_owned()
}

async fn read(backend: &Arc<dyn Blobstore>, object: &str, start: u64, end: u64) -> Result<Vec<u8>, BlobError> {
    let (length, mut data) = backend.read(c(), object.to_owned(), start, end).await?;
    let mut all = Vec::new();
    while let Some(piece) = data.next().await {
        all.extend(piece?);
    }
    assert_eq!(all.len() as u64, length);
    Ok(all)
}

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<NatsObjects>(&[("prefix", "shop-".into()), ("replicas", 3.into())]).unwrap();
    let refused = |prefix: &str| {
        let config = Config { prefix: Some(prefix.to_owned()), replicas: None };
        NatsObjects::check(&config, &"shop/files".parse().unwrap())
    };
    for bad in ["", "a.b", "a b", &"x".repeat(201)] {
        assert!(matches!(refused(bad), Err(StartError::Config(text)) if text.starts_with("prefix: ")), "{bad}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&server, None).await;
    let test = BlobTest { names: 3000, longest: 900, large: 256, memory: Some(64) };
    conformance::blobstore(backend, "NATS", test).await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_where_messages_are_small() {
    let server = NatsServer::start_small().unwrap();
    let (backend, _health) = start(&server, None).await;
    let test = BlobTest { names: 1100, longest: 900, large: 16, memory: Some(64) };
    conformance::blobstore(backend, "NATS with small messages", test).await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_written_outlives_the_server() {
    let mut server = NatsServer::start().unwrap();
    let (backend, mut health) = start(&server, None).await;
    backend.create_container(c()).await.unwrap();
    let kept = Bytes::from(vec![5; 1_000_000]);
    backend.write(c(), "kept".into(), kept.clone().into()).await.unwrap();
    tokio::task::block_in_place(|| server.stop());
    let away = |health: &Health| *health != Health::Ready;
    tokio::time::timeout(SOON, health.wait_for(away)).await.unwrap().unwrap();
    let refused = backend.write(c(), "new".into(), Bytes::from("x").into()).await.unwrap_err().to_string();
    assert_eq!(refused, "there is no connection to NATS");
    tokio::task::block_in_place(|| server.restart()).unwrap();
    tokio::time::timeout(SOON, health.wait_for(|health| *health == Health::Ready)).await.unwrap().unwrap();
    assert!(read(&backend, "kept", 0, u64::MAX).await.unwrap() == kept);
    assert_eq!(read(&backend, "new", 0, u64::MAX).await, Err(BlobError::NoSuchObject));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_one_version_is_left_and_parts_of_it_are_found() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&server, None).await;
    backend.create_container(c()).await.unwrap();
    // Four chunks each, which stand between those of the others.
    let versions: Vec<Bytes> = (0..12u8).map(|n| vec![n; 500_000].into()).collect();
    let writes = versions.iter().map(|version| backend.write(c(), "o".into(), version.clone().into()));
    join_all(writes).await.into_iter().for_each(Result::unwrap);
    let whole = read(&backend, "o", 0, u64::MAX).await.unwrap();
    assert!(versions.iter().any(|version| *version == whole), "a mixture of versions");
    assert_eq!(messages(&server).await, 5);
    for (start, end) in [(0, 0), (131_071, 131_073), (499_999, 500_000), (100, 450_000)] {
        let expected = whole.get(start..(end + 1).min(500_000)).unwrap();
        assert!(read(&backend, "o", start as u64, end as u64).await.unwrap() == expected, "{start} to {end}");
    }
    backend.delete_object(c(), "o".into()).await.unwrap();
    assert_eq!(messages(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_cut_short_leaves_nothing() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&server, None).await;
    backend.create_container(c()).await.unwrap();
    backend.write(c(), "o".into(), Bytes::from("older").into()).await.unwrap();
    let pieces = stream::iter((0..20).map(|_| Ok(Bytes::from(vec![1; 100_000]))))
        .chain(stream::iter([Err(CallError::Transport("gone".into()))]));
    let outcome = backend.write(c(), "o".into(), ByteStream::new(pieces)).await;
    assert!(outcome.unwrap_err().to_string().contains("gone"));
    assert_eq!(read(&backend, "o", 0, u64::MAX).await.unwrap(), b"older");
    assert_eq!(messages(&server).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_an_older_version_is_told() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&server, None).await;
    backend.create_container(c()).await.unwrap();
    backend.write(c(), "o".into(), Bytes::from(vec![1; 20_000_000]).into()).await.unwrap();
    let (_, mut data) = backend.read(c(), "o".into(), 0, u64::MAX).await.unwrap();
    let first = data.next().await.unwrap().unwrap();
    assert!(first.iter().all(|byte| *byte == 1));
    backend.write(c(), "o".into(), Bytes::from(vec![2; 20_000_000]).into()).await.unwrap();
    let end = async {
        loop {
            match data.next().await {
                Some(Ok(piece)) => assert!(piece.iter().all(|byte| *byte == 1), "bytes of another version"),
                Some(Err(error)) => return error.to_string(),
                None => panic!("it ended as if it were whole"),
            }
        }
    };
    let text = tokio::time::timeout(SOON, end).await.unwrap();
    assert!(text.contains("written over or deleted while it was read"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_clients_of_nats_read_and_write_the_same_objects() {
    let server = NatsServer::start().unwrap();
    let (backend, _health) = start(&server, Some("team-")).await;
    let jetstream = jetstream(&server).await;
    let config = object_store::Config { bucket: "team-c".into(), ..Default::default() };
    let theirs = jetstream.create_object_store(config).await.unwrap();
    let large: Vec<u8> = (0..700_000u32).map(|n| (n % 251) as u8).collect();
    theirs.put("from/them", &mut large.as_slice()).await.unwrap();
    assert!(read(&backend, "from/them", 0, u64::MAX).await.unwrap() == large);
    assert!(read(&backend, "from/them", 300_000, 300_009).await.unwrap() == large.get(300_000..300_010).unwrap());
    backend.write(c(), "from/us".into(), Bytes::from(large.clone()).into()).await.unwrap();
    let mut found = Vec::new();
    theirs.get("from/us").await.unwrap().read_to_end(&mut found).await.unwrap();
    assert!(found == large);
    theirs.delete("from/them").await.unwrap();
    assert_eq!(read(&backend, "from/them", 0, u64::MAX).await, Err(BlobError::NoSuchObject));
    assert_eq!(backend.list_objects(c(), None).await.unwrap().objects, ["from/us"]);
    backend.write(c(), "from/them".into(), Bytes::from("again").into()).await.unwrap();
    assert_eq!(read(&backend, "from/them", 0, u64::MAX).await.unwrap(), b"again");
    let link = theirs.get("from/us").await.unwrap();
    theirs.add_link("link", link.info()).await.unwrap();
    let text = read(&backend, "link", 0, u64::MAX).await.unwrap_err().to_string();
    assert_eq!(text, "\"link\" is a link to another object, which is not followed");
}
