//! The command line: what there is to say, and one line for what makes no sense.

use crate::capture::CaptureArgs;
use crate::device::DeviceKind;
use crate::devices::Devices;
use crate::exit::{Exit, Failure};
use crate::replay::{FaultArg, SwapArg};
use crate::size::{Bytes, Percent, Size};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroU64;
use std::path::PathBuf;

/// Manages the memory of a GPU, simulated or real, with sandboxed planners, and measures how that
/// goes.
#[derive(Debug, Parser)]
#[command(name = "gpumm", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
'gpumm help replay' explains replays with examples, 'gpumm help capture' error captures,
'gpumm help devices' which devices there are.
GPUMM_LOG=debug (or any tracing filter) shows on stderr what the program does.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Replay a recorded trace, or a request log, and say how the memory manager did
    #[command(after_long_help = REPLAY_HELP)]
    Replay(Box<Replay>),
    /// Show what an error capture holds: what failed on the device, on which memory, and why
    #[command(after_long_help = crate::capture::HELP)]
    Capture(CaptureArgs),
    /// List the devices that a replay can run on: the simulated one, and GPUs
    #[command(after_long_help = crate::devices::HELP)]
    Devices(Devices),
}

const REPLAY_HELP: &str = "\
What is replayed:
  A trace: a PyTorch CUDA memory snapshot (torch.cuda.memory._dump_snapshot) or gpumm's CSV,
  plain or gzip'd. Or a request log that --log wrote: every batch is planned again, and every
  plan must be equal byte for byte. Both are recognised by content.

Access model:
  Traces say when memory is taken and given back, not when it is used. So a replay adds uses:
  a new buffer is written; then the K newest live buffers of its stream (--touch) are read,
  checked and written anew; and so is each buffer just before it is freed, and at the end
  what is still live. A buffer that is used must be in device memory; what has no room there
  waits in system memory. Contents are words that no other buffer, generation or offset has,
  written and checked by the device itself, so that a byte in the wrong place is found.

Repeatable:
  Requests are planned in batches of 32 events, and what the device finished is told to the
  planner 4 batches later: two runs on the same input make the same plans (plans_digest).
  In the JSON only 'timing' differs.

Devices:
  --device sim, the default, is simulated: it moves and checks real bytes in host memory. With
  --device wgpu device memory is a GPU's, and the GPU does copies and fills; 'gpumm devices' lists
  the GPUs. Plans do not depend on the device: the same replay on both makes the same.

Faults:
  --fault makes sim fail on purpose, '--fault help' tells how. A copy that fails is redone
  by the CPU; where that is impossible the buffer loses its content, and its uses are refused.
  A lost device is brought back, with what system memory still holds. The run tells what was
  repaired and what was lost, and verifies everything else. --captures keeps what failed
  operations worked on ('gpumm help capture').

Swaps:
  --swap replaces a component between two batches while the device works on. A strategy (by name
  or FILE.wasm) takes over what lives where it lies; 'back' brings the one before it back, which
  also happens by itself when the newcomer traps or lies within its first 1,024 decisions.
  'mechanism' is a fresh one of the kind that the run began with, or one out of a file, rebuilt
  from the facts. If the new one does not start, the old one goes on. --shadow asks a strategy
  without doing what it says, and compares.

Address spaces:
  With --vm jobs do not name buffers but addresses: each tenant has an address space and a queue,
  a buffer is mapped when it is made, and what was moved is mapped again when a job needs it. The
  device walks page tables; an address without a page ends the job that used it, and what the
  device remembers of a page that is gone is counted (stale). --maps-at 50% lists the mappings.

