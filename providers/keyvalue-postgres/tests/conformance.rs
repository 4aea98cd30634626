#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::{
    bus::{Bus, NatsOptions},
    wire::Served,
};
use lattice_provider::{
    Capability, Health, Provider, StartError,
    conformance::{
        self,
        servers::{NatsServer, POSTGRES_PASSWORD, PostgresServer},
    },
    keyvalue::{KeyValue, KeyValueError, add},
};
use lattice_provider_keyvalue_postgres::PostgresKeyValue;
use lattice_provider_postgres::{Config as Database, Runner, made::types::PgValue};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

type Started = (Arc<dyn KeyValue>, watch::Receiver<Health>);

/// A backend of `app`, with these settings beside the URL.
async fn start_app(app: &str, bus: &Bus, url: &str, others: Value) -> Result<Started, StartError> {
    let unit = format!("{app}/cache").parse().unwrap();
    let (context, health) = conformance::context(&unit, std::env::temp_dir().as_path(), bus);
    let mut config = json!({ "url": url });
    config.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    let started = PostgresKeyValue::start(context, serde_json::from_value(config).unwrap()).await?;
    let Capability::KeyValue(backend) = started else { panic!("it is a store") };
    Ok((backend, health))
}

async fn start(url: &str, others: Value) -> Result<Started, StartError> {
    start_app("shop", &memory(), url, others).await
}

fn memory() -> Bus {
    Bus::memory("default".parse().unwrap())
}

/// Somebody else with an account on the database.
async fn account(url: &str) -> Runner {
    let (context, _health) =
        conformance::context(&"other/db".parse().unwrap(), std::env::temp_dir().as_path(), &memory());
    let config: Database = serde_json::from_value(json!({ "url": url })).unwrap();
    Runner::connect(context, &config).await.unwrap()
}

