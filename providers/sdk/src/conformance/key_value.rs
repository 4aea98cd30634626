//! Values: what is set is there, and nothing else is.

use bytes::Bytes;
use lattice::wire::{MAX_KEY, MAX_VALUE};

use super::{Check, Subject, failed, same};
use crate::keyvalue::KeyValueError;

impl Subject {
    pub(super) async fn set(&self, key: &str, value: impl Into<Bytes>) -> Check {
        let value = value.into();
        self.backend.set(self.bucket.clone(), key.into(), value).await.map_err(failed(format!("set {key:?}")))
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Bytes>, String> {
        self.backend.get(self.bucket.clone(), key.into()).await.map_err(failed(format!("get {key:?}")))
    }

    pub(super) async fn delete(&self, key: &str) -> Check {
        self.backend.delete(self.bucket.clone(), key.into()).await.map_err(failed(format!("delete {key:?}")))
    }

    pub(super) async fn exists(&self, key: &str) -> Result<bool, String> {
        self.backend.exists(self.bucket.clone(), key.into()).await.map_err(failed(format!("exists {key:?}")))
    }

    pub(super) async fn set_many(&self, pairs: impl IntoIterator<Item = (String, Bytes)>) -> Check {
        let pairs = pairs.into_iter().collect();
        self.backend.set_many(self.bucket.clone(), pairs).await.map_err(failed("set-many"))
    }

    pub(super) async fn get_many(&self, keys: &[&str]) -> Result<Vec<Option<Bytes>>, String> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        self.backend.get_many(self.bucket.clone(), keys).await.map_err(failed("get-many"))
    }

    pub(super) async fn delete_many(&self, keys: impl IntoIterator<Item = String>) -> Check {
        let keys = keys.into_iter().collect();
        self.backend.delete_many(self.bucket.clone(), keys).await.map_err(failed("delete-many"))
    }
}

fn some(text: &'static str) -> Option<Bytes> {
    Some(Bytes::from_static(text.as_bytes()))
}

pub(super) async fn a_value_comes_and_goes(subject: Subject) -> Check {
    same("an absent value", subject.get("k").await?, None)?;
    same("an absent key exists", subject.exists("k").await?, false)?;
    subject.delete("k").await?;
    subject.set("k", "one").await?;
    same("a new value", subject.get("k").await?, some("one"))?;
    same("a key exists", subject.exists("k").await?, true)?;
    subject.set("k", "two").await?;
    same("a value that was written over", subject.get("k").await?, some("two"))?;
    subject.delete("k").await?;
    subject.delete("k").await?;
    same("a deleted value", subject.get("k").await?, None)?;
    same("a deleted key exists", subject.exists("k").await?, false)?;
    subject.set("k", "three").await?;
    same("a value that is there again", subject.get("k").await?, some("three"))
}

pub(super) async fn any_bytes_are_a_value(subject: Subject) -> Check {
    subject.set("empty", Bytes::new()).await?;
    same("an empty value", subject.get("empty").await?, some(""))?;
    same("a key with an empty value exists", subject.exists("empty").await?, true)?;
    let all: Bytes = (0..=255).collect::<Vec<u8>>().into();
    subject.set("all", all.clone()).await?;
    same("a value of all bytes", subject.get("all").await?, Some(all))
}

pub(super) async fn odd_keys_are_keys(subject: Subject) -> Check {
    let long = "é".repeat(MAX_KEY / 2);
    let mut odd =
        vec!["", " ", ".", "..", "a.b", "a.b *>/=:\n%", ">", "*", "=", "=2E", "\0", "\u{1f980} ключ", "[a]?\\"];
    // Neighbours that a careless escape or a case-insensitive store would mix up.
    odd.extend(["a", "A", "a/b", "a:b", "a=b", "%3A", ":", "b", &long]);
    for key in &odd {
        subject.set(key, format!("value of {key}")).await?;
    }
    for key in &odd {
        same(format!("the value of {key:?}"), subject.get(key).await?, Some(format!("value of {key}").into()))?;
    }
    let mut listed = subject.list_all().await?;
    listed.sort_unstable();
    listed.dedup();
    odd.sort_unstable();
    same("the listed keys", listed.iter().map(String::as_str).collect(), odd.clone())?;
    for key in odd {
        subject.delete(key).await?;
        same(format!("{key:?} after it was deleted"), subject.get(key).await?, None)?;
    }
    same("the keys that are left", subject.list_all().await?, vec![])
}

pub(super) async fn keys_and_values_have_limits(subject: Subject) -> Check {
    let (longest, longer) = ("k".repeat(MAX_KEY), "k".repeat(MAX_KEY + 1));
    subject.set(&longest, "long").await?;
    same("the longest key", subject.get(&longest).await?, some("long"))?;
    let refused = KeyValueError::Other("a key of 1025 bytes is over the limit of 1024 bytes".into());
    let found = subject.backend.get(subject.bucket.clone(), longer).await;
    same("a longer key", found, Err(refused))?;

    let largest = Bytes::from(vec![7; MAX_VALUE]);
    subject.set("v", largest.clone()).await?;
    if subject.get("v").await? != Some(largest) {
        return Err("the largest value has changed".into());
    }
    let refused = KeyValueError::Other("a value of 1048577 bytes is over the limit of 1048576 bytes".into());
    let larger = Bytes::from(vec![8; MAX_VALUE + 1]);
    let found = subject.backend.set(subject.bucket.clone(), "v".into(), larger).await;
    same("a larger value", found, Err(refused))?;
    same("the first byte after that", subject.get("v").await?.and_then(|v| v.first().copied()), Some(7))?;
    subject.delete("v").await
}

pub(super) async fn buckets_are_apart(subject: Subject) -> Check {
    // Joined with any separator, some of these with some of those keys would be the same.
    let buckets = ["", "a", "a:b", "a.b", "a/b", "a%3Ab", "A"].map(|name| Subject {
        bucket: format!("{}{name}", if name.is_empty() { "" } else { "apart " }),
        ..subject.clone()
    });
    let keys = ["", "c", "b:c", ":c", ".c", "b.c", "b/c"];
    for bucket in &buckets {
        for key in keys {
            bucket.set(key, format!("{}|{key}", bucket.bucket)).await?;
        }
    }
    for bucket in &buckets {
        for key in keys {
            let expected = Some(format!("{}|{key}", bucket.bucket).into());
            same(format!("{key:?} of bucket {:?}", bucket.bucket), bucket.get(key).await?, expected)?;
        }
        same(format!("the keys of bucket {:?}", bucket.bucket), bucket.list_all().await?.len(), keys.len())?;
        bucket.delete_many(keys.map(str::to_owned)).await?;
    }
    Ok(())
}

pub(super) async fn batches_keep_their_order(subject: Subject) -> Check {
    same("none of many", subject.get_many(&[]).await?, vec![])?;
    subject.set_many([]).await?;
    subject.delete_many([]).await?;
    let pair = |key: &str, value: &'static str| (key.to_owned(), Bytes::from(value));
    subject.set_many([pair("a", "1"), pair("c", "3"), pair("b", "x"), pair("b", "2")]).await?;
    let found = subject.get_many(&["c", "absent", "a", "b", "c"]).await?;
    same("many values", found, vec![some("3"), None, some("1"), some("2"), some("3")])?;
    subject.delete_many(["c", "absent", "a", "a"].map(str::to_owned)).await?;
    same("what is left of many", subject.get_many(&["a", "b", "c"]).await?, vec![None, some("2"), None])
}
