#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use lattice::{bus::Bus, wire::Served};
use lattice_provider::{
    Capability, Provider, StartError,
    blobstore::{BlobError, Blobstore},
    conformance::{self, BlobTest, servers::NatsServer},
};
use lattice_provider_blob_fs::{Config, Files};

const TEST: BlobTest = BlobTest { names: 3000, longest: 500, large: 256, memory: Some(64) };

async fn start(root: &Path, bus: &Bus) -> Result<Capability, StartError> {
    let (context, _health) = conformance::context(&"shop/files".parse().unwrap(), root, bus);
    Files::start(context, Config { root: root.to_owned() }).await
}

async fn local(root: &Path) -> Arc<dyn Blobstore> {
    let bus = Bus::memory("default".parse().unwrap());
    let Capability::Blobstore(backend) = start(root, &bus).await.unwrap() else { panic!("it is a store") };
    backend
}

fn served() -> Served {
    Served {
        lattice: "default".parse().unwrap(),
        unit: "shop/files".parse().unwrap(),
        instance: "0123456789abcdef".parse().unwrap(),
    }
}

#[test]
fn it_takes_what_the_catalog_says() {
    conformance::configuration::<Files>(&[("root", "/srv".into())]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::blobstore(local(dir.path()).await, "in the process", TEST).await.assert();
    let left: Vec<_> = std::fs::read_dir(dir.path().join(".lattice")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms_through_nats() {
    let (server, dir) = (NatsServer::start().unwrap(), tempfile::tempdir().unwrap());
    let options = lattice::bus::NatsOptions { urls: vec![server.url()], ..Default::default() };
    let connect = async |name| Bus::connect_for_calls(&options, "default".parse().unwrap(), name).await.unwrap();
    let (provider, client) = (connect("provider").await, connect("client").await);
    let capability = start(dir.path(), &provider).await.unwrap();
    let (_serving, remote) =
        conformance::blobs_through_lattice(&capability, served(), (&provider, &client)).await.unwrap();
    conformance::blobstore(remote, "through NATS", TEST).await.assert();
}

#[tokio::test]
async fn a_hundred_thousand_files_are_listed() {
    let dir = tempfile::tempdir().unwrap();
    let backend = local(dir.path()).await;
    backend.create_container("c".into()).await.unwrap();
    for folder in 0..100 {
        let folder = dir.path().join(format!("c/{folder}"));
        std::fs::create_dir(&folder).unwrap();
        (0..1000).for_each(|n| std::fs::write(folder.join(n.to_string()), b"").unwrap());
    }
    let (mut names, mut cursor) = (std::collections::BTreeSet::new(), None);
    loop {
        let page = backend.list_objects("c".into(), cursor).await.unwrap();
        names.extend(page.objects);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(names.len(), 100_000);
}

#[tokio::test]
async fn links_that_lead_out_are_refused() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backend = local(dir.path()).await;
    backend.create_container("c".into()).await.unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
    link(&outside.path().join("secret"), "c/file");
    link(outside.path(), "c/folder");
    link(outside.path(), "container");
    std::fs::write(dir.path().join("c/real"), b"real").unwrap();
    link(Path::new("real"), "c/inside");
    let read = async |container: &str, object: &str| {
        let read = backend.read(container.into(), object.into(), 0, u64::MAX).await;
        read.map(|(_, data)| data.whole().cloned().unwrap())
    };
    assert_eq!(read("c", "inside").await, Ok(Bytes::from("real")));
    for (container, object) in [("c", "file"), ("c", "folder/secret"), ("container", "secret")] {
        assert_eq!(read(container, object).await, Err(BlobError::AccessDenied), "{container}/{object}");
    }
    let write = |container: &str, object: &str| backend.write(container.into(), object.into(), Bytes::from("x").into());
    assert_eq!(write("c", "folder/new").await, Err(BlobError::AccessDenied));
    assert_eq!(write("container", "new").await, Err(BlobError::AccessDenied));
    // The link itself is replaced, and not what it leads to.
    write("c", "file").await.unwrap();
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    let mut listed = backend.list_objects("c".into(), None).await.unwrap().objects;
    listed.sort_unstable();
    assert_eq!(listed, ["file", "inside", "real"]);
}

#[tokio::test]
async fn what_stands_in_the_way_of_an_object_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let backend = local(dir.path()).await;
    backend.create_container("c".into()).await.unwrap();
    let write = async |object: &str| backend.write("c".into(), object.into(), Bytes::from("x").into()).await;
    write("a/b").await.unwrap();
    let text = write("a").await.unwrap_err().to_string();
    assert_eq!(text, "\"a\" is a folder with objects in it");
    let text = write("a/b/c").await.unwrap_err().to_string();
    assert_eq!(text, "\"a/b/c\": a part of it is an object itself, and no folder");
    let text = write(&"x".repeat(256)).await.unwrap_err().to_string();
    assert!(text.ends_with("a part of it is too long for a file"), "{text}");
    // The folder goes with its last object.
    backend.delete_object("c".into(), "a/b".into()).await.unwrap();
    write("a").await.unwrap();
}

#[tokio::test]
async fn a_root_that_is_none_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let bus = Bus::memory("default".parse().unwrap());
    let refused = async |root: &Path| start(root, &bus).await.err().unwrap().to_string();
    assert_eq!(refused(Path::new("here")).await, "bad configuration: root: here is no absolute path");
    std::fs::write(dir.path().join("file"), b"").unwrap();
    let file = dir.path().join("file");
    assert!(refused(&file).await.starts_with(&format!("cannot open {}: ", file.display())));
}