#[test]
fn it_takes_what_the_catalog_says() {
    let samples = [
        ("url", json!("postgres://127.0.0.1/db")),
        ("table", json!("shop.cache")),
        ("namespace", json!("n")),
        ("ttl", json!("10m")),
        ("poolSize", json!(3)),
        ("tls", json!("require")),
        ("caFile", json!("/ca.pem")),
    ];
    conformance::configuration::<PostgresKeyValue>(&samples).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let server = PostgresServer::start().unwrap();
    let (backend, _health) = start(&server.url(), json!({})).await.unwrap();
    conformance::key_value(backend, "in the process").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_nats() {
    let (server, nats) = (PostgresServer::start().unwrap(), NatsServer::start().unwrap());
    let options = NatsOptions { urls: vec![nats.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let served = Served {
        lattice: "default".parse().unwrap(),
        unit: "shop/cache".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    };
    let (backend, _health) = start_app("shop", &provider, &server.url(), json!({})).await.unwrap();
    let capability = Capability::KeyValue(backend);
    let (_serving, remote) = conformance::through_lattice(&capability, served, (&provider, &client)).await.unwrap();
    conformance::key_value(remote, "through NATS").await.assert();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_have_their_lifetime() {
    let server = PostgresServer::start().unwrap();
    let (backend, _health) = start(&server.url(), json!({ "ttl": "1s" })).await.unwrap();
    conformance::key_value_lifetime(backend.clone(), Duration::from_secs(1), "in the process").await.assert();

    // What is over leaves the table, and nothing else does.
    let (lasting, _health) = start(&server.url(), json!({})).await.unwrap();
    let pairs = (0..3000).map(|n| (n.to_string(), Bytes::from("v"))).collect();
    backend.set_many("b".into(), pairs).await.unwrap();
    lasting.set("b".into(), "lasts".into(), Bytes::from("v")).await.unwrap();
    let account = account(&server.url()).await;
    let left =
        async || account.query("SELECT convert_from(key, 'UTF8') FROM lattice_keyvalue", &[]).await.unwrap().rows;
    let swept = async {
        while left().await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), swept).await.unwrap();
    assert_eq!(left().await, [[PgValue::Text("lasts".into())].to_vec()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apps_in_one_table_see_only_their_own() {
    let server = PostgresServer::start().unwrap();
    let bus = memory();
    let start = async |app, others| start_app(app, &bus, &server.url(), others).await.unwrap().0;
    let (shop, bank) = (start("shop", json!({})).await, start("bank", json!({})).await);
    let same = start("other", json!({ "namespace": "shop" })).await;
    shop.set("b".into(), "k".into(), Bytes::from("of shop")).await.unwrap();
    bank.set("b".into(), "k".into(), Bytes::from("of bank")).await.unwrap();
    bank.increment("b".into(), "n".into(), 1).await.unwrap();
    for (backend, value, keys) in [(&shop, "of shop", 1), (&same, "of shop", 1), (&bank, "of bank", 2)] {
        assert_eq!(backend.get("b".into(), "k".into()).await, Ok(Some(Bytes::from(value))));
        assert_eq!(backend.list_keys("b".into(), None).await.unwrap().keys.len(), keys);
    }
    bank.delete_many("b".into(), vec!["k".into(), "n".into()]).await.unwrap();
    assert_eq!(shop.get("b".into(), "k".into()).await, Ok(Some(Bytes::from("of shop"))));
    // Where other programs find it.
    let select =
        "SELECT namespace, bucket, convert_from(key, 'UTF8'), convert_from(value, 'UTF8') FROM lattice_keyvalue";
    let found = account(&server.url()).await.query(select, &[]).await.unwrap().rows;
    assert_eq!(found, [["shop", "b", "k", "of shop"].map(|text| PgValue::Text(text.into())).to_vec()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_start_at_the_same_time_make_one_table() {
    let server = PostgresServer::start().unwrap();
    let account = account(&server.url()).await;
    account.batch("CREATE SCHEMA other").await.unwrap();
    for table in ["lattice_keyvalue", "cache", "other.cache"] {
        let mut tasks = JoinSet::new();
        for _ in 0..8 {
            let url = server.url();
            tasks.spawn(async move { start(&url, json!({ "table": table, "poolSize": 2 })).await.map(|(kv, _)| kv) });
        }
        for started in tasks.join_all().await {
            started.unwrap().increment("b".into(), "n".into(), 1).await.unwrap();
        }
        let rows = account.query(&format!("SELECT convert_from(value, 'UTF8') FROM {table}"), &[]).await.unwrap().rows;
        assert_eq!(rows, [[PgValue::Text("8".into())].to_vec()], "{table}");
    }
}

async fn refused(url: &str, others: Value) -> StartError {
    start(url, others).await.err().unwrap()
}

#[tokio::test]
async fn wrong_settings_are_named_without_the_password() {
    for others in [json!({ "table": "a b" }), json!({ "table": "a.b.c" }), json!({ "namespace": "a\0" })] {
        let error = refused("postgres://me:secret@127.0.0.1/db", others.clone()).await;
        assert!(matches!(error, StartError::Config(_)), "{error}");
        let key = others.as_object().unwrap().keys().next().unwrap();
        assert!(error.to_string().starts_with(&format!("bad configuration: {key}: ")), "{error}");
    }
    for bad in ["http://me:secret@x", "secret", "postgres://me:secret@host:99999/db"] {
        let error = refused(bad, json!({})).await.to_string();
        assert!(error.starts_with("bad configuration: url: ") && !error.contains("secret"), "{error}");
    }
    let mut server = PostgresServer::start().unwrap();
    let place = format!("postgres://127.0.0.1:{}", server.port());
    let wrong = refused(&server.url().replace(POSTGRES_PASSWORD, "not-it"), json!({})).await.to_string();
    assert!(wrong.starts_with(&format!("cannot reach {place}: password")) && !wrong.contains("not-it"), "{wrong}");
    server.stop();
    let error = refused(&server.url(), json!({})).await;
    assert_eq!(error.to_string(), format!("cannot reach {place}: Connection refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_make_no_table_does_with_one_that_is_there() {
    let server = PostgresServer::start().unwrap();
    let owner = account(&server.url()).await;
    let guest = "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE guest LOGIN PASSWORD 'pass-word'";
    owner.batch(guest).await.unwrap();
    let url = server.url().replace("lattice:", "guest:");
    let error = refused(&url, json!({})).await.to_string();
    assert_eq!(error, "table \"lattice_keyvalue\": permission denied for schema public (SQLSTATE 42501)");
    start(&server.url(), json!({})).await.unwrap();
    owner.batch("GRANT SELECT, INSERT, UPDATE, DELETE ON lattice_keyvalue TO guest").await.unwrap();
    let (backend, _health) = start(&url, json!({})).await.unwrap();
    assert_eq!(backend.increment("b".into(), "n".into(), 1).await, Ok(1));

    owner.batch("CREATE TABLE things (id int)").await.unwrap();
    let error = refused(&server.url(), json!({ "table": "things" })).await.to_string();
    assert!(error.starts_with("table \"things\": column \"namespace\" does not exist"), "{error}");
    owner.batch("DROP TABLE lattice_keyvalue").await.unwrap();
    let error = backend.get("b".into(), "n".into()).await.unwrap_err().to_string();
    assert!(error.contains("PostgreSQL, table \"lattice_keyvalue\": relation"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_of_the_same_keys_in_any_order_do_not_stop_each_other() {
    let server = PostgresServer::start().unwrap();
    let (backend, _health) = start(&server.url(), json!({})).await.unwrap();
    let mut tasks = JoinSet::new();
    for task in 0..8usize {
        let backend = backend.clone();
        tasks.spawn(async move {
            for round in 0..20 {
                // Each task begins elsewhere, and every second one goes backwards.
                let mut keys: Vec<_> = (0..200).map(|n| format!("key {}", (n + task * 25) % 200)).collect();
                if task % 2 == 1 {
                    keys.reverse();
                }
                if (task + round) % 4 == 0 {
                    backend.delete_many("b".into(), keys).await.unwrap();
                } else {
                    let pairs = keys.into_iter().map(|key| (key, Bytes::from(task.to_string()))).collect();
                    backend.set_many("b".into(), pairs).await.unwrap();
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_others_are_no_keys_and_keys_of_one_position_stay_together() {
    let server = PostgresServer::start().unwrap();
    let (backend, _health) = start(&server.url(), json!({})).await.unwrap();
    let fill = "INSERT INTO lattice_keyvalue (namespace, bucket, position, key, value) \
                SELECT 'shop', 'b', CASE WHEN n <= 1500 THEN 7 ELSE 9223372036854775807 END, \
                CASE WHEN n % 2 = 0 THEN '\\xff'::bytea ELSE ''::bytea END || n::text::bytea, '' FROM generate_series(1, 4000) AS n";
    account(&server.url()).await.batch(fill).await.unwrap();
    let (mut keys, mut cursor, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = backend.list_keys("b".into(), cursor).await.unwrap();
        keys.extend(page.keys.into_iter().map(|key| key.parse::<u32>().unwrap()));
        (cursor, pages) = (page.cursor, pages + 1);
        if cursor.is_none() {
            break;
        }
        assert!(pages < 10, "a listing in a circle");
    }
    keys.sort_unstable();
    assert_eq!(keys, (1..4000).step_by(2).collect::<Vec<_>>());
}

async fn wait_for(health: &mut watch::Receiver<Health>, wanted: impl Fn(&Health) -> bool) {
    tokio::time::timeout(Duration::from_secs(20), health.wait_for(wanted)).await.unwrap().unwrap();
}

/// Increments a number until told to stop. Returns the last sum that was acknowledged, and how many calls failed since.
async fn increments(backend: Arc<dyn KeyValue>, key: String, stopped: watch::Receiver<bool>) -> (String, u64, u64) {
    let (mut sum, mut failed, mut all_failed) = (0, 0, 0);
    while !*stopped.borrow() {
        let started = Instant::now();
        match backend.increment("b".into(), key.clone(), 1).await {
            Ok(next) => {
                // What failed may have been done, but only once.
                assert!(
                    (sum + 1..=sum + 1 + failed).contains(&next),
                    "{key}: {next} after {sum} and {failed} failures"
                );
                (sum, failed) = (next, 0);
            }
            Err(error) => {
                assert!(!error.to_string().contains(POSTGRES_PASSWORD), "{error}");
                (failed, all_failed) = (failed + 1, all_failed + 1);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert!(started.elapsed() < Duration::from_secs(3), "it took {:?}", started.elapsed());
    }
    assert!(all_failed > 0, "{key}: the database was never away");
    (key, sum, failed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_killed_and_nothing_acknowledged_is_lost() {
    let mut server = PostgresServer::start().unwrap();
    let (backend, mut health) = start(&server.url(), json!({ "poolSize": 4 })).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for n in 0..8 {
        tasks.spawn(increments(backend.clone(), format!("n{n}"), stopped.clone()));
    }
    let number = async |key: String| {
        let value = backend.get("b".into(), key.clone()).await?;
        add(&key, value.as_deref(), 0)
    };
    for _ in 0..2 {
        let before = number("n0".into()).await.unwrap();
        let moving = async {
            while number("n0".into()).await.unwrap() < before + 20 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), moving).await.unwrap();
        tokio::task::block_in_place(|| server.stop());
        let place = format!("cannot reach postgres://127.0.0.1:{}: Connection refused", server.port());
        wait_for(&mut health, |health| *health == Health::Degraded(place.clone())).await;
        assert_eq!(number("n0".into()).await, Err(KeyValueError::Other(place)));
        tokio::task::block_in_place(|| server.restart().unwrap());
        wait_for(&mut health, |health| *health == Health::Ready).await;
    }
    stop.send(true).unwrap();
    for (key, sum, failed) in tasks.join_all().await {
        let found = number(key.clone()).await.unwrap();
        assert!((sum..=sum + failed).contains(&found), "{key}: {found} after {sum} was acknowledged");
    }
}
