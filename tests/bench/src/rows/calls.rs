//! One key-value get: over NATS to another process, and through a component to Redis.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Result, bail};
use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    wire::{
        CallError, CallHead, CallSubject, ContentType, InstanceId, Interface, LatticeName, ReplyStatus, UnitId, encode,
        header, value::FunctionShape,
    },
};
use lattice_host::runtime::{LoadedHttp, Runtime};
use lattice_provider::{
    Caller, Capability, Launch, Order, Provider,
    keyvalue::{KeyValue, KeyValueRemote},
};
use lattice_provider_keyvalue_redis::{Config, Redis as RedisBackend};

use super::inside::{self, Import};
use crate::{
    bench::Bench,
    child::Child,
    lattice::{Nats, Redis},
    report::{Row, Target},
    servers::spawn,
    stats::{like_a_host, one_by_one},
};

const SUBJECT: &str = "baseline.echo";
const BUCKET: &str = "default";
const KEY: &str = "key";
const VALUE: &[u8] = &[b'v'; 100];
const DEADLINE: Duration = Duration::from_secs(10);

/// A link's way to one instance, as a host has it.
struct Road {
    bus: Bus,
    unit: UnitId,
    instance: InstanceId,
    caller: UnitId,
}

impl Road {
    fn head(&self, interface: &Interface, function: &str) -> CallHead {
        CallHead {
            interface: interface.clone(),
            function: function.to_owned(),
            deadline: DEADLINE,
            caller: Some(self.caller.clone()),
            content_type: ContentType::Postcard,
            traceparent: None,
            session: None,
        }
    }
}

#[async_trait]
impl Caller for Road {
    async fn call(
        &self,
        interface: &Interface,
        function: &'static str,
        _: Option<&FunctionShape>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let subject = CallSubject {
            lattice: self.bus.lattice().clone(),
            unit: self.unit.clone(),
            instance: self.instance.clone(),
            interface: interface.clone(),
        };
        self.bus.call(&subject, &self.head(interface, function), payload).await
    }
}

pub(super) fn remote(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let nats = Nats::start(bench, dir.path())?;
    let options = NatsOptions { urls: vec![nats.url.clone()], ..NatsOptions::default() };
    let lattice: LatticeName = "bench".parse()?;
    let (unit, instance) = ("bench/cache".parse::<UnitId>()?, "0123456789abcdef".parse::<InstanceId>()?);
    let launch = Launch {
        lattice: lattice.clone(),
        unit: unit.clone(),
        instance: instance.clone(),
        nats: options.clone(),
        data_dir: dir.path().to_owned(),
        config: serde_json::Map::new(),
        traces: false,
    };
    let _provider = provider(bench, dir.path(), launch)?;
    let runtime = like_a_host()?;
    let road = runtime.block_on(async {
        let bus = Bus::connect_for_calls(&options, lattice, "lattice-bench").await?;
        anyhow::Ok(Arc::new(Road { bus, unit, instance, caller: "bench/counter".parse()? }))
    })?;
    let (request, answer) = sizes(&road)?;
    let (_echo, _) = spawn(dir.path(), &["nats-echo", &nats.url, SUBJECT, "--answer", &answer.to_string()])?;
    let (remote, times) = (Arc::new(KeyValueRemote(road)), bench.times);
    let client = runtime.block_on(async {
        remote.set(BUCKET.into(), KEY.into(), Bytes::from_static(VALUE)).await?;
        anyhow::Ok(async_nats::connect(&nats.url).await?)
    })?;
    let message = Bytes::from(vec![b'x'; request]);
    let mut rounds = bench.rounds(|| {
        let (remote, client, message) = (remote.clone(), client.clone(), message.clone());
        let ours = one_by_one(&runtime, times, move || {
            let remote = remote.clone();
            async move { same(remote.get(BUCKET.into(), KEY.into()).await?.as_deref()) }
        })?;
        let plain = one_by_one(&runtime, times, move || {
            let (client, message) = (client.clone(), message.clone());
            async move { Ok(client.request(SUBJECT, message).await.map(drop)?) }
        })?;
        Ok((ours, plain))
    })?;
    let mut row = |name: &str, share: f64| {
        let pairs = rounds.iter_mut().map(|(ours, plain)| (ours.percentile(share), plain.percentile(share)));
        Row::compared(name, "us", "raw NATS request/reply", pairs)
    };
    let note = format!("p50 at 1 in flight; {request} bytes there and {answer} back, with headers, on both sides");
    Ok(vec![row("call_remote", 0.5).target(Target::RatioAtMost(1.3)).note(note), row("call_remote.p99", 0.99)])
}

