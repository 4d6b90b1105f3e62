//! What has to be installed before anything can be built, and what can be installed from here.

use crate::{run, workspace};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The target of the components.
const TARGET: &str = "wasm32-unknown-unknown";

/// What every build needs: a linker, and the components' target.
pub(crate) fn builds() -> Result<()> {
    if run::output(Command::new("cc").arg("--version")).is_none() {
        bail!("no C linker: install one (`cc`; on Debian the package gcc) and try again");
    }
    if has_target() {
        return Ok(());
    }
    rustup("target", TARGET)?;
    if !has_target() {
        bail!("the compiler still lacks the target {TARGET}: is it the one that rustup manages?");
    }
    Ok(())
}

/// What checks need besides: the formatter and the linter.
pub(crate) fn checks() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if run::output(run::cargo(command).arg("--version")).is_none() {
            rustup("component", component)?;
        }
    }
    Ok(())
}

fn has_target() -> bool {
    let mut rustc = Command::new("rustc");
    let libraries = run::output(rustc.args(["--print", "target-libdir", "--target", TARGET]));
    libraries.is_some_and(|folder| Path::new(&folder).is_dir())
}

/// Adds something to the toolchain that the workspace asks for.
fn rustup(kind: &str, name: &str) -> Result<()> {
    let channel = channel()?;
    let mut rustup = Command::new("rustup");
    rustup.args([kind, "add", name, "--toolchain", &channel]);
    let line = run::spelled(&rustup);
    eprintln!("xtask: {line}");
    run::run(&mut rustup)
        .with_context(|| format!("the {kind} {name} is missing for Rust {channel}"))
}

/// The channel of `rust-toolchain.toml`.
fn channel() -> Result<String> {
    let file = workspace::root()?.join("rust-toolchain.toml");
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    let value = text.lines().find_map(|line| {
        line.trim()
            .strip_prefix("channel")?
            .trim()
            .strip_prefix('=')
    });
    let value = value.context("rust-toolchain.toml names no channel")?;
    Ok(value.trim().trim_matches('"').to_owned())
}
