//! `lattice-ctl`: says what it will do to a lattice, does it, waits until it is so, and explains what is not.
//!
//! A command lives in the module of its name. [`failure`] is what can go wrong, printed once, here at the edge;
//! [`output`] is the only way to stdout; [`world`] is what the lattice looks like, as a whole.

mod apply;
mod call;
mod child;
mod cli;
mod conform;
mod delete;
mod failure;
mod foreign;
mod get;
mod image;
mod inspect;
mod nats;
mod output;
mod problems;
mod program;
mod progress;
mod secrets;
mod settings;
mod shape;
mod source;
mod status;
mod up;
mod wait;
mod wit;
mod world;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, parser::ValueSource};
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{Cli, Command},
    failure::{Failure, Result},
    output::Output,
};

#[tokio::main]
async fn main() -> ExitCode {
    let matches = Cli::command().get_matches();
    let mut cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.global.nats_named = matches.value_source("urls").is_some_and(|source| source != ValueSource::DefaultValue);
    // The commands tell what matters themselves; a log is for whoever asks for it.
    // That a connection was lost is no news from one that takes away what it is connected to.
    let level = if matches!(cli.command, Command::Conform(_)) { "error,async_nats=off" } else { "warn,async_nats=off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let mut output = Output::terminal(cli.global.output, cli.global.color);
    match run(cli, &mut output).await {
        // Whoever reads our output has seen enough.
        Ok(()) | Err(Failure::OutputClosed) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn run(cli: Cli, output: &mut Output) -> Result<()> {
    match cli.command {
        Command::Apply(args) => apply::run(&cli.global, &args, output).await,
        Command::Delete(args) => delete::run(&cli.global, &args, output).await,
        Command::Status(args) => status::run(&cli.global, &args, output).await,
        Command::Get(args) => get::run(&cli.global, args.what, output).await,
        Command::Call(args) => call::run(&cli.global, &args, output).await,
        Command::Secrets(command) => secrets::run(&cli.global, &command, output).await,
        Command::Conform(args) => conform::run(&cli.global, &args, output).await,
        Command::Up(args) => up::run(&cli.global, &args, output).await,
        Command::Completions { shell } => cli::completions(shell, output),
        Command::Version => output.line(&format!("lattice-ctl {}", env!("CARGO_PKG_VERSION"))),
    }
}
