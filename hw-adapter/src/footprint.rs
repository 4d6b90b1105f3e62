//! Which bytes a command reads and writes: computed, and checked, once at submission.

use std::cell::Cell;
use std::ops::Deref;
use std::sync::Arc;

use crate::command::{Command, Kernel, MemorySpace, Segment};
use crate::error::{DeviceError, ListSide};
use crate::runs::Runs;
use crate::vm_check;

/// Bytes of one memory that a command uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) write: bool,
}

/// Spans of one memory.
///
/// # Invariants
/// Sorted by start, not empty, and disjoint. `claim` rests its safety on that; it holds
/// because [`Spans::new`] and [`Spans::cover`] are the only ways to make one.
#[derive(Clone, Debug)]
pub(crate) struct Spans(Store);

/// Most commands use one or two spans: those cost no allocation.
#[derive(Clone, Debug)]
enum Store {
    Few([Span; 2], u8),
    Many(Arc<[Span]>),
}

impl Deref for Spans {
    type Target = [Span];

    fn deref(&self) -> &[Span] {
        match &self.0 {
            Store::Few(spans, len) => &spans[..usize::from(*len)],
            Store::Many(spans) => spans,
        }
    }
}

impl Spans {
    /// No bytes.
    pub(crate) fn none() -> Spans {
        Spans(Store::Few([Span::default(); 2], 0))
    }

    /// One range.
    pub(crate) fn one(start: u64, bytes: u64, write: bool) -> Spans {
        if bytes == 0 {
            return Spans::none();
        }
        let span = Span {
            start,
            end: start.saturating_add(bytes),
            write,
        };
        Spans(Store::Few([span, Span::default()], 1))
    }

    /// Sorts and merges; spans that overlap become one, written if one of them is. The flag says
    /// that something is written and used a second time.
    pub(crate) fn cover(mut spans: Vec<Span>) -> (Spans, bool) {
        let mut kept = spans.clone();
        match Spans::new(&mut spans) {
            Ok(spans) => (spans, false),
            Err(_) => {
                unite(&mut kept);
                (Spans(Store::of(&kept)), true)
            }
        }
    }

    /// Sorts and merges. The error is a range that is written and used a second time.
    pub(crate) fn new(spans: &mut Vec<Span>) -> Result<Spans, (u64, u64)> {
        sort(spans);
        let mut last = 0;
        for next in 1..spans.len() {
            let span = spans[next];
            let open = &mut spans[last];
            if span.start < open.end && (span.write || open.write) {
                return Err((span.start, span.end.min(open.end)));
            }
            if span.start <= open.end && span.write == open.write {
                open.end = open.end.max(span.end);
            } else {
                last += 1;
                spans[last] = span;
            }
        }
        spans.truncate(last + 1);
        Ok(Spans(Store::of(spans)))
    }
}

impl Store {
    fn of(spans: &[Span]) -> Store {
        match *spans {
            [] => Store::Few([Span::default(); 2], 0),
            [a] => Store::Few([a, Span::default()], 1),
            [a, b] => Store::Few([a, b], 2),
            _ => Store::Many(Arc::from(spans)),
        }
    }
}

/// See [`Spans::cover`].
fn unite(spans: &mut Vec<Span>) {
    sort(spans);
    spans.dedup_by(|next, open| {
        let one = next.start < open.end || next.start == open.end && next.write == open.write;
        if one {
            open.end = open.end.max(next.end);
            open.write |= next.write;
        }
        one
    });
}

/// Sorts by start; spans that touch may become one.
fn sort(spans: &mut Vec<Span>) {
    let Some(&Span { start, write, .. }) = spans.first() else {
        return;
    };
    let (mut before, mut descents) = (start, 0);
    let (mut from, mut to, mut bits, mut mixed) = (start, start, 0, false);
    for span in spans.iter() {
        descents += usize::from(span.start < before);
        before = span.start;
        from = from.min(span.start);
        to = to.max(span.end);
        bits |= span.start | span.end;
        mixed |= span.write != write;
    }
    // The stable sort is the one that is fast on a few ascending sequences.
    let scattered = spans.len() >= MANY && descents > spans.len() / 16 && !mixed;
    // The largest page that all are multiples of.
    let page = bits.trailing_zeros();
    if descents > 0 && !(scattered && sort_pages(spans, page, from >> page, to >> page)) {
        spans.sort_by_key(|span| span.start);
    }
}

/// As many spans are worth a look whether they are pages.
const MANY: usize = 256;

/// Sorts scattered pages of one kind by setting a bit for each, many times as fast as comparing
/// them. `false`, and nothing done, for spans far apart or doubled. `first` and `last` are in
/// pages of `1 << page` bytes.
fn sort_pages(spans: &mut Vec<Span>, page: u32, first: u64, last: u64) -> bool {
    let words = (last - first) / 64 + 1;
    if words > spans.len() as u64 {
        return false;
    }
    let write = spans.first().is_some_and(|span| span.write);
    let mut set = vec![0_u64; words as usize];
    for span in spans.iter() {
        for at in (span.start >> page) - first..(span.end >> page) - first {
            let (word, bit) = (&mut set[(at / 64) as usize], 1 << (at % 64));
            if *word & bit != 0 {
                return false;
            }
            *word |= bit;
        }
    }
    spans.clear();
    for (base, mut word) in (first..).step_by(64).zip(set) {
        while word != 0 {
            let at = word.trailing_zeros();
            let count = (word >> at).trailing_ones();
            let start = (base + u64::from(at)) << page;
            let end = start + (u64::from(count) << page);
            match spans.last_mut().filter(|last| last.end == start) {
                Some(last) => last.end = end,
                None => spans.push(Span { start, end, write }),
            }
            word &= u64::MAX.checked_shl(at + count).unwrap_or(0);
        }
    }
    true
}

