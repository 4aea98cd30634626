#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use lattice::{
    bus::{Bus, NatsOptions},
    wire::{Served, UnitId},
};
use lattice_provider::{
    Capability, Provider,
    conformance::{self, servers::NatsServer},
};
use lattice_provider_keyvalue_memory::{Config, Memory};
use serde_json::json;

fn unit() -> UnitId {
    "shop/cache".parse().unwrap()
}

async fn start(bus: &Bus, config: serde_json::Value) -> Capability {
    let (context, _) = conformance::context(&unit(), std::env::temp_dir().as_path(), bus);
    let config: Config = serde_json::from_value(config).unwrap();
    Memory::start(context, config).await.unwrap()
}

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<Memory>(&[("ttl", "10m".into())]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let Capability::KeyValue(backend) = start(&Bus::memory("default".parse().unwrap()), json!({})).await else {
        panic!("it is a store")
    };
    conformance::key_value(backend, "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_have_their_lifetime() {
    let config = json!({ "ttl": "1s" });
    let Capability::KeyValue(backend) = start(&Bus::memory("default".parse().unwrap()), config).await else {
        panic!("it is a store")
    };
    conformance::key_value_lifetime(backend, Duration::from_secs(1), "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_nats() {
    let server = NatsServer::start().unwrap();
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let served =
        Served { lattice: "default".parse().unwrap(), unit: unit(), instance: "0123456789abcdef".parse().unwrap() };
    let capability = start(&provider, json!({})).await;
    let (_serving, remote) = conformance::through_lattice(&capability, served, (&provider, &client)).await.unwrap();
    conformance::key_value(remote, "through NATS").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_from_the_moment_that_it_serves() {
    let server = NatsServer::start().unwrap();
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let capability = start(&provider, json!({})).await;
    for n in 0..500 {
        let served = Served {
            lattice: "default".parse().unwrap(),
            unit: unit(),
            instance: format!("{n:016x}").parse().unwrap(),
        };
        let (_serving, remote) = conformance::through_lattice(&capability, served, (&provider, &client)).await.unwrap();
        assert_eq!(remote.get("b".into(), "k".into()).await, Ok(None), "the first call of instance {n}");
    }
}
