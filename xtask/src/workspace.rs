//! Where the workspace keeps things.

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use std::path::{Path, PathBuf};

/// The workspace's root.
pub(crate) fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask is in the workspace")
}

/// A program that a release build makes.
pub(crate) fn release_binary(name: &str) -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .current_dir(root()?)
        .no_deps()
        .exec()?;
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    Ok(metadata.target_directory.join("release").join(file).into())
}
