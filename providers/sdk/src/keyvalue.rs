//! Key-value: `wasi:keyvalue@0.2.0-draft` without its resource. A bucket is a name that goes with each call, so any
//! instance of any backend can answer any call.

use std::borrow::Cow;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::wire::{MAX_BUCKET, MAX_KEY, MAX_VALUE};

mod made {
    crate::generate!({ path: "../../wit/keyvalue" });
}
mod ttl;
mod untold;
mod watch;

pub use made::store::{
    Error as KeyValueError, FUNCTIONS, Handler as KeyValueHandler, KeyPage, Remote as KeyValueRemote,
    Store as KeyValue, interface,
};
pub use ttl::Ttl;
pub use untold::{Untold, Watched, tell};
pub use watch::{Attempts, Change, Settled, Watch, Watcher};

impl KeyValueError {
    /// An error of a backend, in words.
    pub fn other(error: impl std::fmt::Display) -> Self {
        Self::Other(error.to_string())
    }

    /// What `increment` says of a value that is no number, on every backend.
    pub fn not_a_number(key: &str) -> Self {
        Self::Other(format!("the value of {key:?} is not a whole number"))
    }

    /// What `increment` says when the sum does not fit, on every backend.
    pub fn overflow(key: &str) -> Self {
        Self::Other(format!("incrementing {key:?} would exceed {}", i64::MAX))
    }

    /// What `increment` says of a sum that is negative: somebody has set the value to a negative number.
    pub fn below_zero(key: &str) -> Self {
        Self::Other(format!("the value of {key:?} is below zero"))
    }
}

/// How many keys a page has, or a few more.
pub const PAGE: usize = 1000;
/// How many bytes the keys of a page have, or a few more: a page of long keys fits a message of a stock NATS server.
const PAGE_BYTES: usize = 256 * 1024;

/// Makes a page out of keys that come in the order of [`position`], from the cursor on.
#[derive(Debug, Default)]
pub struct PageBuilder {
    page: KeyPage,
    last: u64,
    bytes: usize,
}

impl PageBuilder {
    /// Takes the next key, or returns `false`: the page is full, and the key is the first of the next one. Keys of
    /// the same position stay together, because a cursor cannot point between them.
    pub fn push(&mut self, position: u64, key: impl Into<String>) -> bool {
        let full = self.page.keys.len() >= PAGE || self.bytes >= PAGE_BYTES;
        if full && position != self.last {
            self.page.cursor = Some(self.last + 1);
            return false;
        }
        let key = key.into();
        self.last = position;
        self.bytes += key.len();
        self.page.keys.push(key);
        true
    }

    /// The page; its cursor is there when a key had no room.
    pub fn finish(self) -> KeyPage {
        self.page
    }
}

/// A number as every backend stores it.
pub fn add(key: &str, current: Option<&[u8]>, delta: u64) -> Result<u64, KeyValueError> {
    let current = match current {
        None => 0,
        Some(bytes) => std::str::from_utf8(bytes)
            .ok()
            // Only as it would be written here: what Redis takes for a number, and nothing else.
            .and_then(|t| t.parse::<i64>().ok().filter(|number| number.to_string() == t))
            .ok_or_else(|| KeyValueError::not_a_number(key))?,
    };
    let delta = i64::try_from(delta).map_err(|_| KeyValueError::overflow(key))?;
    let sum = current.checked_add(delta).ok_or_else(|| KeyValueError::overflow(key))?;
    u64::try_from(sum).map_err(|_| KeyValueError::below_zero(key))
}

/// The position of a key in listings that have no order of their own: a cursor is the position after the last key
/// listed, and stays right while keys come and go. FNV-1a, so that it is the same in every process and release.
pub fn position(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Puts the limits of `lattice::wire` in front of a backend, so that a key or value that one backend takes every
/// other takes as well.
pub struct Limited<K>(pub K);

fn bucket_ok(bucket: &str) -> Result<(), KeyValueError> {
    if bucket.len() > MAX_BUCKET || bucket.chars().any(char::is_control) {
        Err(KeyValueError::NoSuchStore)
    } else {
        Ok(())
    }
}

fn key_ok(key: &str) -> Result<(), KeyValueError> {
    if key.len() <= MAX_KEY {
        return Ok(());
    }
    Err(KeyValueError::Other(format!("a key of {} bytes is over the limit of {MAX_KEY} bytes", key.len())))
}

fn value_ok(value: &[u8]) -> Result<(), KeyValueError> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(KeyValueError::Other(format!("a value of {} bytes is over the limit of {MAX_VALUE} bytes", value.len())))
}

