//! Serves what other guests import: the prices that `nobody` asks for, and a key-value store of resources that lives as
//! long as its instance.

use std::{cell::RefCell, collections::BTreeMap};

wit_bindgen::generate!({
    inline: r#"
        package test:quoter;
        world quoter {
            export acme:pricing/quote@1.2.0;
            export wasi:keyvalue/store@0.2.0-draft;
            export wasi:keyvalue/atomics@0.2.0-draft;
        }
        package acme:pricing@1.2.0 {
            interface quote {
                price: func(article: string) -> u64;
                /// What those who were built for 1.0.0 do not know.
                currency: func() -> string;
            }
        }
    "#,
    path: "../../../wit",
    world: "test:quoter/quoter",
    generate_all,
});

use exports::wasi::keyvalue::{
    atomics,
    store::{self, Bucket, BucketBorrow, Error, KeyResponse},
};

struct Quoter;

impl exports::acme::pricing::quote::Guest for Quoter {
    fn price(article: String) -> u64 {
        article.len() as u64 * 100
    }

    fn currency() -> String {
        "EUR".to_owned()
    }
}

/// One bucket, whatever its name.
#[derive(Default)]
struct Keys(RefCell<BTreeMap<String, Vec<u8>>>);

impl store::Guest for Quoter {
    type Bucket = Keys;

    fn open(identifier: String) -> Result<Bucket, Error> {
        if identifier.is_empty() {
            return Err(Error::NoSuchStore);
        }
        Ok(Bucket::new(Keys::default()))
    }
}

impl store::GuestBucket for Keys {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.0.borrow().get(&key).cloned())
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.0.borrow_mut().insert(key, value);
        Ok(())
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        self.0.borrow_mut().remove(&key);
        Ok(())
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        Ok(self.0.borrow().contains_key(&key))
    }

    fn list_keys(&self, _cursor: Option<u64>) -> Result<KeyResponse, Error> {
        Ok(KeyResponse { keys: self.0.borrow().keys().cloned().collect(), cursor: None })
    }
}

impl atomics::Guest for Quoter {
    fn increment(bucket: BucketBorrow<'_>, key: String, delta: u64) -> Result<u64, Error> {
        let keys = bucket.get::<Keys>();
        let mut keys = keys.0.borrow_mut();
        let value = keys.entry(key).or_default();
        let text = std::str::from_utf8(value).unwrap_or_default();
        let sum = text.parse().unwrap_or(0u64).saturating_add(delta);
        *value = sum.to_string().into_bytes();
        Ok(sum)
    }
}

export!(Quoter);
