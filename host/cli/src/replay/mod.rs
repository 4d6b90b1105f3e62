//! `gpumm replay`: a recorded trace, or a request log, through the memory manager.
//!
//! `start.rs` starts a device, `driver.rs` makes requests of a trace's events and follows what
//! becomes of them, `contents.rs` knows what buffers hold, also when jobs fail, `swap.rs` replaces
//! components on the way, `vm.rs` maps buffers and makes jobs of addresses, `shadow.rs` says what another strategy would have done, `faults.rs` tells failures that were asked for from others, `tally.rs`
//! adds up, `summary.rs` is what came out (and the JSON), `report.rs` and `verdict.rs` say it to
//! people, `log.rs` replays request logs, `parts.rs` brings components from files.

mod contents;
mod driver;
mod faults;
mod log;
mod parts;
mod report;
mod shadow;
mod start;
mod summary;
mod swap;
mod tally;
mod verdict;
mod vm;

pub use driver::run;
pub(crate) use faults::FaultArg;
pub use shadow::{Both, ShadowDone};
pub use summary::{AccessModel, Details, SCHEMA_VERSION, Source, Summary, Timing};
pub(crate) use swap::SwapArg;
pub use swap::{StrategyFaultDone, SwapAt, SwapDone, SwapTo};
pub use vm::VmDone;

use crate::args::{Replay, TenantsKind, VerifyKind};
use crate::device::DeviceKind;
use crate::exit::{Exit, Failure};
use crate::files::{self, Input, Whole};
use crate::progress::Progress;
use crate::size::{Size, system_default};
use cap_std::fs::Dir;
use gpumm::parts::StrategySource;
use gpumm::wasm::WasmStrategy;
use gpumm_hw::sim::{FaultRule, SimControl};
use gpumm_trace::{Limits, Options, SNIFF_LEN, Sniffed, Trace};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{BufWriter, Write};
use std::sync::Arc;
use std::time::Duration;
use tally::Tally;

/// How much of a buffer is checked each time it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// Nothing.
    Off,
    /// One block in 64, each time others.
    Sample,
    /// Every byte.
    Full,
}

/// Whose the buffers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tenants {
    /// All one tenant's.
    One,
    /// Each stream is a tenant.
    Stream,
}

/// How a trace is replayed.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// What the trace is called in reports.
    pub name: String,
    /// The device.
    pub device: DeviceKind,
    /// Device memory in bytes, a multiple of 4096.
    pub vram_bytes: u64,
    /// System memory in bytes.
    pub system_bytes: u64,
    /// How many bytes of system memory the device's DMA reaches at once; all if `None`.
    pub gtt_bytes: Option<u64>,
    /// How many copy engines the device has; at least 1.
    pub copy_engines: u32,
    /// The built-in strategy, unless there are [`ReplayOptions::parts`].
    pub strategy: String,
    /// How many of the newest live buffers of its stream an allocation uses.
    pub touch: u32,
    /// How much is checked.
    pub verify: Verify,
    /// Whose the buffers are.
    pub tenants: Tenants,
    /// Allocations and frees per batch; at least 1.
    pub batch_events: u32,
    /// How many batches later the planner is told what the device finished; at least 1.
    pub window_batches: u32,
    /// Other parts than the built-in components.
    pub parts: Option<gpumm::parts::Parts>,
    /// Rebuild the mechanism from the facts after each so many batches.
    pub restart_mechanism_every: Option<u64>,
    /// What the device does wrong.
    pub faults: Vec<FaultRule>,
    /// What rules of chance draw from.
    pub fault_seed: u64,
    /// How long a command of the device may hang; its own patience if `None`.
    pub patience: Option<Duration>,
    /// When a component is replaced by another one.
    pub swaps: Vec<SwapAt>,
    /// A strategy that decides beside the one that serves.
    pub shadow: Option<Arc<dyn StrategySource>>,
    /// Whether jobs name buffers by their addresses in address spaces.
    pub vm: bool,
    /// After so many per cent of the events, the mappings are listed.
    pub maps_at: Option<f64>,
}

impl ReplayOptions {
    /// The command line's defaults, for memories of these sizes.
    pub fn new(name: &str, vram_bytes: u64, system_bytes: u64) -> Self {
        ReplayOptions {
            name: name.into(),
            device: DeviceKind::Sim,
            vram_bytes,
            system_bytes,
            gtt_bytes: None,
            copy_engines: 1,
            strategy: "tlsf".into(),
            touch: 3,
            verify: Verify::Sample,
            tenants: Tenants::One,
            batch_events: 32,
            window_batches: 4,
            parts: None,
            restart_mechanism_every: None,
            faults: Vec::new(),
            fault_seed: 0,
            patience: None,
            swaps: Vec::new(),
            shadow: None,
            vm: false,
            maps_at: None,
        }
    }
}

