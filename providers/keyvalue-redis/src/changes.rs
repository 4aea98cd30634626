//! What has changed in watched buckets and is not told yet: a sorted set in Redis itself for each of them, written in one
//! transaction with the change.
//!
//! Only what goes through this provider is noted; what other programs write into the same Redis is not.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use lattice_provider::keyvalue::{Change, KeyValueError, Untold};
use redis::Cmd;

use crate::Keys;

/// Gives each of the keys in ARGV a new number.
const NOTE: &str = "for _, key in ipairs(ARGV) do redis.call('ZADD', KEYS[1], redis.call('INCR', KEYS[2]), key) end";
/// Deletes keys, ARGV[1] before each of the others, and notes those that were there.
const DELETE: &str = "for i = 2, #ARGV do if redis.call('DEL', ARGV[1] .. ARGV[i]) == 1 then redis.call('ZADD', KEYS[1], \
                      redis.call('INCR', KEYS[2]), ARGV[i]) end end";
/// The first key, its number and its value, for the instance ARGV[1]; nobody else gets one for ARGV[2] milliseconds.
const NEXT: &str = "local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES') if #first == 0 then return nil end local \
                    claimed = redis.call('GET', KEYS[2]) if claimed and claimed ~= ARGV[1] then return nil end \
                    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) return {first[1], first[2], redis.call('GET', ARGV[3] \
                    .. first[1])}";
/// Removes the key ARGV[1] where it still has the number ARGV[2].
const TOLD: &str = "if redis.call('ZSCORE', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('ZREM', KEYS[1], ARGV[1]) end";

fn script(text: &str, keys: [String; 2]) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(2).arg(&keys);
    command
}

impl Keys {
    /// Where it is kept which keys of a bucket have changed, and the numbers that they get.
    fn untold(&self, bucket: &str) -> [String; 2] {
        ["untold", "numbers"].map(|what| self.own(what, bucket))
    }

    /// Notes that keys have changed.
    pub(crate) fn note<'k>(&self, bucket: &str, keys: impl IntoIterator<Item = &'k str>) -> Cmd {
        let mut command = script(NOTE, self.untold(bucket));
        for key in keys {
            command.arg(key);
        }
        command
    }

    /// Deletes keys, and notes those that were there.
    pub(crate) fn delete_and_note<'k>(&self, bucket: &str, keys: impl IntoIterator<Item = &'k str>) -> Cmd {
        let mut command = script(DELETE, self.untold(bucket));
        command.arg(self.prefix(bucket));
        for key in keys {
            command.arg(key);
        }
        command
    }
}

#[async_trait]
impl Untold for Keys {
    async fn next(&self, bucket: &str, claim: Duration) -> Result<Option<(u64, Change)>, KeyValueError> {
        let [untold, _] = self.untold(bucket);
        let mut next = script(NEXT, [untold, self.own("claim", bucket)]);
        next.arg(self.watched.id()).arg(claim.as_millis() as u64).arg(self.prefix(bucket));
        let found: Option<(String, String, Option<Bytes>)> = self.ask(&next).await?;
        let Some((key, number, value)) = found else { return Ok(None) };
        let number = number.parse().map_err(KeyValueError::other)?;
        Ok(Some((number, Change { bucket: bucket.to_owned(), key, value })))
    }

    async fn told(&self, bucket: &str, key: &str, number: u64) -> Result<(), KeyValueError> {
        let mut told = script(TOLD, self.untold(bucket));
        self.ask(told.arg(key).arg(number.to_string())).await
    }

    async fn more(&self, bucket: &str) {
        self.watched.more_of_all(bucket).await;
    }
}
