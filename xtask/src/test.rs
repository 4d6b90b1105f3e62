//! `cargo xtask test`: everything that must be green, cheapest first.

use crate::{build, run, setup, tidy, workspace};
use anyhow::{Context, Result};
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

/// Runs every step and stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    setup::builds()?;
    setup::checks()?;
    // Features are the same for all packages of a build: the device on a GPU, which the command line
    // has by default, is on in each of these steps.
    // The allocators of others are compiled for their bench only: they need a C++ compiler.
    let mut lint = run::cargo("clippy --workspace --exclude gpumm-peers --all-targets");
    lint.args(["--", "-D", "warnings"]);
    let mut docs = run::cargo("doc --workspace --exclude gpumm-peers --no-deps");
    docs.env("RUSTDOCFLAGS", "-D warnings");
    let mut tests = run::cargo("test --workspace --exclude gpumm-peers");
    // End-to-end tests drive the program that people get, not a debug build of it.
    tests.env("GPUMM_BIN", workspace::release_binary("gpumm")?);
    // Where nothing says how to reach a Wayland server, Mesa's drivers complain each time that a test
    // looks for a GPU; one that is not there is looked for without a word.
    if env::var_os("XDG_RUNTIME_DIR").is_none() && env::var_os("WAYLAND_DISPLAY").is_none() {
        tests.env("WAYLAND_DISPLAY", "/dev/null/none");
    }

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