/// The memory backend as a process of its own, started as a host does it.
fn provider(bench: &Bench, dir: &Path, launch: Launch) -> Result<Child> {
    let program = bench.binary("lattice-provider-keyvalue-memory");
    let mut provider = Child::spawn("keyvalue-memory", &program, dir, |_| {})?;
    provider.tell(&serde_json::to_string(&Order::Start(Box::new(launch)))?)?;
    provider.ready()?;
    Ok(provider)
}

/// Bytes of a get's request and of its answer, payload and headers.
fn sizes(road: &Road) -> Result<(usize, usize)> {
    // "NATS/1.0" with its line end, and the empty line after the headers.
    const FRAME: usize = 12;
    let header = |name: &str, value: &str| name.len() + value.len() + ": \r\n".len();
    let mut request = FRAME + encode(ContentType::Postcard, &(BUCKET, KEY))?.len();
    road.head(&lattice_provider::keyvalue::interface(), "get").write(|name, value| request += header(name, &value));
    let result: Result<Option<Bytes>, String> = Ok(Some(Bytes::from_static(VALUE)));
    let status = header(header::STATUS, &ReplyStatus::Ok.header_value().to_string());
    Ok((request, FRAME + status + encode(ContentType::Postcard, &result)?.len()))
}

pub(super) fn redis_local(bench: &Bench) -> Result<Vec<Row>> {
    let dir = tempfile::Builder::new().prefix("lattice-bench.").tempdir()?;
    let redis = Redis::start(bench, dir.path())?;
    let runtime = like_a_host()?;
    let times = bench.times;
    let engine = Runtime::new()?;
    let capability = runtime.block_on(backend(&redis, dir.path()))?;
    let Capability::KeyValue(store) = &capability else { bail!("the Redis backend is a store") };
    runtime.block_on(store.set(BUCKET.into(), KEY.into(), Bytes::from_static(VALUE)))?;
    let fresh = Arc::new(component(bench, &engine, &capability, 1)?);
    let reused = Arc::new(component(bench, &engine, &capability, 1000)?);
    let client = redis::Client::open(redis.url.as_str())?;
    let direct = runtime.block_on(client.get_connection_manager())?;
    let call = |component: &Arc<LoadedHttp>| -> Result<f64> {
        let component = component.clone();
        let latencies = one_by_one(&runtime, times, move || {
            let component = component.clone();
            async move { inside::get(&component, &format!("/get/{KEY}"), VALUE).await }
        });
        Ok(latencies?.percentile(0.5))
    };
    let rounds = bench.rounds(|| {
        let (fresh, reused, direct) = (call(&fresh)?, call(&reused)?, direct.clone());
        let mut plain = one_by_one(&runtime, times, move || {
            let mut direct = direct.clone();
            async move {
                let value: Option<Vec<u8>> = redis::cmd("GET").arg(stored_key()).query_async(&mut direct).await?;
                same(value.as_deref())
            }
        })?;
        Ok((fresh, reused, plain.percentile(0.5)))
    })?;
    let row = |name: &str, of: fn(&(f64, f64, f64)) -> f64| {
        Row::compared(name, "us", "direct GET", rounds.iter().map(|round| (of(round), round.2)))
    };
    Ok(vec![
        row("kv_redis_local", |round| round.0).target(Target::RatioAtMost(1.5)).note(
            "p50 of a whole HTTP request to tests/guests/kv without a socket: fresh instance, request and response \
             through wasi:http, store.open, one get, one GET in Redis",
        ),
        row("kv_redis_local.reuse", |round| round.1).note("the same with an instance that lives on"),
    ])
}

fn same(value: Option<&[u8]>) -> Result<()> {
    if value == Some(VALUE) { Ok(()) } else { bail!("another value than was set") }
}

fn stored_key() -> String {
    format!("bench:{BUCKET}:{KEY}")
}

/// The Redis backend inside this process.
async fn backend(redis: &Redis, dir: &Path) -> Result<Capability> {
    let config = Config { url: redis.url.clone(), prefix: Some("bench:".into()), ttl: None };
    Ok(RedisBackend::start(inside::context(dir)?, config).await?)
}

/// The kv guest, linked to a backend in the same process.
fn component(bench: &Bench, runtime: &Runtime, capability: &Capability, reuse: u32) -> Result<LoadedHttp> {
    let interfaces = ["store", "atomics", "batch"].map(|name| format!("wasi:keyvalue/{name}@0.2.0-draft"));
    let interfaces = interfaces.each_ref().map(String::as_str);
    let import = Import { link: "wasi:keyvalue", interfaces: &interfaces, allow: Vec::new() };
    inside::component(bench, runtime, "kv", &import, capability, reuse)
}
