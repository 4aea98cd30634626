//! What is written is there, and nothing else is.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{Store, failed};
use crate::{
    blobstore::BlobError,
    conformance::{Check, same},
};

pub(super) async fn containers_come_and_go(store: Store) -> Check {
    let other = store.sibling("check-another");
    let exists = async |store: &Store| {
        store.backend.container_exists(store.container.clone()).await.map_err(failed("container-exists"))
    };
    let create = async || other.backend.create_container(other.container.clone()).await.map_err(failed("create"));
    let delete = async || other.backend.delete_container(other.container.clone()).await;
    same("a container that was made", exists(&store).await?, true)?;
    same("one that was not", exists(&other).await?, false)?;
    create().await?;
    other.write("a", Bytes::from("kept")).await?;
    create().await?;
    same("an object of a container that was made again", other.read("a").await?, Bytes::from("kept"))?;
    let created = other.backend.container_created(other.container.clone()).await.map_err(failed("created"))?;
    recent("when a container was made", created)?;
    other.backend.clear_container(other.container.clone()).await.map_err(failed("clear"))?;
    same("a cleared container", exists(&other).await?, true)?;
    same("an object of it", other.has("a").await?, false)?;
    other.write("a/b", Bytes::from("gone")).await?;
    delete().await.map_err(failed("delete-container"))?;
    same("a deleted container", exists(&other).await?, false)?;
    same("deleting it again", delete().await, Err(BlobError::NoSuchContainer))?;
    create().await?;
    same("an object of a new container of the same name", other.has("a/b").await?, false)?;
    delete().await.map_err(failed("delete-container"))
}

/// The clocks of two machines may differ.
fn recent(what: &str, seconds: u64) -> Check {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now.abs_diff(seconds) < 600 { Ok(()) } else { Err(format!("{what}: {seconds}, while it is {now}")) }
}

pub(super) async fn an_object_comes_and_goes(store: Store) -> Check {
    same("an absent object", store.has("o").await?, false)?;
    store.delete("o").await?;
    store.write("o", Bytes::from("one")).await?;
    same("a new object", store.read("o").await?, Bytes::from("one"))?;
    same("a new object exists", store.has("o").await?, true)?;
    store.write("o", Bytes::from("number two")).await?;
    same("an object that was written over", store.read("o").await?, Bytes::from("number two"))?;
    let info = store.backend.object_info(store.container.clone(), "o".into()).await.map_err(failed("object-info"))?;
    same("its size", info.size, 10)?;
    recent("when it was written", info.created_at)?;
    store.write("p", Bytes::from("p")).await?;
    store.write("q", Bytes::from("q")).await?;
    let names = ["o", "absent", "p", "p"].map(str::to_owned).into();
    store.backend.delete_objects(store.container.clone(), names).await.map_err(failed("delete-objects"))?;
    for (object, there) in [("o", false), ("p", false), ("q", true)] {
        same(format!("{object} after some were deleted"), store.has(object).await?, there)?;
    }
    store.delete("q").await?;
    same("a deleted object", store.has("q").await?, false)
}

pub(super) async fn any_bytes_are_an_object(store: Store) -> Check {
    store.write("empty", Bytes::new()).await?;
    same("an empty object", store.read("empty").await?, Bytes::new())?;
    same("an empty object exists", store.has("empty").await?, true)?;
    let all: Bytes = (0..=255).collect::<Vec<u8>>().into();
    store.write("all", all.clone()).await?;
    same("an object of all bytes", store.read("all").await?, all)?;
    // Around the sizes at which an object goes another way.
    for size in [65_535, 65_536, 65_537, 131_072, 300_000] {
        let bytes = Bytes::from(vec![7; size]);
        store.write("sized", bytes.clone()).await?;
        same(format!("an object of {size} bytes"), store.read("sized").await? == bytes, true)?;
    }
    Ok(())
}

