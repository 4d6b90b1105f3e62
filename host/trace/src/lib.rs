//! Recorded memory traces: recognising, importing and checking them.
//!
//! [`import`] reads our own CSV and PyTorch CUDA memory snapshots (pickle), plain or
//! gzip'd, from any [`std::io::Read`], and gives a [`Trace`]: a flat list of compact
//! events whose allocations are numbered 0, 1, 2… The format is recognised by content
//! ([`sniff`]), never by name. The crate opens no files.
//!
//! Input is never trusted: nothing panics, no pickle can run code, memory and work are
//! bounded by [`Limits`], and every error is one line with a place ([`TraceError`]).

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
mod sniff;
mod snapshot;
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
