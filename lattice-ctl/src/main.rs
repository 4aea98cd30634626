//! `lattice-ctl`: says what it will do to a lattice, does it, waits until it is so, and explains what is not.
//!
//! A command lives in the module of its name. [`failure`] is what can go wrong, printed once, here at the edge;
//! [`output`] is the only way to stdout. What the lattice looks like is `lattice_view`'s.

mod apply;
mod artifact;
mod build;
mod bundle;
mod call;
mod child;
mod cli;
mod component;
mod conform;
mod contexts;
mod defaults;
mod delete;
mod dev;
mod doctor;
mod events;
mod explain;
mod failure;
mod foreign;
mod get;
mod history;
mod host;
mod image;
mod inspect;
mod logs;
mod nats;
mod new;
mod output;
mod plan;
mod problems;
mod program;
mod progress;
mod project;
mod push;
mod quota;
mod rates;
mod record;
#[cfg(test)]
mod reference;
mod replay;
mod revision;
mod rollout;
mod schema;
mod secrets;
mod settings;
mod shape;
mod source;
mod spy;
mod status;
mod toolchain;
mod top;
mod ui;
mod up;
mod wait;
mod why;
mod wit;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use lattice::model::wadm;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command, ConvertArgs},
    failure::{Failure, Result},
    output::Output,
    source::Source,
};

#[tokio::main]
async fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // The commands tell what matters themselves; a log is for whoever asks for it.
    // That a connection was lost is no news from one that takes away what it is connected to.
    let level = if matches!(cli.command, Command::Conform(_)) { "error,async_nats=off" } else { "warn,async_nats=off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let mut output = Output::terminal(cli.global.output, cli.global.color);
    // One that is broken must not keep anybody from mending it.
    let applied = match cli.command {
        Command::Ctx(_) => Ok(()),
        _ => contexts::apply(&mut cli.global, &matches),
    };
    let outcome = match applied {
        Ok(()) => run(cli, &mut output).await,
        Err(failure) => Err(failure),
    };
    match outcome {
        // Whoever reads our output has seen enough.
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(Failure::WouldChange) => ExitCode::from(Failure::WouldChange.exit_code()),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Prints what a manifest of wadm becomes.
fn convert(args: &ConvertArgs, output: &mut Output) -> Result<()> {
    let source = Source::read(&args.file)?;
    if !wadm::is_one(&source.text) {
        return Err(Failure::Refused {
            message: format!("{} is no manifest of wadm", args.file),
            help: "one begins with `apiVersion: core.oam.dev/v1beta1`".to_owned(),
        });
    }
    let manifest = source.parse()?;
    manifest.notes.iter().for_each(|note| output.note(note));
    output.text(&wadm::print(&manifest).map_err(Failure::Other)?)
}

async fn run(cli: Cli, output: &mut Output) -> Result<()> {
    match cli.command {
        Command::Apply(args) => apply::run(&cli.global, &args, output).await,
        Command::Plan(args) => plan::run(&cli.global, &args, output).await,
        Command::Scale(args) => history::scale(&cli.global, &args, output).await,
        Command::History(args) => history::history(&cli.global, &args, output).await,
        Command::Rollback(args) => history::rollback(&cli.global, &args, output).await,
        Command::Rollout(command) => rollout::run(&cli.global, &command, output).await,
        Command::Delete(args) => delete::run(&cli.global, &args, output).await,
        Command::Status(args) => status::run(&cli.global, &args, output).await,
        Command::Why(args) => why::run(&cli.global, &args, output).await,
        Command::Explain(args) => explain::run(&cli.global, &args, output).await,
        Command::Events(args) => events::run(&cli.global, &args, output).await,
        Command::Logs(args) => logs::run(&cli.global, &args, output).await,
        Command::Top(args) => top::run(&cli.global, &args, output).await,
        Command::Spy(args) => spy::run(&cli.global, &args, output).await,
        Command::Record(args) => record::run(&cli.global, &args, output).await,
        Command::Replay(args) => replay::run(&args, output).await,
        Command::Ui(args) => ui::run(&cli.global, &args, output).await,
        Command::Get(args) => get::run(&cli.global, args.what, output).await,
        Command::Call(args) => call::run(&cli.global, &args, output).await,
        Command::Host(command) => host::run(&cli.global, &command, output).await,
        Command::Secrets(command) => secrets::run(&cli.global, &command, output).await,
        Command::Defaults(command) => defaults::run(&cli.global, &command, output).await,
        Command::Quota(command) => quota::run(&cli.global, &command, output).await,
        Command::Artifact(command) => artifact::run(&cli.global, &command, output).await,
        Command::Bundle(args) => bundle::run(&cli.global, &args, output).await,
        Command::Convert(args) => convert(&args, output),
        Command::Push(args) => push::push(&args, output).await,
        Command::Pull(args) => push::pull(&args, output).await,
        Command::Conform(args) => conform::run(&cli.global, &args, output).await,
        Command::New(args) => new::run(&args, output),
        Command::Build(args) => build::run(&args, output).await,
        Command::Dev(args) => dev::run(&cli.global, &args, output).await,
        Command::Inspect(args) => inspect::run(&cli.global, &args, output).await,
        Command::Up(args) => up::run(&cli.global, &args, output).await,
        Command::Doctor => doctor::run(&cli.global, output).await,
        Command::Ctx(command) => contexts::run(&cli.global, &command, output),
        Command::Schema => schema::run(output),
        Command::Completions { shell } => cli::completions(shell, output),
        Command::Man { folder } => cli::manual(&folder, output),
        Command::Version => output.line(&format!("lattice-ctl {}", env!("CARGO_PKG_VERSION"))),
    }
}