pub(super) async fn a_range_has_both_its_ends(store: Store) -> Check {
    let bytes: Bytes = (0..200_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>().into();
    store.write("o", bytes.clone()).await?;
    for (start, end, expected) in [
        (0, 0, 0..1),
        (0, 199_999, 0..200_000),
        (0, u64::MAX, 0..200_000),
        (199_999, 199_999, 199_999..200_000),
        (199_999, u64::MAX, 199_999..200_000),
        (100, 109, 100..110),
        (1, 150_000, 1..150_001),
        (131_070, 131_075, 131_070..131_076),
        (200_000, 200_000, 200_000..200_000),
        (300_000, u64::MAX, 200_000..200_000),
    ] {
        let found = store.part("o", start, end).await.map_err(failed(format!("from {start} to {end}")))?;
        same(format!("whether {start} to {end} are the right bytes"), found == bytes.slice(expected), true)?;
    }
    let found = store.part("o", 2, 1).await;
    same("a range that ends before it begins", matches!(found, Err(BlobError::Other(_))), true)?;
    store.write("empty", Bytes::new()).await?;
    same("a part of nothing", store.part("empty", 0, 10).await, Ok(Bytes::new()))
}

pub(super) async fn what_is_not_there_is_named(store: Store) -> Check {
    let (backend, absent) = (&store.backend, store.other("check-absent"));
    let (container, none, o) = (|| store.container.clone(), || absent.container.clone(), || "o".to_owned());
    same("an absent object", store.part("o", 0, u64::MAX).await, Err(BlobError::NoSuchObject))?;
    same("a part of it", store.part("o", 1, 2).await, Err(BlobError::NoSuchObject))?;
    same("its size", backend.object_info(container(), o()).await, Err(BlobError::NoSuchObject))?;
    let copied = backend.copy_object(container(), o(), container(), "p".into()).await;
    same("a copy of it", copied, Err(BlobError::NoSuchObject))?;
    let moved = backend.move_object(container(), o(), container(), "p".into()).await;
    same("moving it", moved, Err(BlobError::NoSuchObject))?;

    let no = BlobError::NoSuchContainer;
    same("reading in an absent container", absent.part("o", 0, u64::MAX).await, Err(no.clone()))?;
    same("writing", backend.write(none(), o(), Bytes::from("x").into()).await, Err(no.clone()))?;
    same("its objects' sizes", backend.object_info(none(), o()).await, Err(no.clone()))?;
    same("asking for an object", backend.has_object(none(), o()).await, Err(no.clone()))?;
    same("listing", backend.list_objects(none(), None).await, Err(no.clone()))?;
    same("deleting", backend.delete_object(none(), o()).await, Err(no.clone()))?;
    same("deleting some", backend.delete_objects(none(), vec![o()]).await, Err(no.clone()))?;
    same("clearing", backend.clear_container(none()).await, Err(no.clone()))?;
    same("when it was made", backend.container_created(none()).await, Err(no.clone()))?;
    store.write("o", Bytes::from("x")).await?;
    same("a copy into it", backend.copy_object(container(), o(), none(), o()).await, Err(no.clone()))?;
    same("moving into it", backend.move_object(container(), o(), none(), o()).await, Err(no))?;
    same("what was not moved", store.read("o").await?, Bytes::from("x"))
}

pub(super) async fn objects_are_copied_and_moved(store: Store) -> Check {
    let other = store.other("check-target");
    other.backend.create_container(other.container.clone()).await.map_err(failed("create-container"))?;
    let (from, to) = (|| store.container.clone(), || other.container.clone());
    let large = Bytes::from(vec![3; 1_000_000]);
    store.write("a/b", large.clone()).await?;
    other.write("t", Bytes::from("older")).await?;
    store.backend.copy_object(from(), "a/b".into(), to(), "t".into()).await.map_err(failed("copy"))?;
    same("whether the copy is right", other.read("t").await? == large, true)?;
    same("whether the original is", store.read("a/b").await? == large, true)?;
    store.backend.copy_object(from(), "a/b".into(), from(), "a/b".into()).await.map_err(failed("copy to itself"))?;
    store.backend.move_object(from(), "a/b".into(), from(), "a/b".into()).await.map_err(failed("move to itself"))?;
    same("whether it is still right", store.read("a/b").await? == large, true)?;
    store.backend.move_object(from(), "a/b".into(), to(), "deep/er/t".into()).await.map_err(failed("move"))?;
    same("whether it was moved", other.read("deep/er/t").await? == large, true)?;
    same("where it was", store.has("a/b").await?, false)?;
    other.backend.delete_container(to()).await.map_err(failed("delete-container"))
}
