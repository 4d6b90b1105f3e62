//! Recorded memory traces: recognising, importing and checking them.
//!
//! [`import`] reads our own CSV and PyTorch CUDA memory snapshots (pickle), plain or
//! gzip'd, from any [`std::io::Read`], and gives a [`Trace`]: a flat list of compact
//! events whose allocations are numbered 0, 1, 2… The format is recognised by content
//! ([`sniff`]), never by name. The crate opens no files.
//!
//! Input is never trusted: nothing panics, no pickle can run code, memory and work are
//! bounded by [`Limits`], and every error is one line with a place ([`TraceError`]).
//!
//! # CSV
//!
//! UTF-8 with a header line and RFC 4180 quoting. Columns are found by name in any order
//! and others are ignored; the last five may be missing.
//!
//! | column | meaning |
//! |---|---|
//! | `time_ns` | time since the first event, never decreasing |
//! | `action` | `alloc`, `free`, `oom`, `segment_…`; rows with others are skipped and noted |
//! | `id` | 0, 1, 2… in order of `alloc`; the `free` repeats it; ignored for other actions |
//! | `bytes` | requested size, may be 0; the `free` repeats it |
//! | `addr` | address at recording time, hex with 0x; the `free` repeats it |
//! | `device` | such as `cpu` or `cuda:0` |
//! | `stream` | stream or tenant, counted from 0 |
//! | `tag`, `op` | phase of the program; operator or source line |
//!
//! ```
//! let csv = "time_ns,action,id,bytes\n0,alloc,0,64\n5,free,0,64\n";
//! let trace = gpumm_trace::import(csv.as_bytes(), "my.csv", Default::default())?;
//! assert_eq!(trace.stats().live_peak_bytes, 64);
//! # Ok::<(), gpumm_trace::TraceError>(())
//! ```
//!
//! # PyTorch snapshots
//!
//! Files of `torch.cuda.memory._dump_snapshot`. An allocation begins at `alloc` and ends
//! at `free_completed`. Blocks that are older than the recording come first, at time 0 and
//! with the tag `before-recording`. The tag of an event is the innermost open annotation,
//! its operator the innermost Python frame. Streams are numbered in order of appearance.

#![forbid(unsafe_code)]

mod builder;
mod error;
mod event;
mod gzip;
mod import;
mod limits;
mod names;
mod our_csv;
mod pickle;
mod snapshot;
mod sniff;
mod stats;
mod write_csv;

pub use error::{ErrorKind, Place, TraceError};
pub use event::{Event, EventKind, Format, NO_ID, OtherKind, Trace};
pub use import::{Options, import};
pub use limits::{Limits, MAX_ALLOCATION_BYTES};
pub use names::Names;
pub use sniff::{SNIFF_LEN, Sniffed, sniff};
pub use stats::TraceStats;
pub use write_csv::write_csv;
