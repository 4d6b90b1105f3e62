//! Puts a trace together and checks that it can have happened.

use std::collections::{BTreeMap, HashMap};

use crate::error::{ErrorKind, quote};
use crate::event::{Event, EventKind, Format, NO_ID, OtherKind, Trace};
use crate::limits::{Limits, MAX_ALLOCATION_BYTES};
use crate::names::Names;

/// Different unknown actions that get a note of their own.
const MAX_ACTION_NOTES: usize = 16;

/// What all kinds of event have.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) time_ns: u64,
    pub(crate) addr: u64,
    pub(crate) bytes: u64,
    pub(crate) stream: u32,
    pub(crate) tag: u32,
    pub(crate) op: u32,
}

pub(crate) struct Builder<'l> {
    limits: &'l Limits,
    events: Vec<Event>,
    names: Names,
    /// Live allocations by id: bytes and address.
    live: HashMap<u64, (u64, u64)>,
    live_bytes: u64,
    next_id: u64,
    last_time: u64,
    segments: u64,
    unknown: BTreeMap<String, u64>,
    unknown_more: u64,
    pub(crate) notes: Vec<String>,
    pub(crate) devices: Vec<String>,
}

impl<'l> Builder<'l> {
    pub(crate) fn new(limits: &'l Limits) -> Self {
        Self {
            limits,
            events: Vec::new(),
            names: Names::default(),
            live: HashMap::new(),
            live_bytes: 0,
            next_id: 0,
            last_time: 0,
            segments: 0,
            unknown: BTreeMap::new(),
            unknown_more: 0,
            notes: Vec::new(),
            devices: Vec::new(),
        }
    }

    pub(crate) fn name(&mut self, text: &str) -> Result<u32, ErrorKind> {
        self.names.intern(text, self.limits.max_name_bytes)
    }

    /// Refuses to make more text than may be kept, even if it is the same text.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), ErrorKind> {
        let max = self.limits.max_name_bytes;
        if bytes <= max {
            return Ok(());
        }
        let what = format!("the operators of the entries take more than {max} bytes");
        Err(ErrorKind::TooLarge(what))
    }

    /// The id that the next alloc gets.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(crate) fn alloc(&mut self, row: Row) -> Result<u64, ErrorKind> {
        if row.bytes > MAX_ALLOCATION_BYTES {
            return Err(ErrorKind::Semantic(format!(
                "an allocation of {} bytes is absurd (at most 2^56 is believed)",
                row.bytes
            )));
        }
        self.live_bytes = self.live_bytes.checked_add(row.bytes).ok_or_else(|| {
            ErrorKind::Semantic("the live allocations sum up to more than 2^64 bytes".to_owned())
        })?;
        let id = self.next_id;
        self.push(EventKind::Alloc, id, row)?;
        self.next_id += 1;
        self.live.insert(id, (row.bytes, row.addr));
        Ok(id)
    }

    pub(crate) fn free(&mut self, id: u64, row: Row) -> Result<(), ErrorKind> {
        let wrong = |text: String| Err(ErrorKind::Semantic(text));
        let Some((bytes, addr)) = self.live.remove(&id) else {
            return if id < self.next_id {
                wrong(format!("allocation {id} is freed a second time"))
            } else {
                wrong(format!("free names allocation {id}, which is not live"))
            };
        };
        if bytes != row.bytes {
            return wrong(format!(
                "free of allocation {id} says {} bytes, but {bytes} were allocated",
                row.bytes
            ));
        }
        if addr != row.addr {
            return wrong(format!(
                "free of allocation {id} says address {:#x}, but it is at {addr:#x}",
                row.addr
            ));
        }
        self.live_bytes -= bytes;
        self.push(EventKind::Free, id, row)
    }

    pub(crate) fn other(&mut self, kind: OtherKind, row: Row) -> Result<(), ErrorKind> {
        self.segments += u64::from(kind != OtherKind::Oom);
        self.push(EventKind::Other(kind), NO_ID, row)
    }

    /// Counts a row whose action nobody knows.
    pub(crate) fn unknown(&mut self, action: &str) {
        if let Some(count) = self.unknown.get_mut(action) {
            *count += 1;
        } else if self.unknown.len() < MAX_ACTION_NOTES {
            self.unknown.insert(action.to_owned(), 1);
        } else {
            self.unknown_more += 1;
        }
    }

    fn push(&mut self, kind: EventKind, id: u64, row: Row) -> Result<(), ErrorKind> {
        if row.time_ns < self.last_time {
            return Err(ErrorKind::Semantic(format!(
                "time goes back from {} to {} ns",
                self.last_time, row.time_ns
            )));
        }
        if self.events.len() as u64 >= self.limits.max_events {
            return Err(ErrorKind::TooLarge(format!(
                "more than {} events",
                self.limits.max_events
            )));
        }
        self.last_time = row.time_ns;
        self.events.push(Event {
            time_ns: row.time_ns,
            addr: row.addr,
            bytes: row.bytes,
            id,
            stream: row.stream,
            tag: row.tag,
            op: row.op,
            kind,
        });
        Ok(())
    }

    pub(crate) fn finish(mut self, format: Format) -> Trace {
        if self.segments > 0 {
            self.notes.push(format!(
                "{} segment events are not allocations and are skipped by a replay",
                self.segments
            ));
        }
        for (action, rows) in &self.unknown {
            let action = quote(action);
            self.notes
                .push(format!("unknown action {action}: {rows} rows skipped"));
        }
        if self.unknown_more > 0 {
            self.notes.push(format!(
                "more unknown actions: {} rows skipped",
                self.unknown_more
            ));
        }
        self.events.shrink_to_fit();
        Trace {
            format,
            events: self.events,
            names: self.names,
            devices: self.devices,
            // A snapshot's entries are not rows: only some of them ever become one.
            skipped_rows: match format {
                Format::Csv => self.unknown.values().sum::<u64>() + self.unknown_more,
                Format::TorchSnapshot => 0,
            },
            notes: self.notes,
        }
    }
}
