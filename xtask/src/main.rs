//! Project tasks, run as `cargo xtask <task>`: one file per task.

mod bench;
mod build;
mod demo;
mod fuzz;
mod run;
mod setup;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of this project. Each one installs or names what is missing before it begins.
#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    after_help = "The first build compiles the engine and takes minutes; later ones take seconds.\n\
                  Examples:\n  \
                  cargo xtask demo              replay a recorded trace, see the report\n  \
                  cargo xtask test              everything that must be green\n  \
                  cargo xtask bench crossing    one benchmark"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the command line `gpumm` with its components, optimised.
    Build,
    /// Replay a recorded training run twice: with ample memory, and with too little, checking
    /// every byte. Leaves the second report as JSON in demo-out/.
    Demo,
    /// Formatting, lints, documentation, structure, the release build, all tests.
    Test,
    /// Structure: dependency directions, imports of components, file sizes, unsafe code, paths.
    Tidy,
    /// Run one benchmark; without a name, list them.
    Bench(bench::Args),
    /// Play random inputs against one strategy; without a name, list them.
    Fuzz(fuzz::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Build => build::run(),
        Task::Demo => demo::run(),
        Task::Test => test::run(),
        Task::Tidy => tidy::run(),
        Task::Bench(args) => bench::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask: {why:#}");
            ExitCode::FAILURE
        }
    }
}