Examples:
  gpumm replay snapshot.pickle
  gpumm replay run.csv.gz --vram 60% --verify full
  gpumm replay run.csv.gz --vram 8GiB --strategy buddy --json report.json
  gpumm replay run.csv.gz --strategy ./my_strategy.wasm
  gpumm replay run.csv.gz --log run.gpummlog && gpumm replay run.gpummlog
  gpumm replay run.csv.gz --vram 60% --fault 'fail copy every 10' --captures captures
  gpumm replay run.csv.gz --vram 60% --fault 'fail copy 2%' --fault-seed 7 --verify full
  gpumm replay run.csv.gz --vram 60% --fault 'lose device after 5000 ops' --json -
  gpumm replay run.csv.gz --vram 60% --swap 50%:buddy --swap 75%:back
  gpumm replay run.csv.gz --swap 50%:mechanism=new.wasm --swap 75%:mechanism
  gpumm replay run.csv.gz --vram 60% --shadow range
  gpumm replay run.csv.gz --vram 60% --vm --verify full
  gpumm replay run.csv.gz --vm --maps-at 50%
  gpumm replay run.csv.gz --vram 60% --verify full --device wgpu
  gpumm replay run.csv.gz --device wgpu:llvmpipe --json - | jq .adapter
  zcat run.csv.gz | gpumm replay - --vram 2GiB --json - | jq .evictions

Exit status:
  0  all is well, but for what --fault explains
  1  the run found a failure: an allocation or access without room, wrong contents, a device
     fault, or a log whose plans differ
  2  the command line makes no sense, or asks for a size or a GPU that is not to be had
  3  a file cannot be read or written; the line says where
  4  a component failed and could not be replaced";

/// Options of `gpumm replay`. Those that a request log brings itself are optional, so that one
/// given in vain can be refused.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A trace or a request log; - is standard input
    #[arg(required_unless_present = "faults")]
    pub(crate) trace: Option<PathBuf>,

    /// Device memory: a size (512MiB, 2GiB, bytes), or times or per cent of the trace's live
    /// peak (1.5x, 60%) [default: 1.5x]
    #[arg(long, value_name = "SIZE|Nx|P%", allow_hyphen_values = true)]
    pub(crate) vram: Option<Size>,

    /// System memory for what is evicted [default: twice the live peak and 64 MiB, in whole MiB]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) system: Option<Bytes>,

    /// Which component decides where in device memory a buffer goes: tlsf, buddy, range, or the
    /// file of a component of your own (world gpumm:memory/strategy) [default: tlsf]
    #[arg(long, value_name = "NAME|FILE.wasm")]
    pub(crate) strategy: Option<String>,

    /// The device: sim, or a GPU by way of wgpu: the best, or with wgpu:NAME the first with this in
    /// its name or backend, or of this number ('gpumm devices' lists them) [default: sim]
    #[arg(long, value_name = "sim|wgpu[:NAME]")]
    pub(crate) device: Option<DeviceKind>,

    /// How much of a buffer is checked at each use: off, sample (one 4 KiB block in 64, each
    /// time others) or full
    /// [default: sample]
    #[arg(long, value_enum, hide_possible_values = true)]
    pub(crate) verify: Option<VerifyKind>,

    /// Writes the request log: everything needed to plan this run again
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,

    /// Writes the report as JSON; with - it is all that standard output gets
    #[arg(long, value_name = "FILE|-")]
    pub(crate) json: Option<PathBuf>,

    /// Makes the device fail, such as 'fail copy 3'; 'help' prints all rules. May be repeated
    #[arg(long = "fault", value_name = "RULE")]
    pub(crate) faults: Vec<FaultArg>,

    /// What faults by chance draw from: equal seeds fail the same operations [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) fault_seed: Option<u64>,

    /// Keeps error captures of failed operations in a folder, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    pub(crate) captures: Option<PathBuf>,

    /// After P% of the events, lets another strategy take over (its name, or FILE.wasm), the
    /// one before it (back), or another mechanism (mechanism, mechanism=FILE.wasm). May be
    /// repeated
    #[arg(long = "swap", value_name = "P%:WHAT")]
    pub(crate) swaps: Vec<SwapArg>,

    /// Asks another strategy beside the one that serves, does nothing that it says, and tells how
    /// the two compare
    #[arg(long, value_name = "NAME|FILE.wasm")]
    pub(crate) shadow: Option<String>,

    /// Maps every buffer into an address space of its tenant; jobs write and check it by address
    #[arg(long)]
    pub(crate) vm: bool,

    /// Lists the mappings of all address spaces after P% of the events; implies --vm
    #[arg(long, value_name = "P%")]
    pub(crate) maps_at: Option<Percent>,

    /// How much system memory the device's DMA reaches at once [default: all]
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) gtt: Option<Bytes>,

    /// How many copy engines the device has, 1 to 8 [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub(crate) copy_engines: Option<u32>,

    /// How many of the newest live buffers of its stream an allocation uses, 0 to 64
    /// [default: 3]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(0..=64))]
    pub(crate) touch: Option<u32>,

    /// Whether all buffers are one tenant's, or each stream is a tenant [default: one]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "one|stream"
    )]
    pub(crate) tenants: Option<TenantsKind>,

    /// Which device of a snapshot [default: the first one with events]
    #[arg(long, value_name = "N")]
    pub(crate) trace_device: Option<u32>,

    /// How many objects of a pickle are believed [default: 64 million]
    #[arg(long, value_name = "N")]
    pub(crate) max_objects: Option<NonZeroU64>,

    /// The file of a component that plans instead of the built-in mechanism
    #[arg(long, value_name = "FILE.wasm", hide = true)]
    pub(crate) mechanism: Option<PathBuf>,

    /// Throws the mechanism away every N batches and rebuilds it from facts
    #[arg(long, value_name = "N", hide = true)]
    pub(crate) restart_mechanism_every: Option<NonZeroU64>,
}

