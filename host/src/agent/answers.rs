//! What this host answers for itself: see [`Question`].

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{CallHandler, Pace, Serving},
    model::{
        asked::{self, Question},
        condition::Condition,
        figures::{BOUNDS_US, Figures, LinkFigures, UnitFigures},
        log::Query,
        secret::{self, ReferenceError},
        settings::{Finding, SettingsOf, setting},
        spy,
    },
    wire::{CallError, CallHead},
};
use rustix::{
    fs::StatVfs,
    process::{Resource, getrlimit},
};
use serde_json::Map;
use uuid::Uuid;

use super::{Surroundings, builtin};
use crate::{events::Events, links::Router, logbook, metrics::Metrics};

/// Answers whoever asks, until what is returned is dropped.
pub(crate) async fn serve(here: &Surroundings, events: Arc<Events>, spied: bool) -> Result<Serving, CallError> {
    let wrong = |error: lattice::wire::IdError| CallError::BadMessage(error.to_string());
    let served = asked::served(here.bus.lattice(), &here.host).map_err(wrong)?;
    let (data, metrics, router) = (here.data.clone(), here.metrics.clone(), here.router.clone());
    let answers = Answers { data, metrics, router, events, spied };
    here.bus.serve(&served, Arc::new(answers), Pace::Light).await
}

struct Answers {
    data: PathBuf,
    metrics: Arc<Metrics>,
    router: Arc<Router>,
    events: Arc<Events>,
    /// Whether calls are shown to whoever asks.
    spied: bool,
}

impl Answers {
    /// How the machine is. What cannot be told is 0.
    fn condition(&self) -> Condition {
        let disk = rustix::fs::statvfs(&self.data).ok();
        let disk = |blocks: fn(&StatVfs) -> u64| disk.as_ref().map_or(0, |disk| blocks(disk) * disk.f_frsize);
        Condition {
            clock_ms: super::started(),
            data: self.data.display().to_string(),
            disk_free: disk(|disk| disk.f_bavail),
            disk_size: disk(|disk| disk.f_blocks),
            files_open: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            files_most: getrlimit(Resource::Nofile).current.unwrap_or(0),
            unkept: self.metrics.unkept(),
        }
    }

    fn figures(&self) -> Figures {
        let units = self.metrics.units().into_iter();
        let links = self.router.sent().into_iter();
        Figures {
            bounds_us: BOUNDS_US.into(),
            units: units
                .map(|(unit, counts)| UnitFigures { unit, starts: counts.starts(), calls: counts.calls() })
                .collect(),
            links: links.map(|((from, to), counts)| LinkFigures { from, to, calls: counts.calls() }).collect(),
        }
    }
}

/// What the provider says. Secrets are not looked up: whoever may ask would learn of them from what is wrong with them. A
/// setting with a secret in it has something else there, and what is said of it means nothing.
fn check(of: &SettingsOf) -> Finding {
    let mut read = |_: &secret::SecretSource| Ok::<_, ReferenceError>(String::new());
    let config = secret::resolve(&of.config, &mut read).ok()?;
    let finding = builtin::check(&of.kind, &config, &of.unit).err()?;
    let has_secret = of.config.iter().any(|(key, value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        setting(&finding) == key && !secret::references(&alone).is_empty()
    });
    (!has_secret).then_some(finding)
}

#[async_trait]
impl CallHandler for Answers {
    async fn call(&self, head: CallHead, payload: Bytes) -> Result<Bytes, CallError> {
        let wrong = |error: serde_json::Error| CallError::BadMessage(error.to_string());
        let question = Question::of(&head.function);
        let question =
            question.ok_or_else(|| CallError::NotServed(format!("a host has no function `{}`", head.function)))?;
        let answer = match question {
            Question::Settings => {
                let (all,): (Vec<SettingsOf>,) = serde_json::from_slice(&payload).map_err(wrong)?;
                serde_json::to_vec(&all.iter().map(check).collect::<Vec<Finding>>())
            }
            Question::Condition => serde_json::to_vec(&self.condition()),
            Question::Log => {
                let (query,): (Query,) = serde_json::from_slice(&payload).map_err(wrong)?;
                serde_json::to_vec(&logbook::read(&query))
            }
            Question::Figures => serde_json::to_vec(&self.figures()),
            Question::Events => {
                let (after,): (Option<Uuid>,) = serde_json::from_slice(&payload).map_err(wrong)?;
                serde_json::to_vec(&self.events.read(after))
            }
            Question::Spy if !self.spied => {
                return Err(CallError::Denied("this host shows no calls: it was started with --no-spy".to_owned()));
            }
            Question::Spy => {
                let (query, after): (spy::Query, Option<u64>) = serde_json::from_slice(&payload).map_err(wrong)?;
                serde_json::to_vec(&self.router.spy().read(query, after))
            }
        };
        Ok(answer.map_err(wrong)?.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: &str, config: serde_json::Value) -> Finding {
        let config = config.as_object().unwrap().clone();
        check(&SettingsOf { unit: "shop/it".parse().unwrap(), kind: kind.to_owned(), config })
    }

    #[test]
    fn a_setting_with_a_secret_is_not_judged_and_the_others_are() {
        assert_eq!(said("keyvalue-redis", json!({ "url": { "secret": "url" } })), None);
        assert_eq!(said("http-client", json!({ "maxConnections": { "secret": "x" } })), None);
        let wrong = said("keyvalue-redis", json!({ "url": { "secret": "url" }, "ttl": "soon" })).unwrap();
        assert!(wrong.starts_with("ttl: "), "{wrong}");
        let wrong = said("http-server", json!({ "address": "127.0.0.1:0", "maxBody": "big" })).unwrap();
        assert!(wrong.starts_with("maxBody: "), "{wrong}");
        assert_eq!(said("no-such-kind", json!({})), None, "another release may have it");
    }
}
