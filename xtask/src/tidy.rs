//! `cargo xtask tidy`: the structure tests.

use crate::{run, setup, workspace};
use anyhow::Result;

/// The command that checks the structure; `cargo test` runs the same test.
///
/// `--workspace` rather than the package: with the same features nothing is built twice.
pub(crate) const TIDY: &str = "test --workspace --test tidy";

/// Runs it.
pub(crate) fn run() -> Result<()> {
    setup::builds()?;
    run::run(run::cargo(TIDY).current_dir(workspace::root()?))
}