impl Replay {
    /// The first option that makes no sense for a request log, as it brings its own.
    pub(crate) fn not_for_logs(&self) -> Option<&'static str> {
        let gpu = matches!(self.device, Some(DeviceKind::Wgpu(_)));
        [
            (gpu, "--device wgpu"),
            (self.vram.is_some(), "--vram"),
            (self.system.is_some(), "--system"),
            (self.strategy.is_some(), "--strategy"),
            (self.verify.is_some(), "--verify"),
            (self.log.is_some(), "--log"),
            (!self.faults.is_empty(), "--fault"),
            (self.fault_seed.is_some(), "--fault-seed"),
            (self.captures.is_some(), "--captures"),
            (!self.swaps.is_empty(), "--swap"),
            (self.shadow.is_some(), "--shadow"),
            (self.vm, "--vm"),
            (self.maps_at.is_some(), "--maps-at"),
            (self.gtt.is_some(), "--gtt"),
            (self.copy_engines.is_some(), "--copy-engines"),
            (self.touch.is_some(), "--touch"),
            (self.tenants.is_some(), "--tenants"),
            (self.trace_device.is_some(), "--trace-device"),
            (self.max_objects.is_some(), "--max-objects"),
            (self.mechanism.is_some(), "--mechanism"),
            (
                self.restart_mechanism_every.is_some(),
                "--restart-mechanism-every",
            ),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum VerifyKind {
    Off,
    Sample,
    Full,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum TenantsKind {
    One,
    Stream,
}

/// What is wrong with a command line that begins with this command, on one line.
pub(crate) fn usage(error: &clap::Error, command: Option<&str>) -> Failure {
    let help = match command {
        Some("capture") => "gpumm help capture",
        Some("replay") => "gpumm help replay",
        Some("devices") => "gpumm help devices",
        _ => "gpumm help",
    };
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let line = format!("no command is given; see '{help}'");
        return Failure::new(Exit::Usage, line);
    }
    // clap's text: the error, maybe details and tips, then the usage.
    let text = error.render().to_string();
    let told = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = told.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.strip_prefix("error: ").unwrap_or(&line);
    Failure::new(Exit::Usage, format!("{line}; see '{help}'"))
}
