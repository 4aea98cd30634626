#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{config, memory, start, unit};
use lattice::{
    bus::{Bus, NatsOptions, Pace},
    wire::Served,
};
use lattice_provider::{
    Health, Provider, StartError,
    conformance::{
        self, DirectCaller, LatticeCaller,
        servers::{NatsServer, POSTGRES_PASSWORD, PostgresServer},
    },
};
use lattice_provider_postgres::{
    Postgres,
    made::{
        prepared::Prepared,
        query::{Query, QueryError},
        types::PgValue,
    },
};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet};

#[test]
fn it_takes_what_the_catalog_says() {
    let samples = [
        ("url", json!("postgres://127.0.0.1/db")),
        ("poolSize", json!(3)),
        ("waitTimeout", json!("100ms")),
        ("statementTimeout", json!("5s")),
        ("maxRows", json!(10)),
        ("maxBytes", json!("1MiB")),
        ("statementCache", json!(10)),
        ("tls", json!("require")),
        ("caFile", json!("/ca.pem")),
    ];
    conformance::configuration::<Postgres>(&samples).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = PostgresServer::start().unwrap();
    let (context, _health) = conformance::context(&unit(), Path::new("/tmp"), &memory());
    let capability = Postgres::start(context, config(&server.url(), json!({}))).await.unwrap();
    let caller = Arc::new(DirectCaller(capability.handler(&memory())));
    conformance::postgres(caller, "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_nats() {
    let (server, nats) = (PostgresServer::start().unwrap(), NatsServer::start().unwrap());
    let options = NatsOptions { urls: vec![nats.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let served =
        Served { lattice: "default".parse().unwrap(), unit: unit(), instance: "0123456789abcdef".parse().unwrap() };
    let (context, _health) = conformance::context(&unit(), Path::new("/tmp"), &provider);
    let capability = Postgres::start(context, config(&server.url(), json!({}))).await.unwrap();
    let _serving = provider.serve(&served, capability.handler(&provider), Pace::Light).await.unwrap();
    let caller = LatticeCaller { bus: client, served, deadline: Duration::from_secs(10) };
    conformance::postgres(Arc::new(caller), "through NATS").await.assert();
}

async fn refused(url: &str, others: serde_json::Value) -> StartError {
    start(url, others).await.err().unwrap()
}

#[tokio::test]
async fn an_unreachable_database_is_named_without_its_password() {
    let mut server = PostgresServer::start().unwrap();
    let place = format!("postgres://127.0.0.1:{}", server.port());
    let wrong = server.url().replace(POSTGRES_PASSWORD, "not-it");
    assert_eq!(
        refused(&wrong, json!({})).await.to_string(),
        format!("cannot reach {place}: password authentication failed for user \"lattice\" (SQLSTATE 28P01)")
    );
    server.stop();
    let error = refused(&server.url(), json!({})).await;
    assert_eq!(error.to_string(), format!("cannot reach {place}: Connection refused"));
    for (bad, others) in [
        ("http://me:secret@x", json!({})),
        ("secret", json!({})),
        ("postgres://me:secret@host:99999/db", json!({})),
        ("postgres://me:secret@127.0.0.1/db?unknown=secret", json!({})),
        ("postgres:///db?user=secret", json!({})),
        ("postgres://me:secret@127.0.0.1/db", json!({ "poolSize": 0 })),
        ("postgres://me:secret@127.0.0.1/db", json!({ "waitTimeout": "soon" })),
        ("postgres://me:secret@127.0.0.1/db", json!({ "maxBytes": "1GiB" })),
        ("postgres://me:secret@127.0.0.1/db", json!({ "caFile": "/no/such/file" })),
    ] {
        let error = refused(bad, others).await;
        assert!(matches!(error, StartError::Config(_)), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) {
    tokio::time::timeout(Duration::from_secs(10), health.wait_for(wanted)).await.unwrap().unwrap();
}

async fn query(postgres: &Postgres, sql: &str) -> Result<PgValue, QueryError> {
    let started = Instant::now();
    let outcome = postgres.query(sql.into(), vec![]).await;
    assert!(started.elapsed() < Duration::from_millis(2500), "it took {:?}", started.elapsed());
    Ok(outcome?.pop().map_or(PgValue::Null, |mut row| row.pop().unwrap().value))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_goes_and_comes_back_under_load() {
    let mut server = PostgresServer::start().unwrap();
    let (postgres, mut health) = start(&server.url(), json!({ "poolSize": 4 })).await.unwrap();
    let postgres = Arc::new(postgres);
    query(&postgres, "CREATE TABLE done (id serial PRIMARY KEY, task int, n int)").await.unwrap();
    let token = postgres.prepare("INSERT INTO done (task, n) VALUES ($1, $2)".into()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (postgres, token, stopped) = (postgres.clone(), token.clone(), stopped.clone());
        tasks.spawn(async move {
            let (mut acknowledged, mut failed) = (Vec::new(), 0);
            for n in 0.. {
                if *stopped.borrow() {
                    break;
                }
                let started = Instant::now();
                match postgres.exec(token.clone(), vec![PgValue::Int4(task), PgValue::Int4(n)]).await {
                    Ok(rows) => {
                        assert_eq!(rows, 1);
                        acknowledged.push((task, n));
                    }
                    Err(error) => {
                        failed += 1;
                        assert!(!error.to_string().contains(POSTGRES_PASSWORD), "{error}");
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                assert!(started.elapsed() < Duration::from_millis(2500), "it took {:?}", started.elapsed());
            }
            (acknowledged, failed)
        });
    }
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| server.stop());
        let place = format!("cannot reach postgres://127.0.0.1:{}: Connection refused", server.port());
        wait_for(&mut health, |health| *health == Health::Degraded(place.clone())).await;
        let error = query(&postgres, "SELECT 1").await.unwrap_err().to_string();
        assert_eq!(error, place);
        tokio::task::block_in_place(|| server.restart().unwrap());
        wait_for(&mut health, |health| *health == Health::Ready).await;
        query(&postgres, "SELECT 1").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.send(true).unwrap();
    let (mut acknowledged, mut failed) = (0i64, 0i64);
    for (done, lost) in tasks.join_all().await {
        acknowledged += done.len() as i64;
        failed += lost;
    }
    // What was acknowledged is there, once; of what failed nobody knows.
    let PgValue::Int8(rows) = query(&postgres, "SELECT count(*) FROM done").await.unwrap() else { panic!("a count") };
    assert!((acknowledged..=acknowledged + failed).contains(&rows), "{rows} of {acknowledged} and {failed}");
    assert_eq!(query(&postgres, "SELECT count(DISTINCT (task, n)) FROM done").await.unwrap(), PgValue::Int8(rows));
    assert!(acknowledged > 100 && failed > 0, "{acknowledged} and {failed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_has_an_end() {
    let server = PostgresServer::start().unwrap();
    let others = json!({ "poolSize": 2, "waitTimeout": "200ms", "statementTimeout": "1500ms", "statementCache": 2 });
    let (postgres, health) = start(&server.url(), others).await.unwrap();
    let postgres = Arc::new(postgres);
    let mut sleepers = JoinSet::new();
    for _ in 0..2 {
        let postgres = postgres.clone();
        sleepers.spawn(async move { query(&postgres, "SELECT pg_sleep(30)").await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let error = query(&postgres, "SELECT 1").await.unwrap_err().to_string();
    assert!(error.contains("all 2 connections of the pool are in use") && error.contains("200ms"), "{error}");
    for outcome in sleepers.join_all().await {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("statement timeout") && error.contains("57014"), "{error}");
    }
    assert_eq!(*health.borrow(), Health::Ready);
    // More statements than are kept.
    for n in (0..50).chain(0..50) {
        assert_eq!(query(&postgres, &format!("SELECT {n}")).await, Ok(PgValue::Int4(n)));
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lattice shop/db'";
    let PgValue::Int8(open) = query(&postgres, open).await.unwrap() else { panic!("a count") };
    assert!((1..=2).contains(&open), "{open} connections");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_ends_is_opened_again() {
    let server = PostgresServer::start().unwrap();
    let (postgres, _health) = start(&server.url(), json!({ "poolSize": 1 })).await.unwrap();
    let (other, _health) = start(&server.url(), json!({ "poolSize": 1 })).await.unwrap();
    assert_eq!(query(&postgres, "SELECT 1").await, Ok(PgValue::Int4(1)));
    for _ in 0..3 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND usename IS NOT NULL";
        query(&other, end).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(query(&postgres, "SELECT 1").await, Ok(PgValue::Int4(1)));
    }
}

/// Makes the server speak TLS.
fn with_tls(data: &Path) -> std::io::Result<()> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    for (from, to) in [("server.pem", "server.crt"), ("server.key", "server.key")] {
        std::fs::copy(ours.join(from), data.join(to))?;
    }
    std::fs::set_permissions(data.join("server.key"), PermissionsExt::from_mode(0o600))?;
    std::fs::write(data.join("postgresql.auto.conf"), "ssl = on\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_encrypted_as_the_settings_say() {
    let (server, plain) = (PostgresServer::start_with(with_tls).unwrap(), PostgresServer::start().unwrap());
    let ca = format!("{}/tests/tls/ca.pem", env!("CARGO_MANIFEST_DIR"));
    let named = server.url().replace("127.0.0.1", "localhost");
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (url, others, expected) in [
        (&named, json!({ "tls": "require", "caFile": ca }), true),
        (&server.url(), json!({}), true),
        (&server.url(), json!({ "tls": "disable" }), false),
        (&format!("{}?sslmode=disable", server.url()), json!({}), false),
        (&plain.url(), json!({ "tls": "prefer" }), false),
    ] {
        let (postgres, _health) = start(url, others.clone()).await.unwrap();
        assert_eq!(query(&postgres, encrypted).await, Ok(PgValue::Bool(expected)), "{others}");
        // A cancel goes the same way.
        let slept = tokio::time::timeout(Duration::from_millis(100), query(&postgres, "SELECT pg_sleep(60)")).await;
        assert!(slept.is_err());
        let sleeps =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(_0)' AND state = 'active'";
        let started = Instant::now();
        while query(&postgres, sleeps).await.unwrap() != PgValue::Int8(0) {
            assert!(started.elapsed() < Duration::from_secs(5), "it sleeps on: {others}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    for (url, others, reason) in [
        (&plain.url(), json!({ "tls": "require" }), "it does not speak TLS"),
        (&named, json!({ "tls": "require" }), "invalid peer certificate"),
        // A good certificate of somebody else.
        (&server.url(), json!({ "tls": "require", "caFile": ca }), "invalid peer certificate"),
        (&server.url(), json!({ "tls": "prefer", "caFile": ca }), "invalid peer certificate"),
    ] {
        let error = refused(url, others.clone()).await.to_string();
        assert!(error.contains(reason), "{others}: {error}");
    }
}

/// Takes connections and never says a word.
async fn silent(port: u16) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let mut held = vec![];
    loop {
        held.push(listener.accept().await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_silent_is_no_endless_wait() {
    let mut server = PostgresServer::start().unwrap();
    let (postgres, mut health) = start(&server.url(), json!({ "poolSize": 1 })).await.unwrap();
    tokio::task::block_in_place(|| server.stop());
    let silence = tokio::spawn(silent(server.port()));
    let place = format!("cannot reach postgres://127.0.0.1:{}: no answer", server.port());
    wait_for(&mut health, |health| *health == Health::Degraded(place.clone())).await;
    // Only the first one may wait; now that it is known, nobody does.
    for _ in 0..20 {
        let started = Instant::now();
        assert_eq!(query(&postgres, "SELECT 1").await.unwrap_err().to_string(), place);
        assert!(started.elapsed() < Duration::from_millis(500), "it took {:?}", started.elapsed());
    }
    silence.abort();
    let _ = silence.await;
    tokio::task::block_in_place(|| server.restart().unwrap());
    wait_for(&mut health, |health| *health == Health::Ready).await;
    query(&postgres, "SELECT 1").await.unwrap();
}
