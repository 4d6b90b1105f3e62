//! Where a build script reads and writes.

use anyhow::{Context, Result};
use std::env;
use std::path::PathBuf;

/// Where things are.
pub(crate) struct Place {
    /// The workspace's root.
    pub(crate) workspace: PathBuf,
    /// `OUT_DIR`.
    pub(crate) out: PathBuf,
    /// The target directory of the nested builds, shared by all profiles of the outer one.
    pub(crate) nested: PathBuf,
}

impl Place {
    /// Asks cargo.
    ///
    /// Errors: cargo does not say.
    pub(crate) fn from_env() -> Result<Self> {
        let dir = |name| {
            env::var_os(name)
                .map(PathBuf::from)
                .with_context(|| format!("{name} is not set"))
        };
        let out = dir("OUT_DIR")?;
        let workspace = dir("CARGO_MANIFEST_DIR")?
            .ancestors()
            .nth(2)
            .context("the package is two folders below the workspace's root")?
            .to_owned();
        // Cargo marks the root of a target directory with this file.
        let target = out
            .ancestors()
            .find(|dir| dir.join("CACHEDIR.TAG").is_file())
            .unwrap_or(&out);
        Ok(Place {
            workspace,
            nested: target.join("components"),
            out,
        })
    }
}
