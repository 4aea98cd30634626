//! `cargo xtask demo --check`: the backend is swapped three times while 16 connections count, and not one number may be
//! missing, doubled or late beyond the deadline.
//!
//! Each backend begins with its own, empty data, so it gives out 1, 2, 3, ... A call in flight during a swap ends on the
//! old backend. All numbers together must therefore be four unbroken sequences that begin at 1.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{
    Demo,
    load::{Answer, Load},
    servers::Redis,
};
use crate::project::{capture, step};

const CONNECTIONS: usize = 16;
/// Answers after each swap, before the next one: four of them make more than 2,000 in all.
const ANSWERS_PER_BACKEND: u64 = 500;
const ANSWERS_AT_LEAST: u64 = 2_000;
/// Without any answer for this long, the app is down.
const SILENCE: Duration = Duration::from_secs(30);
/// Failures that are shown; the rest is only counted.
const SHOWN: usize = 5;

/// What the answers have shown so far.
#[derive(Default)]
struct Tally {
    answers: u64,
    /// How often each number came.
    numbers: BTreeMap<u64, u64>,
    failures: Vec<String>,
    /// The longest that any one request took: a connection waits for its answer, so this is a caller's longest pause.
    longest: Duration,
}

impl Tally {
    fn add(&mut self, answer: Answer) {
        self.answers += 1;
        self.longest = self.longest.max(answer.took);
        match answer.outcome {
            Ok(number) => *self.numbers.entry(number).or_default() += 1,
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }

    /// Takes what came until now, and then so many more answers: those are of the backend that serves now.
    fn take(&mut self, load: &Load, more: u64, demo: &Demo) -> Result<()> {
        load.waiting().for_each(|answer| self.add(answer));
        let enough = self.answers + more;
        while self.answers < enough {
            if demo.interrupt.is_set() {
                bail!("interrupted");
            }
            let silent_since = Instant::now();
            let Some(answer) = load.next(SILENCE) else {
                bail!("no answer for {} s", silent_since.elapsed().as_secs());
            };
            self.add(answer);
        }
        Ok(())
    }

    /// What is wrong with the numbers, if they are not `sequences` unbroken sequences from 1 on.
    fn judge(&self, sequences: u64) -> Result<()> {
        if !self.failures.is_empty() {
            let shown = self.failures.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
            bail!("{} of {} requests failed:\n  {shown}", self.failures.len(), self.answers);
        }
        let firsts = self.numbers.get(&1).copied().unwrap_or(0);
        if firsts != sequences {
            bail!("{firsts} backends began to count at 1, expected {sequences}");
        }
        // In unbroken sequences a number comes at most as often as the one before it.
        let mut before = (1, firsts);
        for (&number, &times) in &self.numbers {
            if number > before.0 + 1 {
                bail!("lost: {} was never given out, but {number} was", before.0 + 1);
            }
            if times > before.1 {
                bail!("{number} came {times} times, but {} only {}: a number is lost or doubled", before.0, before.1);
            }
            before = (number, times);
        }
        if self.answers < ANSWERS_AT_LEAST {
            bail!("only {} requests, expected at least {ANSWERS_AT_LEAST}", self.answers);
        }
        Ok(())
    }
}

/// Swaps memory -> nats -> redis -> redb under load, and judges all answers. Gives the line that says it went well.
pub(super) fn run(demo: &Demo, redis_server: &Path) -> Result<String> {
    let redis = step("redis-server: starting", || Redis::start(redis_server, demo.dir.path(), &demo.interrupt))?;
    let redis_config = format!("keyvalue-redis, config: {{ url: \"{}\" }}", redis.url);
    let swaps = [("nats", "keyvalue-nats"), ("redis", redis_config.as_str()), ("redb", "keyvalue-redb")];

    let mut tally = Tally::default();
    let mut digests = BTreeSet::new();
    let mut backends = vec!["memory"];
    let load = Load::start(&demo.address, CONNECTIONS);
    digests.insert(digest(demo)?);
    step("memory: counting", || tally.take(&load, ANSWERS_PER_BACKEND, demo))?;
    for (name, provider) in swaps {
        set_backend(&demo.manifest, provider)?;
        step(&format!("swapping to {name} under load"), || demo.apply())?;
        step(&format!("{name}: counting"), || tally.take(&load, ANSWERS_PER_BACKEND, demo))?;
        digests.insert(digest(demo)?);
        backends.push(name);
    }
    load.finish().into_iter().for_each(|answer| tally.add(answer));

    tally.judge(backends.len() as u64)?;
    let digests: Vec<_> = digests.into_iter().collect();
    let [digest] = digests.as_slice() else { bail!("the component changed on the way: {}", digests.join(", ")) };
    Ok(format!(
        "demo: ok, {} requests, 0 failed, digest {digest}, backends {}, longest pause {} ms",
        tally.answers,
        backends.join(" "),
        tally.longest.as_millis()
    ))
}

/// Changes the one line of the manifest that says what `cache` is.
fn set_backend(manifest: &Path, provider: &str) -> Result<()> {
    let text = fs::read_to_string(manifest)?;
    let mut changed = 0;
    let lines: Vec<_> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("cache: {") {
            Some(_) => {
                changed += 1;
                let indent = &line[..line.len() - line.trim_start().len()];
                format!("{indent}cache: {{ use: {provider} }}")
            }
            None => line.to_owned(),
        })
        .collect();
    if changed != 1 {
        bail!("{} has {changed} lines that say what `cache` is, expected one", manifest.display());
    }
    fs::write(manifest, lines.join("\n") + "\n").context("cannot write the manifest")
}

