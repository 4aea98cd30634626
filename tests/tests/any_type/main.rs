//! Any value of any type through two components and back: in one host, over NATS between two, and fused; asked in both
//! encodings. The types are made up anew in each run; `LATTICE_SEED` repeats one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

mod wit;

use std::{
    collections::BTreeMap,
    env,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use lattice::{
    bus::{Bus, NatsOptions},
    wire::{
        CallHead, CallSubject, ContentType, InstanceId, UnitId,
        value::{
            FunctionShape, Shape, json,
            samples::{self, Dice},
        },
    },
};
use lattice_tests::{Lattice, lattice::head};

/// Types in one run.
const TYPES: usize = 60;
/// Values of each.
const VALUES: usize = 6;
/// When no more values are tried.
const LIMIT: Duration = Duration::from_secs(30);

/// A caller for each way to the echo.
const MANIFEST: &str = "  components:
    near: { image: caller.wasm, links: { t:t: { to: near-echo, transport: local } }, placement: { require: { zone: [a] } } }
    near-echo: { image: echo.wasm, placement: { require: { zone: [a] } } }
    far: { image: caller.wasm, links: { t:t: far-echo }, placement: { require: { zone: [a] } } }
    far-echo: { image: echo.wasm, placement: { require: { zone: [b] } } }
    fused: { image: caller.wasm, links: { t:t: { to: part, transport: fused } }, placement: { require: { zone: [b] } } }
    part: { image: echo.wasm, placement: { require: { zone: [b] } } }
";

fn seed() -> u64 {
    let given = env::var("LATTICE_SEED").ok().map(|text| text.parse().expect("LATTICE_SEED is a number"));
    given.unwrap_or_else(|| RandomState::new().hash_one("seed"))
}

#[test]
fn any_value_of_any_type_is_the_same_on_each_road_and_in_each_encoding() {
    let seed = seed();
    println!("LATTICE_SEED={seed}");
    let mut dice = Dice::new(seed);
    let shapes: Vec<_> = (0..TYPES).map(|_| wit::carried(samples::shape(3, &mut dice))).collect();
    let (echo, caller) = wit::components(&shapes);
    let lattice = Lattice::start(2);
    lattice.write("echo.wasm", echo);
    lattice.write("caller.wasm", caller);
    lattice.apply(&(head("types") + MANIFEST));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let tried = runtime.block_on(try_all(&lattice, seed, &shapes, &mut dice));
    assert!(tried >= TYPES, "only {tried} values were tried within {LIMIT:?}");
}

/// How many values were tried.
async fn try_all(lattice: &Lattice, seed: u64, shapes: &[Shape], dice: &mut Dice) -> usize {
    let options = NatsOptions { urls: vec![lattice.nats.url()], ..Default::default() };
    let bus = Bus::connect(&options, "default".parse().unwrap(), "test").await.unwrap();
    let callers = callers(&bus).await;
    assert_eq!(callers.len(), 3, "{callers:?}");
    let (begun, mut tried) = (Instant::now(), 0);
    for _ in 0..VALUES {
        for (number, shape) in shapes.iter().enumerate() {
            if begun.elapsed() > LIMIT {
                return tried;
            }
            let bytes = samples::value(shape, dice);
            for (unit, instance) in &callers {
                for content_type in [ContentType::Postcard, ContentType::Json] {
                    let back = ask(&bus, (unit, instance), content_type, number, shape, &bytes).await;
                    assert_eq!(
                        back,
                        Ok(bytes.clone()),
                        "LATTICE_SEED={seed}: g{number} of {unit} in {content_type:?}: {shape:?}"
                    );
                }
            }
            tried += 1;
        }
    }
    tried
}

/// The instances of the callers.
async fn callers(bus: &Bus) -> BTreeMap<UnitId, InstanceId> {
    let hosts = bus.store().hosts().list().await.unwrap();
    let instances = hosts.into_values().flat_map(|host| host.value.instances);
    let callers = instances.filter(|instance| ["near", "far", "fused"].contains(&instance.unit.unit.as_str()));
    callers.map(|instance| (instance.unit, instance.instance)).collect()
}

/// The value as it comes back, in binary.
async fn ask(
    bus: &Bus,
    (unit, instance): (&UnitId, &InstanceId),
    content_type: ContentType,
    number: usize,
    shape: &Shape,
    bytes: &[u8],
) -> Result<Vec<u8>, String> {
    let function = FunctionShape { params: [("x".into(), shape.clone())].into(), result: Some(shape.clone()) };
    let subject = CallSubject {
        lattice: bus.lattice().clone(),
        unit: unit.clone(),
        instance: instance.clone(),
        interface: wit::CALLER.parse().unwrap(),
    };
    let head = CallHead {
        interface: subject.interface.clone(),
        function: format!("g{number}"),
        deadline: Duration::from_secs(10),
        caller: None,
        content_type,
        traceparent: None,
        session: None,
    };
    let payload = match content_type {
        ContentType::Postcard => bytes.to_vec(),
        ContentType::Json => json::arguments_to_json(&function, bytes).map_err(|error| error.to_string())?,
    };
    let reply = bus.call(&subject, &head, payload.into()).await.map_err(|error| error.to_string())?;
    match content_type {
        ContentType::Postcard => Ok(reply.into()),
        ContentType::Json => json::result_from_json(Some(shape), &reply).map_err(|error| error.to_string()),
    }
}
