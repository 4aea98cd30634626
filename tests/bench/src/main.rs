//! `lattice-bench`: what a lattice costs, beside what its parts cost on the same machine at the same time.
//! `cargo xtask bench` builds what it needs and runs it.
//!
//! This process makes the load. Every server, ours or a baseline, is a child process of it; the baselines are this
//! same program with another subcommand. Children are started by the main thread only, because the kernel ends them
//! with the thread that started them.

mod bench;
mod child;
mod lattice;
mod load;
mod machine;
mod report;
mod rows;
mod servers;
mod stats;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Hosts run inside this process in some rows, so it has their allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "lattice-bench", about = "Measures the lattice; run it with `cargo xtask bench`")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and print a table
    Run(bench::Options),
    /// A server to compare with
    #[command(flatten)]
    Server(servers::Server),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run(options) => bench::run(options),
        Command::Server(server) => servers::run(server),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
