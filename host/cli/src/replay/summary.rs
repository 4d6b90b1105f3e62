//! What a replay found, and the JSON of it.

use super::{Tenants, Verify};
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
    /// The kind of device, `sim`.
    pub device: String,
    /// The strategy of device memory.
    pub strategy: String,
    /// Device memory in bytes.
    pub vram_bytes: u64,
    /// System memory in bytes.
    pub system_bytes: u64,
    /// Which uses were added to the trace.
    pub access_model: AccessModel,
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
    /// Uses and releases that failed, of buffers that had a place.
    pub failed_accesses: u64,
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
    /// Commands that failed on the device.
    pub device_faults: u64,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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
}

impl Summary {
    /// Whether nothing failed.
    pub fn is_good(&self) -> bool {
        let failed = [
            self.failed_allocations,
            self.failed_accesses,
            self.corrupt_bytes,
            self.device_faults,
        ];
        failed.iter().all(|&n| n == 0)
    }
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