/// The digest of the one component that runs.
fn digest(demo: &Demo) -> Result<String> {
    let text = capture(demo.ctl()?.args(["get", "components", "-o", "json"]))?;
    let value: Value = serde_json::from_str(&text).with_context(|| format!("`get components -o json` gave {text}"))?;
    let mut found = BTreeSet::new();
    find_digests(&value, &mut found);
    match found.pop_first() {
        Some(digest) if found.is_empty() => Ok(digest),
        _ => bail!("expected the digest of one component in {text}"),
    }
}

fn find_digests(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if text.starts_with("sha256:") => {
            found.insert(text.clone());
        }
        Value::Array(values) => values.iter().for_each(|value| find_digests(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| find_digests(value, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: &[u64]) -> Tally {
        let mut tally = Tally::default();
        for number in sequences.iter().flat_map(|last| 1..=*last) {
            tally.add(Answer { outcome: Ok(number), took: Duration::ZERO });
        }
        tally
    }

    #[test]
    fn unbroken_sequences_pass() {
        assert!(tally(&[700, 500, 500, 501]).judge(4).is_ok());
    }

    #[test]
    fn a_lost_a_doubled_and_a_failed_one_do_not() {
        let mut lost = tally(&[700, 500, 500, 501]);
        lost.numbers.remove(&650);
        assert!(lost.judge(4).is_err());
        let mut doubled = tally(&[700, 500, 500, 501]);
        *doubled.numbers.entry(650).or_default() += 1;
        assert!(doubled.judge(4).is_err());
        let mut failed = tally(&[700, 500, 500, 501]);
        failed.failures.push("status 503".to_owned());
        assert!(failed.judge(4).is_err());
        assert!(tally(&[700, 500, 500, 501]).judge(5).is_err());
        assert!(tally(&[100, 100, 100, 100]).judge(4).is_err());
    }

    #[test]
    fn exactly_one_line_is_edited() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "a: b\n    cache: { use: keyvalue-memory } # note\n# cache: { use: x }\n")?;
        set_backend(file.path(), "keyvalue-redb")?;
        assert_eq!(fs::read_to_string(file.path())?, "a: b\n    cache: { use: keyvalue-redb }\n# cache: { use: x }\n");
        fs::write(file.path(), "nothing: here\n")?;
        assert!(set_backend(file.path(), "keyvalue-redb").is_err());
        Ok(())
    }
}
