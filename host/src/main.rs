//! `lattice-host`: parse, start, run until told to stop, drain, exit.

use std::process::ExitCode;

use clap::Parser;
use lattice_host::{
    Host,
    config::{Cli, Command, LogFormat, Options},
    standalone,
};
use tokio::signal::unix::{SignalKind, signal};

/// A call from component to component allocates much, in many sizes, and another thread often frees it: with the
/// system's allocator it takes about a sixth more of a processor's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (format, filter) = match &cli.command {
        None => (cli.options.log_format, "info,async_nats=warn"),
        Some(_) => (LogFormat::Text, "warn"),
    };
    format.start(filter);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = runtime.block_on(async {
        match cli.command {
            None => join(cli.options).await,
            Some(Command::Run(options)) => standalone::run(options).await.unwrap_or_else(|error| fail(&error)),
            Some(Command::Serve(options)) => standalone::serve(options).await.map_or_else(|e| fail(&e), |()| 0.into()),
            Some(Command::Replay(options)) => {
                standalone::replay(options).await.map_or_else(|e| fail(&e), |()| 0.into())
            }
        }
    });
    // A thread that reads standard input cannot be ended otherwise.
    runtime.shutdown_background();
    code
}

async fn join(options: Options) -> ExitCode {
    // Taken before the start, so that a signal that comes during it is not lost.
    let (mut interrupt, mut terminate) = match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(error), _) | (_, Err(error)) => return fail(&error),
    };
    let mut host = tokio::select! {
        started = Host::start(options) => match started {
            Ok(host) => host,
            Err(error) => return fail(&error),
        },
        _ = interrupt.recv() => return ExitCode::SUCCESS,
        _ = terminate.recv() => return ExitCode::SUCCESS,
    };
    println!("host {} ready in lattice {}", host.id, host.lattice());
    let dismissed = host.dismissed();
    tokio::select! {
        () = dismissed => {}
        reason = host.failed() => return fail(&reason),
        _ = interrupt.recv() => tracing::info!("interrupted: draining"),
        _ = terminate.recv() => tracing::info!("told to end: draining"),
    }
    host.shut_down().await;
    ExitCode::SUCCESS
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
