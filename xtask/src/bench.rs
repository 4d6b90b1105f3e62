//! `cargo xtask bench`: one benchmark by name.

use crate::{run, setup, workspace};
use anyhow::{Context, Result, bail};
use clap::Args as ClapArgs;
use std::fs;
use std::path::PathBuf;

/// Which benchmark, and where its figures go.
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// The benchmark: a file of tests/benches or tests/peers/benches without its ending.
    name: Option<String>,
    /// Only this workload, W1 to W6 (benchmark `allocators`).
    #[arg(long, value_name = "NAME")]
    workload: Option<String>,
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
        println!("{}", listed(&known, "\n"));
        return Ok(());
    };
    let Some((_, package)) = known.iter().find(|(known, _)| known == name) else {
        bail!(
            "there is no benchmark {name}; there is: {}",
            listed(&known, ", ")
        );
    };
    setup::builds()?;
    let mut bench = run::cargo("bench -p");
    bench.args([package, "--bench", name, "--"]);
    if let Some(workload) = &args.workload {
        bench.args(["--workload", workload]);
    }
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

/// Where benchmarks are, and their package.
const FOLDERS: [(&str, &str); 2] = [
    ("tests/benches", "gpumm-tests"),
    // Compiles the allocators of others, too.
    ("tests/peers/benches", "gpumm-peers"),
];

/// The benchmarks by name, with their package.
fn names() -> Result<Vec<(String, &'static str)>> {
    let mut names = Vec::new();
    for (folder, package) in FOLDERS {
        let folder = workspace::root()?.join(folder);
        let list = fs::read_dir(&folder)
            .with_context(|| format!("no benchmarks in {}", folder.display()))?;
        for entry in list {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "rs") {
                let name = path.file_stem().map(|stem| stem.to_string_lossy());
                names.extend(name.map(|name| (name.into_owned(), package)));
            }
        }
    }
    names.sort();
    Ok(names)
}

fn listed(names: &[(String, &str)], separator: &str) -> String {
    let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
    names.join(separator)
}
