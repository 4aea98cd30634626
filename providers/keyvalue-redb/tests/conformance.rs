#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use lattice::bus::Bus;
use lattice_provider::{Capability, Provider, StartError, conformance, keyvalue::KeyValue};
use lattice_provider_keyvalue_redb::{Config, Redb};

async fn start(dir: &Path, file: Option<&str>) -> Result<Arc<dyn KeyValue>, StartError> {
    let bus = Bus::memory("default".parse().unwrap());
    let (context, _health) = conformance::context(&"shop/cache".parse().unwrap(), dir, &bus);
    let Capability::KeyValue(backend) = Redb::start(context, Config { file: file.map(str::to_owned) }).await? else {
        panic!("it is a store")
    };
    Ok(backend)
}

async fn refused(dir: &Path, file: Option<&str>) -> String {
    start(dir, file).await.err().unwrap().to_string()
}

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<Redb>(&[("file", "f".into())]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let backend = start(dir.path(), None).await.unwrap();
    conformance::key_value(backend, "in the process").await.assert();
    assert!(dir.path().join("shop-cache.redb").is_file());
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
