#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use lattice::{
    bus::{Bus, NatsOptions},
    wire::Served,
};
use lattice_provider::{
    Capability, Provider,
    conformance::{self, BlobTest, servers::NatsServer},
};
use lattice_provider_blob::{Azure, Gcs, Memory, MemoryConfig, S3};

fn served() -> Served {
    Served {
        lattice: "default".parse().unwrap(),
        unit: "shop/files".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    }
}

async fn memory(bus: &Bus) -> Capability {
    let (context, _health) = conformance::context(&served().unit, Path::new("/"), bus);
    Memory::start(context, MemoryConfig {}).await.unwrap()
}

#[test]
fn they_take_what_the_catalog_says() {
    conformance::configuration::<Memory>(&[]).unwrap();
    let text = |names: &[&'static str]| names.iter().map(|name| (*name, "x".into())).collect::<Vec<_>>();
    let s3 = ["bucket", "prefix", "region", "endpoint", "accessKeyId", "secretAccessKey"];
    conformance::configuration::<S3>(&text(&s3)).unwrap();
    conformance::configuration::<Azure>(&text(&["account", "container", "prefix", "endpoint", "accessKey"])).unwrap();
    conformance::configuration::<Gcs>(&text(&["bucket", "prefix", "endpoint", "serviceAccountKey"])).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    let Capability::Blobstore(backend) = memory(&Bus::memory("default".parse().unwrap())).await else {
        panic!("it is a store")
    };
    let test = BlobTest { names: 100_000, longest: 900, large: 256, memory: None };
    conformance::blobstore(backend, "memory in the process", test).await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms_through_nats() {
    let server = NatsServer::start().unwrap();
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let capability = memory(&provider).await;
    let (_serving, remote) =
        conformance::blobs_through_lattice(&capability, served(), (&provider, &client)).await.unwrap();
    let test = BlobTest { names: 3000, longest: 900, large: 64, memory: None };
    conformance::blobstore(remote, "memory through NATS", test).await.assert();
}
