//! The backend as a process of its own, killed in the middle of its work.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use lattice::{
    bus::{Bus, NatsOptions},
    wire::{CallError, Served},
};
use lattice_provider::{
    Failed, Health, Launch, Order, Report,
    conformance::{self, LatticeCaller, ProviderProcess, servers::NatsServer},
    keyvalue::{KeyValue, KeyValueRemote},
};
use tokio::task::JoinSet;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lattice-provider-keyvalue-redb");

fn served() -> Served {
    Served {
        lattice: "default".parse().unwrap(),
        unit: "shop/cache".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    }
}

fn launch(options: &NatsOptions, dir: &Path) -> Launch {
    let Served { lattice, unit, instance } = served();
    let (nats, data_dir) = (options.clone(), dir.to_owned());
    Launch { lattice, unit, instance, nats, data_dir, config: serde_json::Map::new(), traces: false }
}

async fn connect(server: &NatsServer) -> (NatsOptions, Arc<dyn KeyValue>) {
    let options = NatsOptions { urls: vec![server.url()], ..Default::default() };
    let bus = Bus::connect_for_calls(&options, served().lattice, "test").await.unwrap();
    let caller = LatticeCaller { bus, served: served(), deadline: Duration::from_secs(2) };
    (options, Arc::new(KeyValueRemote(Arc::new(caller))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_as_a_process() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, remote) = connect(&server).await;
    let mut process = ProviderProcess::start(PROGRAM, launch(&options, dir.path()));
    assert_eq!(process.report(), Report::from(Health::Ready));
    conformance::key_value(remote, "as a process").await.assert();
    process.order(&Order::Drain);
    assert!(process.child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_its_host() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, _remote) = connect(&server).await;
    let mut process = ProviderProcess::start(PROGRAM, launch(&options, dir.path()));
    assert_eq!(process.report(), Report::from(Health::Ready));
    process.orders = None;
    assert!(process.child.wait().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_acknowledged_outlives_a_kill() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, remote) = connect(&server).await;
    let mut process = ProviderProcess::start(PROGRAM, launch(&options, dir.path()));
    assert_eq!(process.report(), Report::from(Health::Ready));
    // 16 tasks increment a number each, until the process is gone.
    let mut tasks = JoinSet::new();
    for n in 0..16 {
        let remote = remote.clone();
        tasks.spawn(async move {
            let (key, mut sum) = (format!("n{n}"), 0);
            let error = loop {
                match remote.increment("b".into(), key.clone(), 1).await {
                    Ok(next) => assert_eq!(next, sum + 1),
                    Err(error) => break error,
                }
                sum += 1;
            };
            (key, sum, error)
        });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    let acknowledged = tasks.join_all().await;
    assert!(acknowledged.iter().all(|(_, sum, _)| *sum > 0), "{acknowledged:?}");
    let error = remote.get("b".into(), "n0".into()).await.unwrap_err();
    assert_eq!(error, CallError::NoInstance("shop/cache".into()).into());

    let mut process = ProviderProcess::start(PROGRAM, launch(&options, dir.path()));
    assert_eq!(process.report(), Report::from(Health::Ready));
    for (key, sum, _) in acknowledged {
        let found = remote.get("b".into(), key.clone()).await.unwrap().unwrap();
        let found: u64 = std::str::from_utf8(&found).unwrap().parse().unwrap();
        // One more may have been on its way.
        assert!((sum..=sum + 1).contains(&found), "{key}: {found} after {sum} was acknowledged");
    }
}

#[tokio::test]
async fn why_it_cannot_start_is_reported() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let (options, _remote) = connect(&server).await;
    std::fs::write(dir.path().join("shop-cache.redb"), "no database").unwrap();
    let mut process = ProviderProcess::start(PROGRAM, launch(&options, dir.path()));
    let Report::Failed(Failed { reason, .. }) = process.report() else { panic!("it has started") };
    assert!(reason.contains("shop-cache.redb") && reason.contains("damaged"), "{reason}");
    assert!(!process.child.wait().unwrap().success());
}
