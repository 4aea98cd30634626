//! What the page may change, each as the command of its name does it.

use std::time::Duration;

use http::StatusCode;
use lattice::{
    model::app::{MAX_REPLICAS, Scale},
    wire::UnitId,
};
use lattice_view::page::{Change, Changes, Refusal};

use crate::{
    cli::{Format, Global, HostCommand, RollbackArgs, RolloutCommand, ScaleArgs, Waiting},
    failure::{Failure, Result},
    history, host,
    output::Output,
    rollout,
};

/// The commands, with the options that `ui` was given.
pub(super) struct Commands(pub(super) Global);

impl Changes for Commands {
    async fn make(&self, change: Change) -> std::result::Result<String, Refusal> {
        make(&self.0, change).await.map_err(|failure| Refusal {
            status: match failure.exit_code() {
                4 => StatusCode::BAD_GATEWAY,
                6 => StatusCode::NOT_FOUND,
                7 => StatusCode::CONFLICT,
                _ => StatusCode::BAD_REQUEST,
            },
            error: failure.to_string(),
            help: failure.help(),
        })
    }
}

/// The page shows how it goes on.
const WAITING: Waiting = Waiting { no_wait: true, timeout: Duration::ZERO };

/// Does it, and returns what the command says.
async fn make(global: &Global, change: Change) -> Result<String> {
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
