//! What the page may change, each as the command of its name does it.

use std::time::Duration;

use lattice::{
    model::app::{MAX_REPLICAS, Scale},
    wire::{AppName, HostId, UnitId, UnitName},
};
use serde::Deserialize;

use crate::{
    cli::{Format, Global, HostCommand, RollbackArgs, RolloutCommand, ScaleArgs, Waiting},
    failure::{Failure, Result},
    history, host,
    output::Output,
    rollout,
};

/// The page shows how it goes on.
const WAITING: Waiting = Waiting { no_wait: true, timeout: Duration::ZERO };

/// What somebody has asked for.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Change {
    Scale { app: AppName, unit: UnitName, replicas: u32 },
    Rollback { app: AppName },
    Pause { app: AppName },
    Resume { app: AppName },
    Cordon { host: HostId },
    Uncordon { host: HostId },
}

/// Does it, and returns what the command says.
pub(super) async fn make(global: &Global, change: Change) -> Result<String> {
    let (mut output, said) = Output::captured(Format::Table);
    match change {
        Change::Scale { replicas, .. } if replicas > MAX_REPLICAS => {
            return Err(Failure::Refused {
                message: format!("{replicas} copies are too many"),
                help: format!("{MAX_REPLICAS} is the most"),
            });
        }
        Change::Scale { app, unit, replicas } => {
            let args = ScaleArgs { unit: UnitId::new(app, unit), scale: Scale::Replicas(replicas), waiting: WAITING };
            history::scale(global, &args, &mut output).await?;
        }
        Change::Rollback { app } => {
            let args = RollbackArgs { app: app.to_string(), to: None, waiting: WAITING };
            history::rollback(global, &args, &mut output).await?;
        }
        Change::Pause { app } => {
            rollout::run(global, &RolloutCommand::Pause { app: app.to_string() }, &mut output).await?;
        }
        Change::Resume { app } => {
            let command = RolloutCommand::Resume { app: app.to_string(), waiting: WAITING };
            rollout::run(global, &command, &mut output).await?;
        }
        Change::Cordon { host } => {
            let command = HostCommand::Cordon { host: host.to_string(), reason: "by the dashboard".to_owned() };
            host::run(global, &command, &mut output).await?;
        }
        Change::Uncordon { host } => {
            host::run(global, &HostCommand::Uncordon { host: host.to_string() }, &mut output).await?;
        }
    }
    Ok((said.out() + &said.remarks()).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_and_what_is_none_is_refused() {
        let scale: Change = serde_json::from_str(r#"{"do":"scale","app":"shop","unit":"cart","replicas":3}"#).unwrap();
        assert!(matches!(scale, Change::Scale { replicas: 3, .. }), "{scale:?}");
        for wrong in [
            r#"{"do":"delete","app":"shop"}"#,
            r#"{"do":"scale","app":"shop","unit":"cart","replicas":-1}"#,
            r#"{"do":"scale","app":"shop/../x","unit":"cart","replicas":1}"#,
            r#"{"do":"cordon","host":"somebody"}"#,
            r#"{"do":"pause"}"#,
        ] {
            assert!(serde_json::from_str::<Change>(wrong).is_err(), "{wrong}");
        }
    }
}
