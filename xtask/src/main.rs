//! The project's chores: `cargo xtask help` lists them.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod ci;
mod conform;
mod demo;
mod guests;
mod process;
mod project;
mod test;
mod toolchain;
mod tools;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's chores")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run NATS and two hosts with examples/counter on them until Ctrl-C
    Demo {
        /// Swap the key-value backend under load instead of waiting, and judge the answers
        #[arg(long)]
        check: bool,
    },
    /// Run all tests, with the servers and guests that they need
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
        /// Arguments for the test binaries
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Check every backend of the catalog against what its capability promises, on real servers, and print a matrix
    Conform,
    /// Measure the lattice beside its parts, and print a table
    Bench(bench::Options),
    /// What must be green before a change is done: formatting, lints, tests, every backend's behaviour
    Ci,
    /// Build the examples and the test guests to WebAssembly
    BuildExamples,
    /// Fetch every server and compiler that demo and tests need, and say where they are
    Tools,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().chore {
        Chore::Demo { check } => demo::run(check),
        Chore::Test { filter, arguments } => test::run_tests(filter.as_deref(), &arguments),
        Chore::Conform => conform::check(),
        Chore::Bench(options) => bench::measure(&options),
        Chore::Ci => ci::check(),
        Chore::BuildExamples => guests::build(),
        Chore::Tools => tools::print(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