impl ReplayOptions {
    /// How many tenants the replay of a trace has.
    fn tenants_of(&self, trace: &Trace) -> usize {
        let streams = trace.events.iter().map(|event| event.stream);
        match self.tenants {
            Tenants::One => 1,
            Tenants::Stream => streams.collect::<BTreeSet<u32>>().len().max(1),
        }
    }
}

/// What a caller of [`run`] does besides.
#[derive(Default)]
pub struct Hooks<'a> {
    /// Called after each batch with the number of events done.
    pub progress: Option<&'a mut dyn FnMut(u64)>,
    /// Where the request log goes.
    pub log: Option<Box<dyn Write + Send>>,
    /// Where error captures go, and what reports call it.
    pub captures: Option<(Dir, String)>,
    /// Gets the handle of a simulated device before the first batch: how tests sabotage it.
    pub device: Option<&'a mut dyn FnMut(SimControl)>,
}

impl std::fmt::Debug for Hooks<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks").finish_non_exhaustive()
    }
}

/// The command.
pub(crate) fn command(args: &Replay) -> Result<(), Failure> {
    let faults = match faults::rules(&args.faults) {
        Ok(rules) => rules,
        Err(help) => return files::print(help),
    };
    let Some(trace) = &args.trace else {
        let line = "no TRACE is given; see 'gpumm help replay'";
        return Err(Failure::new(Exit::Usage, line));
    };
    known_strategy(args.strategy.as_deref())?;
    known_device(args)?;
    if args.log.is_some() && args.swaps.iter().any(|swap| swap.what.changes_plans()) {
        let line = "--log keeps requests, not who plans: it goes with --swap P%:mechanism only";
        return Err(Failure::new(Exit::Usage, line));
    }
    for (option, output) in [("--log", &args.log), ("--json", &args.json)] {
        if let Some(output) = output {
            files::refuse_same(trace, output, option)?;
        }
    }
    let mut input = Input::open(trace)?;
    let prefix = input.peek(SNIFF_LEN)?;
    if gpumm_trace::sniff(&prefix) == Sniffed::RequestLog {
        return log::command(args, input);
    }
    let vram = args.vram.unwrap_or(Size::Times(1.5));
    if input.len.is_none() && vram.is_relative() {
        let line = format!(
            "{}: a size like {vram} is a part of the trace's live peak, and a pipe cannot be read \
             twice; give --vram in bytes, as in --vram 8GiB",
            input.name
        );
        return Err(Failure::new(Exit::Usage, line));
    }
    let json = args.json.as_deref().map(Whole::prepare).transpose()?;
    let name = input.name.clone();
    let trace = import(args, input)?;
    let options = options(args, faults, vram, name, &trace)?;
    let captures = args.captures.as_deref().map(files::folder).transpose()?;
    let log: Option<Box<dyn Write + Send>> = match &args.log {
        Some(path) => Some(Box::new(BufWriter::new(files::create(path)?))),
        None => None,
    };
    let summary = {
        let bar = Progress::events("replay", trace.events.len() as u64);
        let mut progress = |done| bar.set(done);
        let hooks = Hooks {
            progress: Some(&mut progress),
            log,
            captures,
            device: None,
        };
        let log_name = args.log.as_deref().map(files::name);
        run(&trace, &options, hooks).map_err(|error| {
            let named = match &error {
                gpumm::Error::Log(_) => log_name.as_deref(),
                _ => None,
            };
            Failure::of_runtime(&error).of(named.unwrap_or(&options.name))
        })?
    };
    if let (Some(maps), Some(Whole::Standard)) = (&summary.details.maps, &json) {
        eprint!("{maps}");
    }
    finish(&summary, &report::text(&summary), json)?;
    if !summary.is_good() {
        let line = verdict::verdict(&summary);
        return Err(Failure::new(Exit::Found, line).of(&summary.source.path));
    }
    match &summary.details.capture_problem {
        None => Ok(()),
        Some(problem) => Err(Failure::new(Exit::File, problem)),
    }
}

