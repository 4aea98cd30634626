#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use lattice::bus::Bus;
use lattice_provider::{
    Capability, Provider, StartError, conformance,
    keyvalue::{KeyValue, position},
};
use lattice_provider_keyvalue_redb::{Config, Redb};
use redb::{Database, ReadableDatabase, ReadableTableMetadata, TableDefinition, TableHandle};

async fn start(dir: &Path, file: Option<&str>) -> Result<Arc<dyn KeyValue>, StartError> {
    start_with(dir, Config { file: file.map(str::to_owned), ttl: None }).await
}

async fn start_with(dir: &Path, config: Config) -> Result<Arc<dyn KeyValue>, StartError> {
    let bus = Bus::memory("default".parse().unwrap());
    let (context, _health) = conformance::context(&"shop/cache".parse().unwrap(), dir, &bus);
    let Capability::KeyValue(backend) = Redb::start(context, config).await? else { panic!("it is a store") };
    Ok(backend)
}

/// With entries that live for so long.
fn mortal(ttl: &str) -> Config {
    Config { file: None, ttl: Some(ttl.to_owned().try_into().unwrap()) }
}

/// Opens the file, once the backend before has closed it.
async fn open(path: &Path) -> Database {
    let started = Instant::now();
    loop {
        match Database::open(path) {
            Ok(database) => return database,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn refused(dir: &Path, file: Option<&str>) -> String {
    start(dir, file).await.err().unwrap().to_string()
}

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<Redb>(&[("file", "f".into()), ("ttl", "10m".into())]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let backend = start(dir.path(), None).await.unwrap();
    conformance::key_value(backend, "in the process").await.assert();
    assert!(dir.path().join("shop-cache.redb").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_have_their_lifetime() {
    let dir = tempfile::tempdir().unwrap();
    let backend = start_with(dir.path(), mortal("1s")).await.unwrap();
    conformance::key_value_lifetime(backend, Duration::from_secs(1), "in the process").await.assert();
}

const VALUES: TableDefinition<'static, (&str, u64, &str), &[u8]> = TableDefinition::new("values");

#[tokio::test]
async fn a_file_of_before_there_were_lifetimes_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop-cache.redb");
    {
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        let old = ("b", position("old"), "old");
        transaction.open_table(VALUES).unwrap().insert(old, b"41".as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    let backend = start_with(dir.path(), mortal("200ms")).await.unwrap();
    backend.set("b".into(), "new".into(), Bytes::from("v")).await.unwrap();
    let started = Instant::now();
    while backend.exists("b".into(), "new".into()).await.unwrap() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What nobody has given an end has none, until it is written.
    assert_eq!(backend.list_keys("b".into(), None).await.unwrap().keys, ["old"]);
    assert_eq!(backend.increment("b".into(), "old".into(), 1).await, Ok(42));
    let started = Instant::now();
    while backend.exists("b".into(), "old".into()).await.unwrap() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn what_is_over_stays_so_and_leaves_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let backend = start_with(dir.path(), mortal("500ms")).await.unwrap();
    let pairs = (0..1000).map(|n| (n.to_string(), Bytes::from("v"))).collect();
    backend.set_many("b".into(), pairs).await.unwrap();
    drop(backend);
    drop(open(&dir.path().join("shop-cache.redb")).await);
    // Entries end as they were to, whoever opens the file, and whatever the setting is then.
    let backend = start(dir.path(), None).await.unwrap();
    let started = Instant::now();
    while !backend.list_keys("b".into(), None).await.unwrap().keys.is_empty() {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A write takes some of them along.
    for n in 0..10 {
        backend.set("b".into(), "stays".into(), Bytes::from(n.to_string())).await.unwrap();
    }
    assert_eq!(backend.get("b".into(), "stays".into()).await, Ok(Some(Bytes::from("9"))));
    drop(backend);
    assert_eq!(
        sizes(dir.path()).await,
        [("due", 0), ("ends", 0), ("untold", 0), ("untold_numbers", 0), ("values", 1)].map(owned)
    );

    // They go without a write as well.
    let backend = start_with(dir.path(), mortal("500ms")).await.unwrap();
    let pairs = (0..1000).map(|n| (n.to_string(), Bytes::from("v"))).collect();
    backend.set_many("b".into(), pairs).await.unwrap();
    drop(backend);
    drop(open(&dir.path().join("shop-cache.redb")).await);
    loop {
        let backend = start_with(dir.path(), mortal("500ms")).await.unwrap();
        // The backend looks each second.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        drop(backend);
        if sizes(dir.path()).await
            == [("due", 0), ("ends", 0), ("untold", 0), ("untold_numbers", 0), ("values", 1)].map(owned)
        {
            break;
        }
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}

fn owned((name, size): (&str, u64)) -> (String, u64) {
    (name.to_owned(), size)
}

/// How many rows the tables have, once the backend before has closed the file.
async fn sizes(dir: &Path) -> Vec<(String, u64)> {
    let database = open(&dir.join("shop-cache.redb")).await;
    let transaction = database.begin_read().unwrap();
    let tables = transaction.list_tables().unwrap();
    let size = |table: redb::UntypedTableHandle| {
        (table.name().to_owned(), transaction.open_untyped_table(table).unwrap().len().unwrap())
    };
    let mut sizes: Vec<_> = tables.map(size).collect();
    sizes.sort();
    sizes
}

#[tokio::test]
async fn data_outlives_the_backend_and_the_file_is_free_soon() {
    let dir = tempfile::tempdir().unwrap();
    let backend = start(&dir.path().join("new"), Some("my.redb")).await.unwrap();
    let path = dir.path().join("new/my.redb");
    backend.set("b".into(), "k".into(), Bytes::from("v")).await.unwrap();
    let text = refused(&dir.path().join("new"), Some("my.redb")).await;
    assert_eq!(text, format!("cannot open {}: another instance has it open", path.display()));
    drop(backend);
    let mut again = start(&dir.path().join("new"), Some("my.redb")).await;
    for _ in 0..100 {
        if !matches!(again, Err(StartError::Busy(_))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        again = start(&dir.path().join("new"), Some("my.redb")).await;
    }
    assert_eq!(again.unwrap().get("b".into(), "k".into()).await, Ok(Some(Bytes::from("v"))));
}

#[tokio::test]
async fn a_file_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for bad in ["", ".", "..", "../x", "a/b", "a/..", "/etc/x", "x/", "./x", "x\0"] {
        let text = refused(dir.path(), Some(bad)).await;
        assert!(text.starts_with("bad configuration: file: "), "{bad}: {text}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_is_no_whole_database_is_named_and_not_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    // A good one, to cut and to spoil.
    drop(start(dir.path(), Some("good")).await.unwrap());
    let good = loop {
        if start(dir.path(), Some("good")).await.is_ok() {
            break std::fs::read(dir.path().join("good")).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let mut spoilt = good.clone();
    spoilt[64..4096].fill(0xa5);
    for bad in [b"some text".to_vec(), vec![0xff; 10_000], good[..good.len() / 2].to_vec(), spoilt] {
        let path = dir.path().join("bad");
        std::fs::write(&path, &bad).unwrap();
        // Trying again changes nothing.
        for _ in 0..2 {
            let text = refused(dir.path(), Some("bad")).await;
            assert!(text.starts_with(&format!("cannot open {}: ", path.display())), "{text}");
            assert!(text.contains("damaged"), "{text}");
        }
        // redb may note in it that it needs repair; what is in it is for a person to save.
        assert_eq!(std::fs::metadata(path).unwrap().len(), bad.len() as u64);
    }
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    let text = refused(dir.path(), Some("folder")).await;
    assert!(text.starts_with("cannot open ") && text.contains("folder"), "{text}");
}
