//! The backend as a process of its own, killed in the middle of its work.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lattice::{
    bus::{Bus, NatsOptions},
    wire::Served,
};
use lattice_provider::{
    ByteStream, Health, Launch, Order, Report,
    blobstore::{Blobstore, BlobstoreRemote},
    conformance::{LatticeCaller, ProviderProcess, servers::NatsServer},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lattice-provider-blob-fs");

fn served() -> Served {
    Served {
        lattice: "default".parse().unwrap(),
        unit: "shop/files".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    }
}

fn start(options: &NatsOptions, root: &Path) -> ProviderProcess {
    let Served { lattice, unit, instance } = served();
    let config = serde_json::json!({ "root": root });
    let config = config.as_object().unwrap().clone();
    let mut process = ProviderProcess::start(
        PROGRAM,
        Launch { lattice, unit, instance, nats: options.clone(), data_dir: root.to_owned(), config, traces: false },
    );
    assert_eq!(process.report(), Report::from(Health::Ready));
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_leaves_whole_objects_alone() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let bus = Bus::connect_for_calls(&options, served().lattice, "test").await.unwrap();
    let exchange = bus.exchange();
    let caller = LatticeCaller { bus, served: served(), deadline: Duration::from_secs(20) };
    let remote: Arc<dyn Blobstore> = Arc::new(BlobstoreRemote(Arc::new(caller), exchange));
    let mut process = start(&options, dir.path());
    remote.create_container("c".into()).await.unwrap();
    remote.write("c".into(), "o".into(), Bytes::from("older").into()).await.unwrap();

    // A write that is in the middle when the process ends: of the object, and of a new one.
    let writes = ["o", "new"].map(|name| {
        let (remote, name) = (remote.clone(), name.to_owned());
        let pieces = stream::iter((0..64).map(|_| Ok(Bytes::from(vec![7; 64 * 1024])))).chain(stream::pending());
        tokio::spawn(async move { remote.write("c".into(), name, ByteStream::new(pieces)).await })
    });
    let unfinished = dir.path().join(".lattice");
    let began = std::time::Instant::now();
    let written =
        || std::fs::read_dir(&unfinished).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>();
    while written() < 2_000_000 {
        assert!(began.elapsed() < Duration::from_secs(10), "only {} bytes were written", written());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    for write in writes {
        write.await.unwrap().unwrap_err();
    }
    assert_eq!(std::fs::read(dir.path().join("c/o")).unwrap(), b"older");

    // What is left of them looks as if it were of yesterday; another file is being written by somebody.
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    let held = std::fs::File::create(unfinished.join("held")).unwrap();
    held.lock().unwrap();
    for file in std::fs::read_dir(&unfinished).unwrap() {
        let file = std::fs::File::options().write(true).open(file.unwrap().path()).unwrap();
        file.set_modified(yesterday).unwrap();
    }
    let mut process = start(&options, dir.path());
    let left: Vec<_> = std::fs::read_dir(&unfinished).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["held"]);
    let (_, data) = remote.read("c".into(), "o".into(), 0, u64::MAX).await.unwrap();
    assert_eq!(data.whole(), Some(&Bytes::from("older")));
    assert_eq!(remote.has_object("c".into(), "new".into()).await, Ok(false));
    process.order(&Order::Drain);
    assert!(process.child.wait().unwrap().success());
}
