//! Watches buckets: writes what it is told of a key into the bucket `audit`, under the same key, with what the bucket that it
//! was given has there. The value `poison` makes it trap.

wit_bindgen::generate!({ path: "../../../wit/deps/keyvalue", world: "watch-service" });

use exports::wasi::keyvalue::watcher::Guest;
use wasi::keyvalue::store::{self, Bucket};

struct Auditor;

fn write(key: &str, text: &str) {
    store::open("audit").and_then(|audit| audit.set(key, text.as_bytes())).expect("the audit can be written");
}

/// What is in the bucket now.
fn now(bucket: &Bucket, key: &str) -> String {
    let value = bucket.get(key).expect("the bucket can be read");
    value.map_or("nothing".to_owned(), |value| String::from_utf8_lossy(&value).into_owned())
}

impl Guest for Auditor {
    fn on_set(bucket: Bucket, key: String, value: Vec<u8>) {
        assert!(value != b"poison", "a value that this cannot take");
        write(&key, &format!("set {}, has {}", String::from_utf8_lossy(&value), now(&bucket, &key)));
    }

    fn on_delete(bucket: Bucket, key: String) {
        write(&key, &format!("deleted, has {}", now(&bucket, &key)));
    }
}

export!(Auditor);
