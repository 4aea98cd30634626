//! What this host answers for itself: see [`Question`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lattice::{
    bus::{CallHandler, Pace, Serving},
    model::{
        asked::{self, Question},
        condition::Condition,
        figures::{BOUNDS_US, Figures, LinkFigures, UnitFigures},
        log::Query,
        settings::{Finding, SettingsOf, SettingsOfProgram},
        spy,
    },
    wire::{CallError, CallHead},
};
use rustix::{
    fs::StatVfs,
    process::{Resource, getrlimit},
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::{Surroundings, check};
use crate::{events::Events, logbook};

/// Answers whoever asks, until what is returned is dropped.
pub(crate) async fn serve(here: &Arc<Surroundings>, events: Arc<Events>, spied: bool) -> Result<Serving, CallError> {
    let wrong = |error: lattice::wire::IdError| CallError::BadMessage(error.to_string());
    let served = asked::served(here.bus.lattice(), &here.host).map_err(wrong)?;
    let answers = Answers { here: here.clone(), events, spied, checks: Semaphore::new(CHECKS) };
    here.bus.serve(&served, Arc::new(answers), Pace::Light).await
}

/// Programs that are asked about their settings at a time.
const CHECKS: usize = 4;

struct Answers {
    here: Arc<Surroundings>,
    events: Arc<Events>,
    /// Whether calls are shown to whoever asks.
    spied: bool,
    checks: Semaphore,
}

impl Answers {
    /// How the machine is. What cannot be told is 0.
    fn condition(&self) -> Condition {
        let disk = rustix::fs::statvfs(&self.here.data).ok();
        let disk = |blocks: fn(&StatVfs) -> u64| disk.as_ref().map_or(0, |disk| blocks(disk) * disk.f_frsize);
        Condition {
            clock_ms: super::started(),
            data: self.here.data.display().to_string(),
            disk_free: disk(|disk| disk.f_bavail),
            disk_size: disk(|disk| disk.f_blocks),
            files_open: std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
            files_most: getrlimit(Resource::Nofile).current.unwrap_or(0),
            unkept: self.here.metrics.unkept(),
        }
    }

    fn figures(&self) -> Figures {
        let units = self.here.metrics.units().into_iter();
        let links = self.here.router.sent().into_iter();
        Figures {
            bounds_us: BOUNDS_US.into(),
            units: units
                .map(|(unit, counts)| UnitFigures { unit, starts: counts.starts(), calls: counts.calls() })
                .collect(),
            links: links.map(|((from, to), counts)| LinkFigures { from, to, calls: counts.calls() }).collect(),
        }
    }
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
                serde_json::to_vec(&all.iter().map(check::check).collect::<Vec<Finding>>())
            }
            Question::Program => {
                let (of,): (SettingsOfProgram,) = serde_json::from_slice(&payload).map_err(wrong)?;
                let permit = self.checks.try_acquire();
                let _permit = permit.map_err(|_| CallError::Overloaded("the check of programs".to_owned()))?;
                let said = check::check_program(&self.here, &of).await;
                serde_json::to_vec(&said.map_err(|error| CallError::NotServed(error.to_string()))?)
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
                serde_json::to_vec(&self.here.router.spy().read(query, after))
            }
        };
        Ok(answer.map_err(wrong)?.into())
    }
}
