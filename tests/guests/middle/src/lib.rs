//! A provider that is a component: it exports wasi:keyvalue and keeps everything in the store that it imports, with `kept/`
//! before each key, so that a test can see that its calls came through here.

wit_bindgen::generate!({
    path: "../../../wit/deps/keyvalue",
    inline: "
        package test:middle;
        world middle {
            import wasi:keyvalue/store@0.2.0-draft;
            import wasi:keyvalue/atomics@0.2.0-draft;
            import wasi:keyvalue/batch@0.2.0-draft;
            export wasi:keyvalue/store@0.2.0-draft;
            export wasi:keyvalue/atomics@0.2.0-draft;
            export wasi:keyvalue/batch@0.2.0-draft;
        }
    ",
    generate_all,
});

use exports::wasi::keyvalue::{
    atomics, batch,
    store::{self, Bucket, BucketBorrow, Error, KeyResponse},
};
use wasi::keyvalue as inner;

const KEPT: &str = "kept/";

struct Middle;

/// A bucket of the store behind it.
struct Behind(inner::store::Bucket);

fn kept(key: &str) -> String {
    format!("{KEPT}{key}")
}

fn all_kept(keys: Vec<String>) -> Vec<String> {
    keys.iter().map(|key| kept(key)).collect()
}

/// A key as its user knows it.
fn known(key: String) -> String {
    key.strip_prefix(KEPT).map_or(key.clone(), str::to_owned)
}

impl From<inner::store::Error> for Error {
    fn from(error: inner::store::Error) -> Self {
        match error {
            inner::store::Error::NoSuchStore => Self::NoSuchStore,
            inner::store::Error::AccessDenied => Self::AccessDenied,
            inner::store::Error::Other(text) => Self::Other(text),
        }
    }
}

impl store::Guest for Middle {
    type Bucket = Behind;

    fn open(identifier: String) -> Result<Bucket, Error> {
        Ok(Bucket::new(Behind(inner::store::open(&identifier)?)))
    }
}

impl store::GuestBucket for Behind {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.get(&kept(&key))?)
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        Ok(self.0.set(&kept(&key), &value)?)
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        Ok(self.0.delete(&kept(&key))?)
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        Ok(self.0.exists(&kept(&key))?)
    }

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyResponse, Error> {
        let page = self.0.list_keys(cursor)?;
        Ok(KeyResponse { keys: page.keys.into_iter().map(known).collect(), cursor: page.cursor })
    }
}

impl atomics::Guest for Middle {
    fn increment(bucket: BucketBorrow<'_>, key: String, delta: u64) -> Result<u64, Error> {
        Ok(inner::atomics::increment(&bucket.get::<Behind>().0, &kept(&key), delta)?)
    }
}

impl batch::Guest for Middle {
    fn get_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let found = inner::batch::get_many(&bucket.get::<Behind>().0, &all_kept(keys))?;
        Ok(found.into_iter().map(|pair| pair.map(|(key, value)| (known(key), value))).collect())
    }

    fn set_many(bucket: BucketBorrow<'_>, pairs: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let pairs: Vec<_> = pairs.into_iter().map(|(key, value)| (kept(&key), value)).collect();
        Ok(inner::batch::set_many(&bucket.get::<Behind>().0, &pairs)?)
    }

    fn delete_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
        Ok(inner::batch::delete_many(&bucket.get::<Behind>().0, &all_kept(keys))?)
    }
}

export!(Middle);
