//! What providers say of settings before anything changes, when somebody asks this host.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use lattice::model::{
    app::ProcessLimits,
    secret::{self, ReferenceError},
    settings::{Finding, SettingsOf, SettingsOfProgram, setting},
};
use lattice_provider::{Check, Checked, Lines, Order, Report};
use serde_json::{Map, Value};
use tokio::process::Child;
use uuid::Uuid;

use super::{
    builtin, limits,
    process::{end_now, spawn},
    program::{self, ProgramError},
    surroundings::Surroundings,
};
use crate::trust::Distrust;

/// How long a program may take to say something; whoever asks waits a little longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// So much of what it says is told, in characters.
const MAX_FINDING: usize = 1000;

/// Why a program cannot be asked here.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unasked {
    #[error(transparent)]
    Distrust(#[from] Distrust),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("cannot start {image}: {source}")]
    Start { image: String, source: io::Error },
}

/// What a provider of the catalog says.
pub(super) fn check(of: &SettingsOf) -> Finding {
    let finding = builtin::check(&of.kind, &without_secrets(&of.config)?, &of.unit).err()?;
    told(finding, &of.config)
}

/// What a program of a user says. One that does not know the question says nothing, and is ended.
pub(super) async fn check_program(here: &Surroundings, of: &SettingsOfProgram) -> Result<Finding, Unasked> {
    let Some(config) = without_secrets(&of.config) else { return Ok(None) };
    here.trust.check(&here.bus, &BTreeSet::from([of.program.digest.clone()])).await?;
    let path = program::fetch(here, &of.program.digest).await?;
    let failed = |source| Unasked::Start { image: of.program.image.clone(), source };
    let folder = Folder::make(&here.data).map_err(failed)?;
    let mut command = program::command(&path, &of.program);
    command.current_dir(&folder.0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = spawn(&mut command).await.map_err(failed)?;
    let limited = child.id().map_or(Ok(()), |process| limits::begin(process, ProcessLimits::default()));
    let question = Order::Check(Box::new(Check { unit: of.unit.clone(), config }));
    let said = match limited {
        Ok(()) => Ok(tokio::time::timeout(PATIENCE, answer(&mut child, &question)).await.ok().flatten()),
        Err(error) => Err(failed(error)),
    };
    end_now(&mut child);
    // It has been killed, and nobody else waits for it.
    let _ = child.wait().await;
    Ok(said?.and_then(|said| told(said.wrong?, &of.config)))
}

/// Where a program is that has no folder of its own yet; gone with what it has written there.
struct Folder(PathBuf);

impl Folder {
    fn make(data: &Path) -> io::Result<Self> {
        let folder = data.join("checks").join(Uuid::now_v7().to_string());
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, folder = %self.0.display(), "a folder cannot be removed");
        }
    }
}

/// `None` from one that ends, or says something else.
async fn answer(child: &mut Child, question: &Order) -> Option<Checked> {
    let (mut orders, mut lines) = (child.stdin.take()?, Lines::new(child.stdout.take()?));
    // One that does not read it has ended, and its output with it.
    let _ = question.send(&mut orders).await;
    match lines.report(drop).await? {
        Report::Checked(checked) => Some(checked),
        _ => None,
    }
}

/// Secrets are not looked up: whoever may ask would learn of them from what is wrong with them. A setting with a secret in
/// it has something else there.
fn without_secrets(config: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut read = |_: &secret::SecretSource| Ok::<_, ReferenceError>(String::new());
    secret::resolve(config, &mut read).ok()
}

/// What is said of a setting with a secret in it means nothing.
fn told(finding: String, config: &Map<String, Value>) -> Finding {
    let has_secret = config.iter().any(|(key, value)| {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        setting(&finding) == key && !secret::references(&alone).is_empty()
    });
    (!has_secret).then(|| finding.chars().take(MAX_FINDING).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: &str, config: Value) -> Finding {
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
