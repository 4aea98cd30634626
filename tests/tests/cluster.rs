//! A lattice on a cluster of three NATS servers, one of which dies.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed, as it should")]

use std::{
    cell::RefCell,
    collections::BTreeMap,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use lattice::bus::{Bus, Entry, NatsOptions, StoreError, Table};
use lattice_provider::conformance::servers::NatsServer;
use lattice_tests::{
    Lattice, Load, get,
    lattice::{SETTLE, head, image},
    load::failures,
    places::{free_address, program},
    wait,
};
use tokio::time::{sleep, timeout};

/// Three servers that know of each other, when they have agreed on who leads.
fn cluster() -> Vec<NatsServer> {
    let routes: Vec<_> = (0..3).map(|_| free_address()).collect();
    let all = routes.iter().map(|route| format!("\"nats://{route}\"")).collect::<Vec<_>>().join(", ");
    let start = |(at, route): (usize, &std::net::SocketAddr)| {
        let more = format!("server_name: n{at}\ncluster {{ name: test, listen: \"{route}\", routes: [{all}] }}\n");
        NatsServer::start_with(more).unwrap()
    };
    let servers: Vec<_> = routes.iter().enumerate().map(start).collect();
    let urls = urls(&servers);
    let answers = || {
        let mut ctl = Command::new(program("lattice-ctl"));
        let status = ctl.env_clear().env("NATS_URL", &urls).args(["get", "hosts"]).stderr(Stdio::null()).output();
        status.unwrap().status.success().then_some(())
    };
    wait("a cluster with JetStream", SETTLE, answers);
    servers
}

fn urls(servers: &[NatsServer]) -> String {
    servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
}

/// How many copies the streams of the lattice have.
fn copies(urls: &str) -> Vec<usize> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let jetstream =
            async_nats::jetstream::new(async_nats::connect(urls.split(',').collect::<Vec<_>>()).await.unwrap());
        let mut copies = Vec::new();
        for stream in ["KV_lattice-default", "KV_lattice-default-beats", "OBJ_lattice-default-artifacts"] {
            copies.push(jetstream.get_stream(stream).await.unwrap().cached_info().config.num_replicas);
        }
        copies
    })
}

/// Writes, also while a cluster elects who takes it.
async fn put(table: &Table<u32>, value: u32) {
    let begun = Instant::now();
    while let Err(error) = timeout(Duration::from_secs(3), table.put("n", &value)).await.unwrap_or(Err(slow())) {
        assert!(begun.elapsed() < SETTLE, "{error}");
        sleep(Duration::from_millis(250)).await;
    }
}

fn slow() -> StoreError {
    StoreError::Unavailable("no answer in 3 s".to_owned())
}

/// A consumer lives on one server, which may be the one that dies, and which may be dead when the next one is made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_watched_is_told_whichever_server_dies() {
    let mut servers = tokio::task::spawn_blocking(cluster).await.unwrap();
    let urls: Vec<_> = servers.iter().map(NatsServer::url).collect();
    let mut buses = Vec::new();
    // Each begins at another server.
    for at in 0..3 {
        let mut urls = urls.clone();
        urls.rotate_left(at);
        let options = NatsOptions { urls, ..Default::default() };
        buses.push(Bus::connect(&options, "default".parse().unwrap(), "watcher").await.unwrap());
    }
    let mut views: Vec<_> = (0..24).map(|at| buses[at % 3].store().table::<u32>("words").follow()).collect();
    // As in a rolling restart that does not wait.
    for server in &mut servers {
        server.stop();
        sleep(Duration::from_secs(6)).await;
        server.restart().unwrap();
    }
    servers[1].stop();
    let table = buses[0].store().table("words");
    for value in 0..3 {
        put(&table, value).await;
        let written = Instant::now();
        for (which, view) in views.iter_mut().enumerate() {
            let has = |words: &BTreeMap<String, Entry<u32>>| words.get("n").is_some_and(|n| n.value == value);
            let told = view.wait_for(|words| words.as_ref().is_some_and(has));
            let told = timeout(SETTLE.saturating_sub(written.elapsed()), told).await;
            assert!(told.is_ok_and(|told| told.is_ok()), "view {which} was not told of {value}");
        }
    }
}

#[test]
fn a_server_of_three_dies_and_nothing_moves() {
    let others = RefCell::new(Vec::new());
    let all = RefCell::new(String::new());
    let start = || {
        let mut servers = cluster();
        *all.borrow_mut() = urls(&servers);
        let one = servers.remove(0);
        others.replace(servers);
        Ok(one)
    };
    let mut lattice = Lattice::start_on(3, start, |_, _| all.borrow().clone());
    lattice.variables = vec![("NATS_URL".to_owned(), all.borrow().clone())];
    assert_eq!(copies(&all.borrow()), [3, 3, 3], "everything that the lattice is has three copies");
    let address = free_address();
    let app = |replicas: u32| {
        format!(
            "{}  components:\n    hello: {{ image: {}, replicas: {replicas} }}\n  providers:\n    web: {{ use: http-server, config: \
             {{ address: \"{address}\" }}, routes: {{ /: hello }} }}\n",
            head("shop"),
            image("hello")
        )
    };
    lattice.apply(&app(3));
    let before = lattice.wait_ready("shop");
    let load = Load::start(address, "/", 4);
    load.wait_for(100);

    // Whichever leads what: each of them dies once.
    let mut servers = others.into_inner();
    for at in 0..3 {
        let server = if at == 0 { &mut lattice.nats } else { &mut servers[at - 1] };
        server.stop();
        let died = Instant::now();
        while died.elapsed() < Duration::from_secs(6) {
            load.wait_for(50);
        }
        let server = if at == 0 { &mut lattice.nats } else { &mut servers[at - 1] };
        server.restart().unwrap();
        let known = || lattice.try_status("shop").filter(|status| status.ready());
        let now = lattice.wait("the app as it was", SETTLE, known);
        for unit in ["hello", "web"] {
            assert_eq!(now.instances(unit), before.instances(unit), "{unit} after the death of server {at}");
        }
    }
    let answers = load.finish();
    let failed = failures(&answers);
    assert!(failed.is_empty(), "of {} requests: {failed:?}", answers.len());

    // With one away for good, everything goes on as it did.
    servers[0].stop();
    lattice.apply(&app(1));
    assert_eq!(get(address, "/").unwrap().status, 200);
    assert_eq!(lattice.wait_ready("shop").counts("hello"), (1, 1));
}
