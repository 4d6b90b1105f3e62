//! `cargo xtask test`: everything that must be green, cheapest first.

use crate::{build, run, setup, tidy, workspace};
use anyhow::{Context, Result};
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs every step and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    setup::builds()?;
    setup::checks()?;
    let mut lint = run::cargo("clippy --workspace --all-targets");
    lint.args(["--", "-D", "warnings"]);
    let mut docs = run::cargo("doc --workspace --no-deps");
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let mut tests = run::cargo("test --workspace");
    // End-to-end tests drive the program that people get, not a debug build of it.
    tests.env("GPUMM_BIN", workspace::release_binary("gpumm")?);

    let steps = [
        ("formatting", run::cargo("fmt --all --check")),
        ("lints", lint),
        ("documentation", docs),
        ("structure", run::cargo(tidy::TIDY)),
        ("release build", run::cargo(build::CLI)),
        ("tests", tests),
    ];
    let begin = Instant::now();
    let count = steps.len();
    for (number, (name, command)) in steps.into_iter().enumerate() {
        step(number + 1, count, name, command)?;
    }
    println!(
        "xtask: all {count} steps passed in {}",
        seconds(begin.elapsed())
    );
    Ok(())
}

fn step(number: usize, count: usize, name: &str, mut command: Command) -> Result<()> {
    println!("xtask: {number}/{count} {name}: {}", run::spelled(&command));
    let begin = Instant::now();
    run::run(command.current_dir(workspace::root()?)).with_context(|| format!("{name} failed"))?;
    println!(
        "xtask: {number}/{count} {name}: passed in {}",
        seconds(begin.elapsed())
    );
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
