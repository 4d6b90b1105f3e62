//! `cargo xtask fuzz`: random inputs against one strategy.

use crate::{run, workspace};
use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use std::fs;
use std::path::PathBuf;

/// Which strategy, and how long.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The strategy: a folder components/allocator-* without its beginning.
    strategy: Option<String>,
    /// How long to look for inputs that fail.
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// The first seed; the next ones follow by one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Play only the input in this file.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Runs the test `fuzz` of the strategy's suite, optimised.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = names()?;
    let Some(name) = &args.strategy else {
        println!("{}", known.join("\n"));
        return Ok(());
    };
    if !known.contains(name) {
        bail!(
            "there is no strategy {name} with a suite; there is: {}",
            known.join(", ")
        );
    }
    let mut fuzz = run::cargo("test --release --test rules");
    fuzz.args(["--package", &format!("gpumm-allocator-{name}")]);
    fuzz.args(["--", "--exact", "fuzz", "--nocapture"]);
    fuzz.env("GPUMM_FUZZ_SECONDS", args.seconds.to_string());
    fuzz.env("GPUMM_FUZZ_SEED", args.seed.to_string());
    if let Some(file) = &args.input {
        // The test runs in its package's folder, the caller's path counts from here.
        fuzz.env("GPUMM_FUZZ_INPUT", std::path::absolute(file)?);
    }
    run::run(fuzz.current_dir(workspace::root()?))
}

/// The strategies that have a suite, by name.
fn names() -> Result<Vec<String>> {
    let folder = workspace::root()?.join("components");
    let list =
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in list {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name
            .as_ref()
            .and_then(|name| name.strip_prefix("allocator-"));
        if let (Some(name), true) = (name, path.join("tests/rules.rs").is_file()) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
