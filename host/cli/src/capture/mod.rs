//! `gpumm capture`: error captures, for people and for programs.

mod text;

use crate::exit::{Exit, Failure};
use crate::files::{Input, print};
use clap::{Args, Subcommand};
use gpumm::capture::{Capture, ReadError, schema};
use std::path::PathBuf;

/// More is no capture, in bytes.
const LARGEST: usize = 256 << 20;

pub(crate) const HELP: &str = "\
What a capture is:
  When a copy, a fill or a job fails on the device, gpumm keeps what it worked on in a file of
  JSON, before the operation's fence is reached: why it failed and what was done about it, the
  scatter-gather tables as they were submitted with SHA-256 of what they showed before the
  repair, where the timelines stood, the plans around it, and the components that made them.
  The first failures of each timeline are kept, as capture-TIMELINE-VALUE.json.

Reading one:
  'show' begins with what failed and why, and what was done about it. In the plans, an arrow
  marks the operation that failed; 'copy 12 -> 15, 65536 bytes, reaches sim/copy 7' copies
  from table 12 to table 15, and timeline 'sim/copy' stands at 7 when it is done.

Examples:
  gpumm capture show capture-sim-copy-7.json
  gpumm capture show capture-sim-copy-7.json --all | less
  gpumm capture show capture-sim-copy-7.json --json | jq '.tables[] | {role, sha256}'
  cat capture-sim-copy-7.json | gpumm capture show -
  gpumm capture schema > capture.schema.json

Exit status:
  0  all is well
  2  the command line makes no sense
  3  the file cannot be read or is no capture; the line says where";

/// What `gpumm capture` does.
#[derive(Debug, Args)]
pub(crate) struct CaptureArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Say in words what a capture holds
    Show(Show),
    /// Print the JSON schema of captures
    Schema,
}

#[derive(Debug, Args)]
struct Show {
    /// An error capture; - is standard input
    file: PathBuf,

    /// Shortens nothing: every segment, byte and operation that the capture holds
    #[arg(long)]
    all: bool,

    /// Checks the capture and prints its JSON, with all that it holds
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

/// The command.
pub(crate) fn command(args: &CaptureArgs) -> Result<(), Failure> {
    match &args.what {
        What::Show(show) => self::show(show),
        What::Schema => print(&schema()),
    }
}

fn show(args: &Show) -> Result<(), Failure> {
    let mut input = Input::open(&args.file)?;
    let json = input.peek(LARGEST + 1)?;
    let wrong = |why: String| Failure::new(Exit::File, why).of(&input.name);
    if json.is_empty() {
        return Err(wrong("the file is empty".into()));
    }
    if json.len() > LARGEST {
        let most = crate::size::human(LARGEST as u64);
        return Err(wrong(format!("more than {most}: this is no capture")));
    }
    let capture = Capture::from_json(&json).map_err(|error| match error {
        ReadError::Version { .. } => wrong(error.to_string()),
        ReadError::At { .. } | ReadError::Field { .. } => {
            wrong(format!("this is no capture: {error}"))
        }
    })?;
    if args.json {
        // Printed from what was read, so that nothing is lost that only later versions know.
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&json);
        let pretty = value.and_then(|value| serde_json::to_string_pretty(&value));
        let pretty = pretty.map_err(|error| wrong(error.to_string()))?;
        return print(&(pretty + "\n"));
    }
    print(&text::text(&input.name, &capture, args.all))
}
