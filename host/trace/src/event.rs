//! The imported trace.

use crate::names::Names;
use crate::stats::TraceStats;

/// The [`Event::id`] of events that are not about an allocation.
pub const NO_ID: u64 = u64::MAX;

/// A format that [`import`](crate::import) reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The CSV of this project.
    Csv,
    /// A PyTorch CUDA memory snapshot (pickle).
    TorchSnapshot,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Csv => "gpumm CSV",
            Self::TorchSnapshot => "PyTorch CUDA memory snapshot",
        })
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// An allocation begins.
    Alloc,
    /// The allocation named by [`Event::id`] ends.
    Free,
    /// Something that is not an allocation; a replay skips it.
    Other(OtherKind),
}

/// An event that is not an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherKind {
    /// The recorded allocator took memory from the driver.
    SegmentAlloc,
    /// The recorded allocator gave memory back to the driver.
    SegmentFree,
    /// Memory was mapped into an expandable segment.
    SegmentMap,
    /// Memory was unmapped from an expandable segment.
    SegmentUnmap,
    /// Another `segment_…` action.
    SegmentOther,
    /// A request failed for lack of memory; [`Event::bytes`] is its size.
    Oom,
}

impl OtherKind {
    /// The kind with this name in our CSV; `None` for names that importers skip.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "segment_alloc" => Self::SegmentAlloc,
            "segment_free" => Self::SegmentFree,
            "segment_map" => Self::SegmentMap,
            "segment_unmap" => Self::SegmentUnmap,
            "oom" => Self::Oom,
            _ if name.starts_with("segment_") => Self::SegmentOther,
            _ => return None,
        })
    }

    /// The name in our CSV.
    pub fn name(self) -> &'static str {
        match self {
            Self::SegmentAlloc => "segment_alloc",
            Self::SegmentFree => "segment_free",
            Self::SegmentMap => "segment_map",
            Self::SegmentUnmap => "segment_unmap",
            Self::SegmentOther => "segment_other",
            Self::Oom => "oom",
        }
    }
}

/// One event of a trace; 48 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Time since the first event; never decreases.
    ///
    /// # Units
    /// Nanoseconds.
    pub time_ns: u64,
    /// The address at recording time (an identity, not a place in any memory of ours).
    pub addr: u64,
    /// The size that was requested; a free repeats it.
    ///
    /// # Bounds
    /// At most [`MAX_ALLOCATION_BYTES`](crate::MAX_ALLOCATION_BYTES) for an allocation
    /// and its free; may be 0.
    pub bytes: u64,
    /// The allocation: 0, 1, 2… in order of their allocs; [`NO_ID`] for other events.
    pub id: u64,
    /// The stream or tenant, counted from 0.
    pub stream: u32,
    /// The phase of the program, a number of [`Trace::names`].
    pub tag: u32,
    /// The operator or source line, a number of [`Trace::names`].
    pub op: u32,
    /// What happened.
    pub kind: EventKind,
}

// Traces have millions of events.
const _: () = assert!(size_of::<Event>() <= 48);

/// An imported trace that passed all checks.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The format that it was read from.
    pub format: Format,
    /// The events in order of time.
    pub events: Vec<Event>,
    /// The texts that [`Event::tag`] and [`Event::op`] name.
    pub names: Names,
    /// The devices that the trace names, such as `cuda:0`, in order of appearance.
    pub devices: Vec<String>,
    /// Rows of a CSV file with an unknown action; they are not in `events`.
    pub skipped_rows: u64,
    /// What a user should know about how the trace was read, a line each.
    pub notes: Vec<String>,
}

impl Trace {
    /// The tag of an event; empty if it has none.
    pub fn tag(&self, event: &Event) -> &str {
        self.names.get(event.tag)
    }

    /// The operator of an event; empty if it has none.
    pub fn op(&self, event: &Event) -> &str {
        self.names.get(event.op)
    }

    /// Counts and peaks of the whole trace, computed on each call.
    pub fn stats(&self) -> TraceStats {
        TraceStats::of(self)
    }
}
