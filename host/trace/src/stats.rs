//! Counts and peaks of a trace.

use std::collections::{HashMap, HashSet};

use crate::event::{EventKind, Trace};

/// Counts and peaks of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceStats {
    /// Rows of the trace: all events, and the rows that the import skipped.
    pub events: u64,
    /// Allocations.
    pub allocations: u64,
    /// Frees.
    pub frees: u64,
    /// The most bytes that were live at once, as requested (not rounded).
    pub live_peak_bytes: u64,
    /// The most allocations that were live at once (maybe at another time than
    /// [`live_peak_bytes`](Self::live_peak_bytes)).
    pub live_peak_allocations: u64,
    /// Allocations that the trace never frees.
    pub still_live: u64,
    /// Bytes of the allocations that the trace never frees.
    pub still_live_bytes: u64,
    /// Different streams among the events.
    pub streams: u64,
    /// Bytes of the largest allocation.
    pub largest: u64,
    /// Time of the last event, in nanoseconds since the first.
    pub span_ns: u64,
}

impl TraceStats {
    pub(crate) fn of(trace: &Trace) -> Self {
        let mut s = Self {
            events: trace.events.len() as u64 + trace.skipped_rows,
            ..Self::default()
        };
        let mut streams = HashSet::new();
        let mut last_stream = None;
        let mut live: HashMap<u64, u64> = HashMap::new();
        for e in &trace.events {
            if last_stream != Some(e.stream) {
                last_stream = Some(e.stream);
                streams.insert(e.stream);
            }
            s.span_ns = e.time_ns;
            match e.kind {
                EventKind::Alloc => {
                    s.allocations += 1;
                    s.largest = s.largest.max(e.bytes);
                    // An imported trace cannot overflow; one changed by the caller could.
                    s.still_live_bytes = s.still_live_bytes.saturating_add(e.bytes);
                    live.insert(e.id, e.bytes);
                    s.live_peak_bytes = s.live_peak_bytes.max(s.still_live_bytes);
                    s.live_peak_allocations = s.live_peak_allocations.max(live.len() as u64);
                }
                EventKind::Free => {
                    s.frees += 1;
                    let bytes = live.remove(&e.id).unwrap_or(0);
                    s.still_live_bytes = s.still_live_bytes.saturating_sub(bytes);
                }
                EventKind::Other(_) => {}
            }
        }
        s.still_live = live.len() as u64;
        s.streams = streams.len() as u64;
        s
    }
}
