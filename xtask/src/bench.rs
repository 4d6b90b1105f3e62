//! `cargo xtask bench`: one benchmark by name.

use crate::{run, setup, workspace};
use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use std::fs;
use std::path::PathBuf;

/// Which benchmark, and where its figures go.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The benchmark: a file of tests/benches without its ending.
    name: Option<String>,
    /// Also write the figures to this file; - is standard output, without the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// More arguments for the benchmark, after `--`.
    #[arg(last = true)]
    rest: Vec<String>,
}

/// Runs it in the profile `bench`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let known = names()?;
    let Some(name) = &args.name else {
        println!("{}", known.join("\n"));
        return Ok(());
    };
    if !known.contains(name) {
        bail!(
            "there is no benchmark {name}; there is: {}",
            known.join(", ")
        );
    }
    setup::builds()?;
    let mut bench = run::cargo("bench -p gpumm-tests --bench");
    bench.arg(name).arg("--");
    if let Some(file) = &args.json {
        bench.arg("--json");
        if file.as_os_str() == "-" {
            bench.arg(file);
        } else {
            // The benchmark runs in its package's folder, the caller's path counts from here.
            bench.arg(std::path::absolute(file)?);
        }
    }
    run::run(bench.args(&args.rest).current_dir(workspace::root()?))
}

/// The benchmarks, by name.
fn names() -> Result<Vec<String>> {
    let folder = workspace::root()?.join("tests/benches");
    let list =
        fs::read_dir(&folder).with_context(|| format!("no benchmarks in {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in list {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "rs") {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort();
    Ok(names)
}
