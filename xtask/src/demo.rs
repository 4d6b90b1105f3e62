//! `cargo xtask demo`: a recorded training run, replayed with ample and with scarce memory.

use crate::{build, run, workspace};
use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Six training steps of ResNet-18, as the operators asked for memory.
const TRACE: &str = "tests/traces/torch_cpu_resnet18_train.csv.gz";
/// Where the second replay's report goes.
const REPORT: &str = "demo-out/resnet18-0.6x.json";

/// Runs both replays; the second one moves buffers in and out and checks every byte.
pub(crate) fn run() -> Result<()> {
    let gpumm = build::cli()?;
    let root = workspace::root()?;
    let report = root.join(REPORT);
    if let Some(folder) = report.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    heading("Everything fits: 1.5 times the recorded peak");
    replay(&gpumm, root, &["--vram", "1.5x"])?;
    heading("Too little memory: 0.6 times the peak, every byte checked");
    replay(
        &gpumm,
        root,
        &["--vram", "0.6x", "--verify", "full", "--json", REPORT],
    )?;
    println!("\nThe second report as JSON: {REPORT}");
    println!("More: `{} replay --help`", gpumm.display());
    Ok(())
}

fn heading(text: &str) {
    println!("\n{text}\n{}", "=".repeat(text.len()));
}

fn replay(gpumm: &Path, root: &Path, options: &[&str]) -> Result<()> {
    println!("$ gpumm replay {TRACE} {}\n", options.join(" "));
    run::run(
        Command::new(gpumm)
            .current_dir(root)
            .args(["replay", TRACE])
            .args(options),
    )
}