/// Writes what a run found: JSON if it is wanted, and the text unless standard output is taken.
fn finish(summary: &impl Serialize, text: &str, json: Option<Whole>) -> Result<(), Failure> {
    let silent = matches!(json, Some(Whole::Standard));
    if let Some(json) = json {
        let failed = |e: serde_json::Error| Failure::new(Exit::File, e.to_string());
        let written = serde_json::to_string_pretty(summary).map_err(failed)?;
        json.write(&(written + "\n"))?;
    }
    if silent { Ok(()) } else { files::print(text) }
}

/// Refuses a GPU that is not there, and what a GPU cannot do, before anything is read.
fn known_device(args: &Replay) -> Result<(), Failure> {
    let Some(DeviceKind::Wgpu(name)) = &args.device else {
        return Ok(());
    };
    let sim_only = [
        (!args.faults.is_empty(), "--fault"),
        (args.fault_seed.is_some(), "--fault-seed"),
    ];
    if let Some((_, option)) = sim_only.iter().find(|(given, _)| *given) {
        let line = format!(
            "{option} makes the simulated device fail, not a GPU: it goes with --device sim only"
        );
        return Err(Failure::new(Exit::Usage, line));
    }
    crate::gpu::check(name.as_deref())
}

/// Refuses an unknown strategy before anything is read.
fn known_strategy(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return Ok(()) };
    if WasmStrategy::built_in(name).is_some() || parts::is_file(name) {
        return Ok(());
    }
    // The Runtime knows the names, and looks at them before it makes anything.
    let built = gpumm::Runtime::builder().sim(1).strategy(name).build();
    built.map(drop).map_err(|e| Failure::of_runtime(&e))
}

fn import(args: &Replay, input: Input) -> Result<Trace, Failure> {
    let bar = Progress::bytes("import", input.len);
    let mut progress = |done| bar.set(done);
    let mut limits = Limits::default();
    if let Some(objects) = args.max_objects {
        limits.max_pickle_objects = objects.get();
    }
    let options = Options {
        limits,
        device: args.trace_device,
        progress: Some(&mut progress),
    };
    let trace = gpumm_trace::import(input.content, &input.name, options);
    trace.map_err(|e| Failure::new(Exit::File, e.to_string()))
}

fn options(
    args: &Replay,
    faults: Vec<FaultRule>,
    vram: Size,
    name: String,
    trace: &Trace,
) -> Result<ReplayOptions, Failure> {
    let peak = trace.stats().live_peak_bytes;
    let wrong =
        |option: &str, why: String| Failure::new(Exit::Usage, format!("{name}: {option}: {why}"));
    let vram_bytes = vram.bytes(peak).map_err(|why| wrong("--vram", why))?;
    let system_bytes = match args.system {
        Some(size) => Size::Bytes(size).bytes(peak),
        None => system_default(peak),
    };
    let system_bytes = system_bytes.map_err(|why| wrong("--system", why))?;
    let gtt = args.gtt.map(|size| Size::Bytes(size).bytes(peak));
    let gtt_bytes = gtt.transpose().map_err(|why| wrong("--gtt", why))?;
    let defaults = ReplayOptions::new(&name, vram_bytes, system_bytes);
    Ok(ReplayOptions {
        device: args.device.clone().unwrap_or_default(),
        strategy: args.strategy.clone().unwrap_or(defaults.strategy),
        touch: args.touch.unwrap_or(defaults.touch),
        verify: args.verify.map_or(defaults.verify, Verify::from),
        tenants: args.tenants.map_or(defaults.tenants, Tenants::from),
        restart_mechanism_every: args.restart_mechanism_every.map(|n| n.get()),
        parts: parts::chosen(args)?,
        gtt_bytes: gtt_bytes.map(|bytes| bytes.min(system_bytes)),
        copy_engines: args.copy_engines.unwrap_or(defaults.copy_engines),
        faults,
        fault_seed: args.fault_seed.unwrap_or(defaults.fault_seed),
        swaps: parts::swaps(&args.swaps)?,
        shadow: args.shadow.as_deref().map(parts::strategy).transpose()?,
        vm: args.vm || args.maps_at.is_some(),
        maps_at: args.maps_at.map(|percent| percent.0),
        ..defaults
    })
}

impl From<VerifyKind> for Verify {
    fn from(kind: VerifyKind) -> Self {
        match kind {
            VerifyKind::Off => Verify::Off,
            VerifyKind::Sample => Verify::Sample,
            VerifyKind::Full => Verify::Full,
        }
    }
}

impl From<TenantsKind> for Tenants {
    fn from(kind: TenantsKind) -> Self {
        match kind {
            TenantsKind::One => Tenants::One,
            TenantsKind::Stream => Tenants::Stream,
        }
    }
}
