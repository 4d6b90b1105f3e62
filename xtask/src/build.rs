//! `cargo xtask build`: the command line with its components, optimised.

use crate::{run, setup, workspace};
use anyhow::Result;
use std::path::PathBuf;

/// The command that builds `gpumm`.
pub(crate) const CLI: &str = "build --release -p gpumm-cli";

/// Builds and says where the program is.
pub(crate) fn run() -> Result<()> {
    let binary = cli()?;
    println!("{}", binary.display());
    Ok(())
}

/// Builds the command line and returns its path.
pub(crate) fn cli() -> Result<PathBuf> {
    setup::builds()?;
    run::run(run::cargo(CLI).current_dir(workspace::root()?))?;
    workspace::release_binary("gpumm")
}
