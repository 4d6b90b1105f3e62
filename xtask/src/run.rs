//! Running other programs.

use anyhow::{Context, Result, bail};
use std::env;
use std::process::{Command, Stdio};

/// The cargo that runs this task, with the arguments of a command line without quotes.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(arguments.split_whitespace());
    cargo
}

/// A command as a person would type it.
pub(crate) fn spelled(command: &Command) -> String {
    let quoted = |word: &str| match word.contains([' ', '*']) {
        true => format!("'{word}'"),
        false => word.to_owned(),
    };
    let set = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}={}",
            name.to_string_lossy(),
            quoted(&value?.to_string_lossy())
        ))
    });
    let program = command.get_program().to_string_lossy().into_owned();
    // Cargo passes its own full path on; its name says as much.
    let program = match program.rsplit_once(['/', '\\']) {
        Some((_, "cargo" | "cargo.exe")) => "cargo".to_owned(),
        _ => program,
    };
    let arguments = command
        .get_args()
        .map(|word| quoted(&word.to_string_lossy()));
    set.chain([program])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command whose output people see.
///
/// Errors: one line with the command, when it cannot be run or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = spelled(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// What a command prints, when it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let out = command.stderr(Stdio::null()).output().ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
