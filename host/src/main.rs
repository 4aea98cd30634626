//! `lattice-host`: parse, start, run until told to stop, drain, exit.

use std::process::ExitCode;

use clap::Parser;
use lattice_host::{
    Host,
    config::{LogFormat, Options},
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let options = Options::parse();
    start_log(options.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    runtime.block_on(run(options))
}

async fn run(options: Options) -> ExitCode {
    let lattice = options.lattice.clone();
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
    println!("host {} ready in lattice {lattice}", host.id);
    tokio::select! {
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

fn start_log(format: LogFormat) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("LATTICE_LOG").unwrap_or_else(|_| "info,async_nats=warn".into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}