fn all_ok<'k>(bucket: &str, keys: impl IntoIterator<Item = Cow<'k, str>>) -> Result<(), KeyValueError> {
    bucket_ok(bucket)?;
    keys.into_iter().try_for_each(|key| key_ok(&key))
}

#[async_trait]
impl<K: KeyValue> KeyValue for Limited<K> {
    async fn get(&self, bucket: String, key: String) -> Result<Option<Bytes>, KeyValueError> {
        all_ok(&bucket, [Cow::from(&key)])?;
        self.0.get(bucket, key).await
    }
    async fn set(&self, bucket: String, key: String, value: Bytes) -> Result<(), KeyValueError> {
        all_ok(&bucket, [Cow::from(&key)])?;
        value_ok(&value)?;
        self.0.set(bucket, key, value).await
    }
    async fn delete(&self, bucket: String, key: String) -> Result<(), KeyValueError> {
        all_ok(&bucket, [Cow::from(&key)])?;
        self.0.delete(bucket, key).await
    }
    async fn exists(&self, bucket: String, key: String) -> Result<bool, KeyValueError> {
        all_ok(&bucket, [Cow::from(&key)])?;
        self.0.exists(bucket, key).await
    }
    async fn list_keys(&self, bucket: String, cursor: Option<u64>) -> Result<KeyPage, KeyValueError> {
        bucket_ok(&bucket)?;
        self.0.list_keys(bucket, cursor).await
    }
    async fn increment(&self, bucket: String, key: String, delta: u64) -> Result<u64, KeyValueError> {
        all_ok(&bucket, [Cow::from(&key)])?;
        self.0.increment(bucket, key, delta).await
    }
    async fn get_many(&self, bucket: String, keys: Vec<String>) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        all_ok(&bucket, keys.iter().map(Cow::from))?;
        self.0.get_many(bucket, keys).await
    }
    async fn set_many(&self, bucket: String, pairs: Vec<(String, Bytes)>) -> Result<(), KeyValueError> {
        all_ok(&bucket, pairs.iter().map(|(key, _)| Cow::from(key)))?;
        pairs.iter().try_for_each(|(_, value)| value_ok(value))?;
        self.0.set_many(bucket, pairs).await
    }
    async fn delete_many(&self, bucket: String, keys: Vec<String>) -> Result<(), KeyValueError> {
        all_ok(&bucket, keys.iter().map(Cow::from))?;
        self.0.delete_many(bucket, keys).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interface_is_one() {
        assert_eq!(interface().package(), "lattice:keyvalue");
    }

    #[test]
    fn numbers_add_up_or_say_why_not() {
        assert_eq!(add("k", None, 3).unwrap(), 3);
        assert_eq!(add("k", Some(b"41"), 1).unwrap(), 42);
        for other in ["x", "", " 1", "+1", "01", "-0", "1.0"] {
            assert_eq!(add("k", Some(other.as_bytes()), 1).unwrap_err(), KeyValueError::not_a_number("k"), "{other}");
        }
        assert_eq!(add("k", Some(b"-5"), 1).unwrap_err(), KeyValueError::below_zero("k"));
        assert_eq!(add("k", Some(i64::MAX.to_string().as_bytes()), 1).unwrap_err(), KeyValueError::overflow("k"));
        assert_eq!(add("k", None, u64::MAX).unwrap_err(), KeyValueError::overflow("k"));
    }

    #[test]
    fn a_page_ends_when_it_is_full_and_never_inside_a_position() {
        let mut builder = PageBuilder::default();
        let taken = (0..).take_while(|n| builder.push(n / 7, n.to_string())).count();
        assert_eq!(taken, PAGE.next_multiple_of(7));
        assert_eq!(builder.finish().cursor, Some(taken as u64 / 7));
        let mut builder = PageBuilder::default();
        let taken = (0..).take_while(|n| builder.push(*n, "k".repeat(MAX_KEY))).count();
        assert_eq!(taken, PAGE_BYTES / MAX_KEY);
        let mut builder = PageBuilder::default();
        assert!(builder.push(u64::MAX, "last"));
        assert_eq!(builder.finish(), KeyPage { keys: vec!["last".into()], cursor: None });
    }
}
