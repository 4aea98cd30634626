//! `wasi:keyvalue@0.2.0-draft` for guests: a bucket is a name that stays in the host; each call goes where the
//! manifest's link leads at that moment.

use std::sync::Arc;

use bytes::Bytes;
use lattice_provider::keyvalue::{KeyValue, KeyValueError};
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{
    atomics, batch,
    store::{self, KeyResponse},
};
use super::guest::Guest;

pub(super) mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/deps/keyvalue",
        world: "imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// The interfaces, without a version.
const STORE: &str = "wasi:keyvalue/store";
const ATOMICS: &str = "wasi:keyvalue/atomics";
const BATCH: &str = "wasi:keyvalue/batch";

/// What a guest holds as `bucket`.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Bucket(pub(super) String);

/// Pairs of one `set-many`, or keys of one batch call, at the most: a guest decides, so it is clamped.
const MAX_BATCH: usize = 10_000;

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    store::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    atomics::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    batch::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

impl From<KeyValueError> for store::Error {
    fn from(error: KeyValueError) -> Self {
        match error {
            KeyValueError::NoSuchStore => Self::NoSuchStore,
            KeyValueError::AccessDenied => Self::AccessDenied,
            KeyValueError::Other(text) => Self::Other(text),
        }
    }
}

/// The outer error traps (a host fault or a made-up handle); the inner one is a value for the guest.
type Answer<T> = wasmtime::Result<Result<T, store::Error>>;

fn unlinked<T>() -> Answer<T> {
    Ok(Err(store::Error::Other("no link in the manifest satisfies this import".into())))
}

fn too_many<T>(count: usize) -> Answer<T> {
    Ok(Err(store::Error::Other(format!("{count} keys in one call are over the limit of {MAX_BATCH}"))))
}

impl Guest {
    /// The bucket's name and where calls to it go; `interface` is the one that the guest called.
    fn bucket(
        &self,
        bucket: &Resource<Bucket>,
        interface: &str,
    ) -> wasmtime::Result<Option<(String, Arc<dyn KeyValue>)>> {
        let name = self.table.get(bucket)?.0.clone();
        let links = self.links.capability(interface);
        let link = links.and_then(|links| links.get(self.link_names.chosen(interface)));
        Ok(link.map(|link| (link.stored_name(name), link.key_value(self.until()))))
    }
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
        if self.links.capability(STORE).is_none() {
            return unlinked();
        }
        Ok(Ok(self.table.push(Bucket(identifier))?))
    }
}

impl store::HostBucket for Guest {
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
        let Some((name, link)) = self.bucket(&bucket, STORE)? else { return unlinked() };
        Ok(link.get(name, key).await.map(|value| value.map(Vec::from)).map_err(Into::into))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
        let Some((name, link)) = self.bucket(&bucket, STORE)? else { return unlinked() };
        Ok(link.set(name, key, value.into()).await.map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
        let Some((name, link)) = self.bucket(&bucket, STORE)? else { return unlinked() };
        Ok(link.delete(name, key).await.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
        let Some((name, link)) = self.bucket(&bucket, STORE)? else { return unlinked() };
        Ok(link.exists(name, key).await.map_err(Into::into))
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Answer<KeyResponse> {
        let Some((name, link)) = self.bucket(&bucket, STORE)? else { return unlinked() };
        let page = link.list_keys(name, cursor).await;
        Ok(page.map(|page| KeyResponse { keys: page.keys, cursor: page.cursor }).map_err(Into::into))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Answer<u64> {
        let Some((name, link)) = self.bucket(&bucket, ATOMICS)? else { return unlinked() };
        Ok(link.increment(name, key, delta).await.map_err(Into::into))
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Answer<Vec<Option<(String, Vec<u8>)>>> {
        if keys.len() > MAX_BATCH {
            return too_many(keys.len());
        }
        let Some((name, link)) = self.bucket(&bucket, BATCH)? else { return unlinked() };
        let values = link.get_many(name, keys.clone()).await;
        let pair = |(key, value): (String, Option<Bytes>)| value.map(|value| (key, Vec::from(value)));
        Ok(values.map(|values| keys.into_iter().zip(values).map(pair).collect()).map_err(Into::into))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<(String, Vec<u8>)>) -> Answer<()> {
        if pairs.len() > MAX_BATCH {
            return too_many(pairs.len());
        }
        let Some((name, link)) = self.bucket(&bucket, BATCH)? else { return unlinked() };
        let pairs = pairs.into_iter().map(|(key, value)| (key, value.into())).collect();
        Ok(link.set_many(name, pairs).await.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
        if keys.len() > MAX_BATCH {
            return too_many(keys.len());
        }
        let Some((name, link)) = self.bucket(&bucket, BATCH)? else { return unlinked() };
        Ok(link.delete_many(name, keys).await.map_err(Into::into))
    }
}