/// What a command uses in each memory.
#[derive(Clone, Debug)]
pub(crate) struct Footprint {
    pub(crate) vram: Spans,
    pub(crate) system: Spans,
}

impl Footprint {
    fn none() -> Footprint {
        Footprint {
            vram: Spans::none(),
            system: Spans::none(),
        }
    }
}

/// The sizes of the memories, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) vram: u64,
    pub(crate) system: u64,
}

impl Sizes {
    pub(crate) fn of(self, memory: MemorySpace) -> u64 {
        match memory {
            MemorySpace::Vram => self.vram,
            MemorySpace::System => self.system,
        }
    }
}

/// A window of a segment list that a command uses.
pub(crate) struct Window<'a> {
    pub(crate) side: ListSide,
    pub(crate) list: &'a Arc<[Segment]>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// The windows of a command: the source first.
pub(crate) fn windows(command: &Command) -> [Option<Window<'_>>; 2] {
    use ListSide::{Destination, Source};
    let window = |side, list, offset, bytes| {
        Some(Window {
            side,
            list,
            offset,
            bytes,
        })
    };
    match command {
        // What jobs use is claimed piece by piece.
        Command::Nop
        | Command::WritePtes { .. }
        | Command::InvalidateTlb { .. }
        | Command::Launch(_) => [None, None],
        Command::Copy {
            src,
            dst,
            src_offset,
            dst_offset,
            bytes,
        } => [
            window(Source, src, *src_offset, *bytes),
            window(Destination, dst, *dst_offset, *bytes),
        ],
        Command::Fill {
            dst, offset, bytes, ..
        } => [None, window(Destination, dst, *offset, *bytes)],
        Command::Read { src, offset, bytes } => [window(Source, src, *offset, *bytes), None],
        Command::Write { dst, offset, data } => {
            [None, window(Destination, dst, *offset, data.len() as u64)]
        }
        Command::Run(Kernel::WritePattern { dst, bytes, .. }) => {
            [None, window(Destination, dst, 0, *bytes)]
        }
        Command::Run(Kernel::CheckPattern { src, bytes, .. }) => {
            [window(Source, src, 0, *bytes), None]
        }
        Command::Run(Kernel::Rewrite { mem, bytes, .. }) => {
            [None, window(Destination, mem, 0, *bytes)]
        }
    }
}

/// Checks the segment lists of a command and computes what it uses.
pub(crate) fn footprint(command: &Command, sizes: Sizes) -> Result<Footprint, DeviceError> {
    // What jobs use is claimed piece by piece, and there are many jobs.
    if let Command::Nop | Command::InvalidateTlb { .. } | Command::Launch(_) = command {
        return Ok(Footprint::none());
    }
    // Left empty while in use, so a second one on this thread would only be slower.
    let [mut vram, mut system] = SCRATCH.take();
    let result = collect(command, sizes, &mut vram, &mut system);
    for spans in [&mut vram, &mut system] {
        spans.clear();
        spans.shrink_to(SCRATCH_SPANS);
    }
    SCRATCH.set([vram, system]);
    result
}

thread_local! {
    /// Spans on their way: new memory for each long list costs more than sorting it.
    static SCRATCH: Cell<[Vec<Span>; 2]> = Cell::default();
}

/// What a thread keeps of [`SCRATCH`].
const SCRATCH_SPANS: usize = 1 << 16;

fn collect(
    command: &Command,
    sizes: Sizes,
    vram: &mut Vec<Span>,
    system: &mut Vec<Span>,
) -> Result<Footprint, DeviceError> {
    if let Command::WritePtes { writes, .. } = command {
        vm_check::check(writes, sizes)?;
    }
    for window in windows(command).into_iter().flatten() {
        check_window(&window, sizes)?;
        for run in Runs::new(window.list, window.offset, window.bytes) {
            let spans = match run.memory {
                MemorySpace::Vram => &mut *vram,
                MemorySpace::System => &mut *system,
            };
            spans.push(Span {
                start: run.offset,
                end: run.offset + run.bytes,
                write: window.side == ListSide::Destination,
            });
        }
    }
    let merge = |memory, spans: &mut Vec<Span>| {
        Spans::new(spans).map_err(|(start, end)| DeviceError::Overlap {
            memory,
            offset: start,
            bytes: end - start,
        })
    };
    Ok(Footprint {
        vram: merge(MemorySpace::Vram, vram)?,
        system: merge(MemorySpace::System, system)?,
    })
}

pub(crate) fn check_window(window: &Window<'_>, sizes: Sizes) -> Result<(), DeviceError> {
    let side = window.side;
    let mut available = 0_u64;
    for (index, segment) in window.list.iter().enumerate() {
        let size = sizes.of(segment.memory);
        let inside = segment
            .offset
            .checked_add(segment.bytes)
            .is_some_and(|end| end <= size);
        if !inside {
            return Err(DeviceError::SegmentOutOfBounds {
                side,
                index,
                segment: *segment,
                size,
            });
        }
        available = available.saturating_add(segment.bytes);
    }
    let needed = window.offset.checked_add(window.bytes);
    if needed.is_none_or(|needed| needed > available) {
        return Err(DeviceError::ListTooShort {
            side,
            needed: needed.unwrap_or(u64::MAX),
            available,
        });
    }
    Ok(())
}

#[cfg(test)]
#[path = "footprint_tests.rs"]
mod tests;
