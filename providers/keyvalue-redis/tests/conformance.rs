#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    wire::{Served, UnitId},
};
use lattice_provider::{
    Capability, Health, Provider, StartError,
    conformance::{
        self,
        servers::{NatsServer, RedisServer},
    },
    keyvalue::{KeyValue, KeyValueError},
};
use lattice_provider_keyvalue_redis::{Config, Redis};
use tokio::sync::watch;

fn unit() -> UnitId {
    "shop/cache".parse().unwrap()
}

type Started = (Arc<dyn KeyValue>, watch::Receiver<Health>);

async fn start(bus: &Bus, url: String) -> Result<Started, StartError> {
    start_with(bus, Config { url, prefix: None, ttl: None }).await
}

async fn start_with(bus: &Bus, config: Config) -> Result<Started, StartError> {
    let (context, health) = conformance::context(&unit(), std::env::temp_dir().as_path(), bus);
    let Capability::KeyValue(backend) = Redis::start(context, config).await? else { panic!("it is a store") };
    Ok((backend, health))
}

fn memory() -> Bus {
    Bus::memory("default".parse().unwrap())
}

#[test]
fn it_takes_what_the_catalog_says() {
    let samples = [("url", "redis://127.0.0.1".into()), ("prefix", "p".into()), ("ttl", "10m".into())];
    conformance::configuration::<Redis>(&samples).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = RedisServer::start().unwrap();
    let (backend, _health) = start(&memory(), server.url()).await.unwrap();
    conformance::key_value(backend, "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_have_their_lifetime() {
    let server = RedisServer::start().unwrap();
    let mortal = |ttl: &str| Config { url: server.url(), prefix: None, ttl: Some(ttl.to_owned().try_into().unwrap()) };
    let (backend, _health) = start_with(&memory(), mortal("1s")).await.unwrap();
    conformance::key_value_lifetime(backend, Duration::from_secs(1), "in the process").await.assert();
    // All else is as it is without.
    let (backend, _health) = start_with(&memory(), mortal("1h")).await.unwrap();
    conformance::key_value(backend, "with a lifetime").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_nats() {
    let (redis, nats) = (RedisServer::start().unwrap(), NatsServer::start().unwrap());
    let options = NatsOptions { urls: vec![nats.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let served =
        Served { lattice: "default".parse().unwrap(), unit: unit(), instance: "0123456789abcdef".parse().unwrap() };
    let (backend, _health) = start(&provider, redis.url()).await.unwrap();
    let capability = Capability::KeyValue(backend);
    let (_serving, remote) = conformance::through_lattice(&capability, served, (&provider, &client)).await.unwrap();
    conformance::key_value(remote, "through NATS").await.assert();
}

#[tokio::test]
async fn an_unreachable_redis_is_named_without_its_password() {
    let mut server = RedisServer::start().unwrap();
    let address = server.url().split_off("redis://".len());
    server.stop();
    let error = start(&memory(), format!("redis://me:secret@{address}")).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot reach Redis at redis://{address}: Connection refused"));
    for bad in ["http://me:secret@x", "secret", "redis://me:secret@host:99999"] {
        let error = start(&memory(), bad.into()).await.err().unwrap().to_string();
        assert!(error.starts_with("bad configuration: url: "), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) {
    tokio::time::timeout(Duration::from_secs(10), health.wait_for(wanted)).await.unwrap().unwrap();
}

async fn increment(backend: &Arc<dyn KeyValue>) -> Result<u64, KeyValueError> {
    let started = Instant::now();
    let outcome = backend.increment("b".into(), "n".into(), 1).await;
    assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_goes_and_comes_back() {
    let mut server = RedisServer::start().unwrap();
    let (backend, mut health) = start(&memory(), server.url()).await.unwrap();
    let mut sent = 0;
    for expected in 1..=20 {
        assert_eq!(increment(&backend).await, Ok(expected));
        sent += 1;
    }
    server.stop();
    for _ in 0..5 {
        let error = increment(&backend).await.unwrap_err().to_string();
        assert!(error.contains(&server.url()), "{error}");
        sent += 1;
    }
    let away = Health::Degraded(format!("cannot reach Redis at {}: Connection refused", server.url()));
    wait_for(&mut health, |health| *health == away).await;

    server.restart().unwrap();
    wait_for(&mut health, |health| *health == Health::Ready).await;
    let sum = increment(&backend).await.unwrap();
    sent += 1;
    // What was acknowledged is there, and nothing was done twice.
    assert!((21..=sent).contains(&sum), "{sum} after {sent} increments");
    assert_eq!(increment(&backend).await, Ok(sum + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_health_task_and_other_programs_keys() {
    let server = RedisServer::start().unwrap();
    let (backend, health) = start(&memory(), server.url()).await.unwrap();
    backend.set("bucket:1".into(), "k".into(), Bytes::from("v")).await.unwrap();
    // Where other programs find it.
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert_eq!(keys, ["shop:bucket%3A1:k"]);
    // A list is no value, and no number.
    let _: () = redis::cmd("LPUSH").arg("shop:b:list").arg("x").query_async(&mut connection).await.unwrap();
    let error = backend.increment("b".into(), "list".into(), 1).await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");

    drop(backend);
    tokio::time::timeout(Duration::from_secs(5), async {
        while health.has_changed().is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}
