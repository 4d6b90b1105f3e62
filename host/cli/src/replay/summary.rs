//! What a replay found, and the JSON of it.

use super::{ShadowDone, StrategyFaultDone, SwapDone, Tenants, Verify, VmDone, faults};
use crate::device::Adapter;
use gpumm_hw::sim::FaultRule;
use serde::Serialize;

/// The version of the JSON's keys and their meaning.
pub const SCHEMA_VERSION: u32 = 1;

/// What a replay of a trace found. As JSON: the fields in this order, without
/// [`Summary::details`]. All but [`Summary::timing`] is equal in two runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What was replayed.
    pub source: Source,
    /// The kind of device, `sim` or `wgpu`.
    pub device: String,
    /// The GPU, where the device is one.
    pub adapter: Option<Adapter>,
    /// The strategy of device memory.
    pub strategy: String,
    /// Device memory in bytes.
    pub vram_bytes: u64,
    /// System memory in bytes.
    pub system_bytes: u64,
    /// Bytes of it that the device's DMA reaches at once.
    pub gtt_bytes: u64,
    /// How many copy engines the device has.
    pub copy_engines: u32,
    /// Which uses were added to the trace.
    pub access_model: AccessModel,
    /// The rules by which the device failed; as JSON texts that `--fault` takes.
    #[serde(serialize_with = "faults::as_texts")]
    pub faults: Vec<FaultRule>,
    /// What rules of chance drew from.
    pub fault_seed: u64,
    /// Allocations of the trace.
    pub allocations: u64,
    /// Frees of the trace.
    pub frees: u64,
    /// The most bytes that were live at once, as requested.
    pub live_peak_bytes: u64,
    /// The most allocations that were live at once.
    pub live_peak_allocations: u64,
    /// The highest end ever placed in device memory, in bytes.
    pub high_water_bytes: u64,
    /// Allocations that found no place, or on which a component failed.
    pub failed_allocations: u64,
    /// Uses and releases that failed, of buffers that had a place and their content.
    pub failed_accesses: u64,
    /// Of these allocations and accesses, those that failed because injected faults kept memory
    /// from being mapped for the device.
    pub mapping_failures: u64,
    /// Buffers moved out of device memory.
    pub evictions: u64,
    /// Buffers moved back.
    pub swap_ins: u64,
    /// Bytes in these moves.
    pub bytes_moved: u64,
    /// Bytes compared with what must be there.
    pub bytes_verified: u64,
    /// Bytes that were something else.
    pub corrupt_bytes: u64,
    /// Commands that failed on the device, and that no injected fault explains.
    pub device_faults: u64,
    /// Faults that took effect by a rule: failed and hung commands, refusals, losses.
    pub faults_injected: u64,
    /// Operations that failed and were done again by the CPU.
    pub cpu_fallbacks: u64,
    /// Allocations whose content was lost, ascending; also those freed since.
    pub poisoned: Vec<u64>,
    /// Uses that were refused because the content was lost.
    pub refused_accesses: u64,
    /// Accepted uses whose job has not run, or not to its end: it was made to fail or hang, the
    /// device was lost before, or the content it needed was.
    pub cancelled_jobs: u64,
    /// How often the device was lost and brought back.
    pub resets: u64,
    /// Operations of plans that failed or did not run, repaired or not.
    pub failed_operations: u64,
    /// The files of error captures.
    pub captures: Vec<String>,
    /// Replacements of components that were asked for, in order.
    pub swaps: Vec<SwapDone>,
    /// Replacements that did not start, so that the old component went on.
    pub failed_swaps: u64,
    /// Faults of strategies, and who answered in their place.
    pub strategy_faults: Vec<StrategyFaultDone>,
    /// What the strategy would have done that decided beside.
    pub shadow: Option<ShadowDone>,
    /// What came of the address spaces, where there were any.
    pub vm: Option<VmDone>,
    /// Calls of the mechanism, one per batch.
    pub crossings: u64,
    /// Operations in its plans.
    pub plan_ops: u64,
    /// SHA-256 of all plans in order, in hex.
    pub plans_digest: String,
    /// Components that were replaced.
    pub restarts: u64,
    /// How long it took.
    pub timing: Timing,
    /// What only people want to know.
    #[serde(skip)]
    pub details: Details,
}

/// What was replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Source {
    /// As the command line named it.
    pub path: String,
    /// The format that was recognised.
    pub format: String,
    /// All events of the trace; a replay skips those that are no allocations and frees.
    pub events: u64,
}

/// The uses that a replay adds to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AccessModel {
    /// How many of the newest live buffers of its stream an allocation uses.
    pub touch: u32,
    /// Whether a buffer is used just before it is freed.
    pub before_free: bool,
    /// Whether what is live at the end is used once more.
    pub at_end: bool,
    /// How much is checked.
    pub verify: Verify,
    /// Whose the buffers are.
    pub tenants: Tenants,
    /// Allocations and frees per batch.
    pub batch_events: u32,
    /// How many batches later the planner is told what the device finished.
    pub window_batches: u32,
}

/// How long a replay took.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// From the first batch until the device was done, in seconds.
    pub seconds: f64,
    /// Before that: making the device and compiling the components.
    pub startup_seconds: f64,
    /// Allocations and frees per second.
    pub events_per_second: f64,
    /// Bytes moved between the memories per second.
    pub bytes_per_second_moved: f64,
    /// Bytes checked per second.
    pub bytes_per_second_verified: f64,
    /// The longest that a request had to wait for each of the swaps, in nanoseconds.
    pub swap_pause_ns: Vec<u64>,
}

impl Timing {
    /// Rates of a run.
    pub(crate) fn new(startup: f64, seconds: f64, events: u64, moved: u64, verified: u64) -> Self {
        let rate = |what: u64| {
            if seconds > 0.0 {
                what as f64 / seconds
            } else {
                0.0
            }
        };
        Timing {
            seconds,
            startup_seconds: startup,
            events_per_second: rate(events),
            bytes_per_second_moved: rate(moved),
            bytes_per_second_verified: rate(verified),
            swap_pause_ns: Vec::new(),
        }
    }
}

/// What only people want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What the importer had to say, and what the replay left out.
    pub notes: Vec<String>,
    /// The first failure, in words.
    pub first_failure: Option<String>,
    /// Whether more device memory would have helped.
    pub more_vram: bool,
    /// Whether more system memory would have helped.
    pub more_system: bool,
    /// Jobs that were made to fail or to hang.
    pub failed_jobs: u64,
    /// Jobs that have not run because the device was lost.
    pub lost_jobs: u64,
    /// Jobs that have not run because their content was lost.
    pub poisoned_jobs: u64,
    /// Why the first missing capture could not be written.
    pub capture_problem: Option<String>,
    /// The mappings, where they were asked for.
    pub maps: Option<String>,
}

impl Summary {
    /// Whether nothing failed but what injected faults explain.
    pub fn is_good(&self) -> bool {
        let requests = self.failed_allocations + self.failed_accesses;
        requests == self.mapping_failures
            && self.corrupt_bytes == 0
            && self.device_faults == 0
            && self.vm.is_none_or(|vm| vm.stale_accesses == 0)
            && faults::unexplained(self).is_empty()
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
