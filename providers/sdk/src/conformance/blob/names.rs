//! Names: what is a name, and that all of them are listed.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lattice::wire::MAX_OBJECT;

use super::{Store, failed};
use crate::{
    blobstore::{BlobError, PAGE},
    conformance::{Check, same},
};

/// A listing that has not ended by then is in a circle.
const MAX_PAGES: usize = 1000;
/// Objects that are written at a time.
const CONCURRENT: usize = 32;

impl Store {
    async fn list(&self) -> Result<Vec<String>, String> {
        let (mut names, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page =
                self.backend.list_objects(self.container.clone(), cursor).await.map_err(failed("list-objects"))?;
            if page.objects.len() > PAGE {
                return Err(format!("a page of {} names; {PAGE} is the limit", page.objects.len()));
            }
            names.extend(page.objects);
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(names);
            }
        }
        Err(format!("a listing of more than {MAX_PAGES} pages"))
    }
}

pub(super) async fn odd_names_are_names(store: Store) -> Check {
    let part = (store.test.longest - 1) / 2;
    let long = format!("{}/{}", "l".repeat(part), "é".repeat(part / 2));
    let mut odd =
        vec!["a", "A", "a.b", ".a", "...", "a b", " ", "a*b?", "%", "%2F", "%41", "a%2Fb", "~", "#", "+", "a+b"];
    odd.extend([
        "\\",
        "[x]",
        "{x}",
        "<>",
        "\"'`",
        "&amp;",
        ":",
        "|^",
        "$",
        "=",
        "\u{1f980} ключ",
        "=2E",
        "x/y/z",
        &long,
    ]);
    odd.extend(["x/y.z", "x.y", "x-y", "x/y-z"]);
    for name in &odd {
        store.write(name, Bytes::from(format!("object {name}"))).await?;
    }
    for name in &odd {
        same(format!("the object {name:?}"), store.read(name).await?, format!("object {name}").into())?;
    }
    let mut listed = store.list().await?;
    listed.sort_unstable();
    odd.sort_unstable();
    same("the listed names", listed.iter().map(String::as_str).collect(), odd.clone())?;
    for name in odd {
        store.delete(name).await?;
        same(format!("{name:?} after it was deleted"), store.has(name).await?, false)?;
    }
    same("the names that are left", store.list().await?, vec![])
}

pub(super) async fn names_that_lead_elsewhere_are_refused(store: Store) -> Check {
    let long = "x".repeat(MAX_OBJECT + 1);
    let refused = |found: &BlobError| matches!(found, BlobError::Other(text) if text.contains("is no name of"));
    for bad in ["", ".", "..", "../a", "a/..", "a/../b", "/a", "/etc/passwd", "a/", "a//b", "a\0", "a\n", &long] {
        let written = store.backend.write(store.container.clone(), bad.to_owned(), Bytes::from("x").into()).await;
        same(format!("writing {bad:?}"), written.as_ref().is_err_and(refused), true)?;
        let read = store.part(bad, 0, u64::MAX).await;
        same(format!("reading {bad:?}"), read.as_ref().is_err_and(refused), true)?;
    }
    for bad in ["", ".", "..", "a/b", "../a", "/tmp", ".lattice", ".containers", "a\0"] {
        let made = store.backend.create_container(bad.to_owned()).await;
        same(format!("making the container {bad:?}"), made.as_ref().is_err_and(refused), true)?;
        let read = store.other(bad).part("a", 0, u64::MAX).await;
        same(format!("reading in {bad:?}"), read.as_ref().is_err_and(refused), true)?;
    }
    same("what is there after that", store.list().await?, vec![])
}

pub(super) async fn every_name_is_listed(store: Store) -> Check {
    same("the names of an empty container", store.list().await?, vec![])?;
    let name = |n: usize| format!("folder {}/{n}", n % 7);
    let mut written = stream::iter(0..store.test.names)
        .map(|n| {
            let store = store.clone();
            async move { store.write(&name(n), Bytes::from("v")).await }
        })
        .buffer_unordered(CONCURRENT);
    while let Some(outcome) = written.next().await {
        outcome?;
    }
    let listed = store.list().await?;
    same("how many names are listed", listed.len(), store.test.names)?;
    let expected: BTreeSet<_> = (0..store.test.names).map(name).collect();
    same("whether they are the right ones", listed.into_iter().collect::<BTreeSet<_>>() == expected, true)?;
    store.backend.clear_container(store.container.clone()).await.map_err(failed("clear-container"))?;
    same("the names that are left", store.list().await?, vec![])
}

pub(super) async fn containers_are_apart(store: Store) -> Check {
    // Joined with any separator, some of these with some of those names would be the same.
    let containers = ["apart", "apart b", "apart-b", "apart.b", "apart_b", "Apart"].map(|name| store.sibling(name));
    let names = ["c", "b/c", "b-c", ".b"];
    for container in &containers {
        let made = container.backend.create_container(container.container.clone()).await;
        made.map_err(failed(format!("create-container {:?}", container.container)))?;
        for name in names {
            container.write(name, Bytes::from(format!("{}|{name}", container.container))).await?;
        }
    }
    for container in &containers {
        for name in names {
            let expected = Bytes::from(format!("{}|{name}", container.container));
            same(format!("{name:?} of {:?}", container.container), container.read(name).await?, expected)?;
        }
        same(format!("the names of {:?}", container.container), container.list().await?.len(), names.len())?;
    }
    for container in &containers {
        let gone = container.backend.delete_container(container.container.clone()).await;
        gone.map_err(failed("delete-container"))?;
    }
    Ok(())
}
