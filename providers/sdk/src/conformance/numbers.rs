//! Increments: one step each, whoever else is at it.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Check, Subject, failed, same};
use crate::keyvalue::KeyValueError;

const TASKS: u64 = 16;
const EACH: u64 = 50;

impl Subject {
    async fn try_increment(&self, key: &str, delta: u64) -> Result<u64, KeyValueError> {
        self.backend.increment(self.bucket.clone(), key.into(), delta).await
    }

    pub(super) async fn increment(&self, key: &str, delta: u64) -> Result<u64, String> {
        self.try_increment(key, delta).await.map_err(failed(format!("increment {key:?} by {delta}")))
    }
}

pub(super) async fn numbers_add_up(subject: Subject) -> Check {
    same("an absent number and 3", subject.increment("n", 3).await?, 3)?;
    same("as text", subject.get("n").await?, Some(Bytes::from("3")))?;
    same("and 0", subject.increment("n", 0).await?, 3)?;
    subject.set("n", "41").await?;
    same("41 and 1", subject.increment("n", 1).await?, 42)?;
    subject.delete("n").await?;
    same("a deleted number and 2", subject.increment("n", 2).await?, 2)?;
    subject.set("n", "-5").await?;
    same("-5 and 7", subject.increment("n", 7).await?, 2)?;
    same("an odd key and 1", subject.increment("a.b *>/=:\n%", 1).await?, 1)
}

pub(super) async fn what_is_no_number_stays(subject: Subject) -> Check {
    let refused = |key: &str| Err(KeyValueError::Other(format!("the value of {key:?} is not a whole number")));
    for other in [&b"abc"[..], b"", b" 1", b"+1", b"01", b"1.5", b"\xff", b"99999999999999999999"] {
        subject.set("text", other).await?;
        same(format!("{other:?} and 1"), subject.try_increment("text", 1).await, refused("text"))?;
        same("the value after that", subject.get("text").await?, Some(Bytes::from(other)))?;
    }
    let overflow =
        |key: &str| Err(KeyValueError::Other(format!("incrementing {key:?} would exceed 9223372036854775807")));
    let most = i64::MAX.to_string();
    subject.set("most", most.clone()).await?;
    same("the most and 1", subject.try_increment("most", 1).await, overflow("most"))?;
    same("an absent number and too much", subject.try_increment("absent", u64::MAX).await, overflow("absent"))?;
    same("the most after that", subject.get("most").await?, Some(most.into()))?;
    same("the absent number after that", subject.get("absent").await?, None)?;
    subject.set("below", "-5").await?;
    let below = Err(KeyValueError::Other("the value of \"below\" is below zero".into()));
    same("-5 and 1", subject.try_increment("below", 1).await, below)
}

pub(super) async fn nothing_is_lost_between_tasks(subject: Subject) -> Check {
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let subject = subject.clone();
        tasks.spawn(async move {
            let mut sums = Vec::new();
            for _ in 0..EACH {
                let sum = subject.increment("n", 1).await?;
                let seen = subject.get("n").await?.and_then(|v| String::from_utf8_lossy(&v).parse::<u64>().ok());
                if seen.is_none_or(|seen| seen < sum) {
                    return Err(format!("read {seen:?} after the sum was {sum}"));
                }
                sums.push(sum);
            }
            Ok(sums)
        });
    }
    let mut sums = BTreeSet::new();
    while let Some(outcome) = tasks.join_next().await {
        sums.extend(outcome.map_err(|e| e.to_string())??);
    }
    same("how many different sums there were", sums.len() as u64, TASKS * EACH)?;
    same("the number in the end", subject.get("n").await?, Some((TASKS * EACH).to_string().into()))
}
