//! The gpumm command line, as a library: `gpumm replay` and what it is made of, `gpumm capture`,
//! `gpumm devices`.
//!
//! [`run`] is the whole program. [`replay::run`] replays an imported trace and returns a
//! [`replay::Summary`]; tests use it to put other components or a sabotaged device in place.
//!
//! The feature `wgpu`, on by default, is for replays on a GPU.
#![forbid(unsafe_code)]

mod args;
mod capture;
mod device;
mod devices;
mod exit;
mod files;
#[cfg(feature = "wgpu")]
mod gpu;
#[cfg(not(feature = "wgpu"))]
mod no_gpu;
mod progress;
pub mod replay;
pub mod size;

use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

pub use device::{Adapter, DeviceKind};
pub use exit::{Exit, Failure};
#[cfg(not(feature = "wgpu"))]
use no_gpu as gpu;

/// The variable that says what is logged to stderr.
const LOG_VARIABLE: &str = "GPUMM_LOG";

/// Only what is no `gpumm:` line of its own anyway: the planner's last words are that line.
const LOG_DEFAULT: &str = "error,gpumm::planner=off";

/// Runs the program with these arguments; the first is its own name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let command = args.get(1).and_then(|word| word.to_str());
    let ended = match args::Cli::try_parse_from(&args) {
        Ok(cli) => start_log().and_then(|()| match cli.command {
            args::Command::Replay(replay) => replay::command(&replay),
            args::Command::Capture(capture) => capture::command(&capture),
            args::Command::Devices(devices) => devices::command(&devices),
        }),
        Err(error) if error.use_stderr() => Err(args::usage(&error, command)),
        Err(help) => {
            // Whoever closes the pipe has read enough of the help.
            let _ = help.print();
            Ok(())
        }
    };
    match ended {
        Ok(()) => Exit::Good.into(),
        Err(failure) => {
            failure.print();
            failure.exit.into()
        }
    }
}

fn start_log() -> Result<(), Failure> {
    let wanted = std::env::var(LOG_VARIABLE).unwrap_or_default();
    let wanted = if wanted.is_empty() {
        LOG_DEFAULT
    } else {
        &wanted
    };
    let filter = tracing_subscriber::EnvFilter::try_new(wanted)
        .map_err(|e| Failure::new(Exit::Usage, format!("{LOG_VARIABLE}: {e}")))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A program that runs us as a library may have its own.
    let _ = log.try_init();
    Ok(())
}
