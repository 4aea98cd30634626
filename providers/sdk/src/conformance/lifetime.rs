//! Lifetimes: an entry is there until its time is over, and each write begins that anew.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Check, Subject, same};

/// How much earlier than it should an entry may go: clocks have steps.
const STEP: Duration = Duration::from_millis(20);
/// How much later: a backend may look in turns.
const LATE: Duration = Duration::from_secs(10);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(10);

/// A backend under test whose entries live for `lifetime`.
#[derive(Clone)]
pub(super) struct Mortal {
    pub(super) subject: Subject,
    pub(super) lifetime: Duration,
}

/// All ways of writing.
const WRITES: [Write; 3] = [Write::Set, Write::SetMany, Write::Increment];

#[derive(Debug, Clone, Copy)]
enum Write {
    Set,
    SetMany,
    Increment,
}

impl Mortal {
    /// Writes, and returns from when on the entry has certainly lived.
    async fn write(&self, write: Write, key: &str) -> Result<Instant, String> {
        let began = Instant::now();
        match write {
            Write::Set => self.subject.set(key, "1").await?,
            Write::SetMany => self.subject.set_many([(key.to_owned(), Bytes::from("1"))]).await?,
            Write::Increment => {
                self.subject.increment(key, 1).await?;
            }
        }
        Ok(began)
    }

    /// Waits until `key` is not there, and looks that it was not too early.
    async fn wait_until_gone(&self, key: &str, written: Instant) -> Check {
        while self.subject.get(key).await?.is_some() {
            if written.elapsed() > self.lifetime + LATE {
                return Err(format!("{key:?} is there after {:?} of {:?}", written.elapsed(), self.lifetime));
            }
            tokio::time::sleep(LOOK).await;
        }
        let lived = written.elapsed();
        same(format!("whether {key:?} went after {lived:?}, too early"), lived + STEP < self.lifetime, false)
    }
}

pub(super) async fn an_entry_lives_as_long_as_it_should(mortal: Mortal) -> Check {
    let subject = &mortal.subject;
    for write in WRITES {
        let key = format!("{write:?}");
        let written = mortal.write(write, &key).await?;
        mortal.wait_until_gone(&key, written).await?;
        same(format!("whether {key:?} exists"), subject.exists(&key).await?, false)?;
        same(format!("{key:?} among many"), subject.get_many(&[&key]).await?, vec![None])?;
        same("the keys that are left", subject.list_all().await?, vec![])?;
        subject.delete(&key).await?;
    }
    Ok(())
}

pub(super) async fn each_write_begins_a_lifetime_anew(mortal: Mortal) -> Check {
    for write in WRITES {
        let key = format!("{write:?}");
        let mut written = mortal.write(write, &key).await?;
        let mut since = written;
        // Longer than two lifetimes without a pause in which it may have gone.
        while since.elapsed() < mortal.lifetime * 2 {
            tokio::time::sleep(mortal.lifetime / 4).await;
            let is_there = mortal.subject.get(&key).await?.is_some();
            if written.elapsed() + STEP > mortal.lifetime {
                since = Instant::now();
            } else if !is_there {
                let (age, life) = (written.elapsed(), since.elapsed());
                return Err(format!(
                    "{key:?} is gone {age:?} after it was written, and {life:?} after it began to live"
                ));
            }
            written = mortal.write(write, &key).await?;
        }
        mortal.wait_until_gone(&key, written).await?;
    }
    Ok(())
}

pub(super) async fn what_has_gone_is_as_if_it_had_never_been(mortal: Mortal) -> Check {
    let subject = &mortal.subject;
    let written = Instant::now();
    subject.set_many([("n".to_owned(), Bytes::from("41")), ("text".to_owned(), Bytes::from("no number"))]).await?;
    mortal.wait_until_gone("n", written).await?;
    mortal.wait_until_gone("text", written).await?;
    same("a number that was 41, and 2", subject.increment("n", 2).await?, 2)?;
    same("what was no number, and 3", subject.increment("text", 3).await?, 3)
}

pub(super) async fn of_many_only_those_are_listed_that_live(mortal: Mortal) -> Check {
    let subject = &mortal.subject;
    let pairs = (0..500).map(|n| (format!("k{n}"), Bytes::from("v")));
    subject.set_many(pairs).await?;
    let filled = Instant::now();
    loop {
        let written = mortal.write(Write::Set, "kept").await?;
        let listed = subject.list_all().await?;
        let is_kept = listed.iter().any(|key| key == "kept");
        if !is_kept && written.elapsed() + STEP < mortal.lifetime {
            return Err(format!("a key that lives is not among the {} listed", listed.len()));
        }
        if is_kept && listed.len() == 1 {
            return Ok(());
        }
        if filled.elapsed() > mortal.lifetime + LATE {
            return Err(format!("{} keys are listed, and one lives", listed.len()));
        }
        tokio::time::sleep(LOOK).await;
    }
}
