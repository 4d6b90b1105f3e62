//! What is handed out: under each number its first run of blocks, the others chained behind it.

use crate::piece::{Piece, Run};
use alloc::boxed::Box;
use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

/// No further record.
const NONE: u32 = u32::MAX;

/// Numbers per page.
const PAGE: usize = 1024;

/// A run in few bytes, and where the allocation's next one is.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: u64,
    /// Chunks, or the order of a block from [`ORDER`] on; [`CLEAR`] says that it is. 0 describes
    /// nothing.
    size: u32,
    next: u32,
}

const CLEAR: u32 = 1 << 31;
const ORDER: u32 = 1 << 30;

impl Record {
    const EMPTY: Record = Record {
        start: 0,
        size: 0,
        next: NONE,
    };

    /// Bounds: the run is shorter than [`ORDER`], or one block.
    #[inline]
    fn new(run: Run) -> Self {
        let chunks = run.chunks();
        let size = match u32::try_from(chunks) {
            Ok(chunks) if chunks < ORDER => chunks,
            _ => ORDER | chunks.trailing_zeros(),
        };
        Record {
            start: run.start,
            size: if run.clear { size | CLEAR } else { size },
            next: NONE,
        }
    }

    #[inline]
    fn run(self) -> Run {
        let size = self.size & (ORDER - 1);
        let chunks = match self.size & ORDER {
            0 => u64::from(size),
            _ => 1 << size,
        };
        Run {
            start: self.start,
            end: self.start + chunks,
            clear: self.size & CLEAR != 0,
        }
    }
}

/// All records.
///
/// Invariants: the record of a number describes nothing exactly when nothing is filed under it; a
/// further record is in one chain, or in the spare list and describes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    /// The first blocks by number, in pages made when first used: no growth ever copies them.
    pages: Vec<Box<[Record]>>,
    further: Vec<Record>,
    spare: u32,
}

impl Records {
    pub(crate) fn new() -> Self {
        Records {
            pages: Vec::new(),
            further: Vec::new(),
            spare: NONE,
        }
    }

    #[inline]
    fn first(&self, number: u32) -> Option<&Record> {
        let page = self.pages.get(number as usize / PAGE)?;
        let record = page.get(number as usize % PAGE)?;
        (record.size != 0).then_some(record)
    }

    /// Whether something is filed under a number.
    #[inline]
    pub(crate) fn has(&self, number: u32) -> bool {
        self.first(number).is_some()
    }

    /// Files the runs of an allocation, in the buffer's byte order, under an unused number.
    #[inline]
    pub(crate) fn file(&mut self, number: u32, runs: &[Run]) {
        let (mut first, mut last) = (Record::EMPTY, None);
        for &run in runs {
            if run.chunks() < u64::from(ORDER) {
                self.append(&mut first, &mut last, run);
            } else {
                let blocks = run.pieces().map(Run::from);
                blocks.for_each(|run| self.append(&mut first, &mut last, run));
            }
        }
        let at = number as usize / PAGE;
        if self.pages.get(at).is_none_or(|page| page.is_empty()) {
            self.add_page(at);
        }
        self.pages[at][number as usize % PAGE] = first;
    }

    /// Appends a run to a chain, of which `last` is the last further record.
    #[inline]
    fn append(&mut self, first: &mut Record, last: &mut Option<u32>, run: Run) {
        let record = Record::new(run);
        if first.size == 0 {
            *first = record;
            return;
        }
        let at = self.push(record);
        match last.replace(at) {
            Some(last) => self.further[last as usize].next = at,
            None => first.next = at,
        }
    }

    #[cold]
    fn add_page(&mut self, at: usize) {
        if self.pages.len() <= at {
            self.pages.resize_with(at + 1, Box::default);
        }
        self.pages[at] = vec![Record::EMPTY; PAGE].into_boxed_slice();
    }

    #[inline]
    fn push(&mut self, record: Record) -> u32 {
        let at = self.spare;
        if at != NONE {
            self.spare = self.further[at as usize].next;
            self.further[at as usize] = record;
            return at;
        }
        self.further.push(record);
        // OVERFLOW: 2^32 records of 16 bytes do not fit in any memory this runs in.
        (self.further.len() - 1) as u32
    }

    /// Takes the runs of an allocation out, in its byte order; `false` when nothing is filed under
    /// the number.
    #[inline]
    pub(crate) fn take(&mut self, number: u32, mut out: impl FnMut(Run)) -> bool {
        let page = self.pages.get_mut(number as usize / PAGE);
        let Some(first) = page.and_then(|page| page.get_mut(number as usize % PAGE)) else {
            return false;
        };
        if first.size == 0 {
            return false;
        }
        let mut here = core::mem::replace(first, Record::EMPTY);
        // The next record is fetched before this one's run is dealt with: it is far away.
        while let Some(next) = self.further.get_mut(here.next as usize) {
            let spare = Record {
                next: self.spare,
                ..Record::EMPTY
            };
            self.spare = here.next;
            let record = core::mem::replace(next, spare);
            out(here.run());
            here = record;
        }
        out(here.run());
        true
    }

    /// The runs of an allocation, in its byte order.
    pub(crate) fn runs(&self, number: u32) -> impl Iterator<Item = Run> + '_ {
        let mut record = self.first(number);
        core::iter::from_fn(move || {
            let here = *record?;
            record = self.further.get(here.next as usize);
            Some(here.run())
        })
    }

    /// The blocks of an allocation, in its byte order.
    pub(crate) fn chain(&self, number: u32) -> impl Iterator<Item = Piece> + '_ {
        self.runs(number).flat_map(Run::pieces)
    }

    /// Every number under which something is filed.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        let pages = self.pages.iter().zip(0..);
        let all = pages.flat_map(|(page, at)| (0..page.len()).map(move |i| (at * PAGE + i) as u32));
        all.filter(|&number| self.has(number))
    }

    /// The `limit` lowest blocks that end behind a chunk, ascending, with their owners.
    ///
    /// Complexity: O(numbers + blocks * log limit); it serves views, not allocations.
    pub(crate) fn lowest_behind(&self, chunk: u64, limit: usize) -> Vec<(Piece, u32)> {
        let mut lowest = BinaryHeap::new();
        for number in self.numbers() {
            for piece in self.chain(number).filter(|piece| piece.last() >= chunk) {
                lowest.push((piece.offset, piece.order, piece.clear, number));
                if lowest.len() > limit {
                    lowest.pop();
                }
            }
        }
        let sorted = lowest.into_sorted_vec();
        let block = |(offset, order, clear, owner)| {
            let piece = Piece {
                offset,
                order,
                clear,
            };
            (piece, owner)
        };
        sorted.into_iter().map(block).collect()
    }

    /// Whether every further record is in exactly one chain, or in the spare list.
    pub(crate) fn consistent(&self) -> bool {
        let mut seen = vec![false; self.further.len()];
        let mut once = |at: u32| {
            let seen = seen.get_mut(at as usize);
            seen.is_some_and(|seen| !core::mem::replace(seen, true))
        };
        let firsts = self.numbers().filter_map(|number| self.first(number));
        let starts = firsts.map(|record| (record.next, false));
        for (mut at, spare) in starts.chain([(self.spare, true)]) {
            while at != NONE {
                let record = self.further.get(at as usize);
                let right = record.filter(|record| (record.size == 0) == spare);
                let Some(record) = right.filter(|_| once(at)) else {
                    return false;
                };
                at = record.next;
            }
        }
        seen.into_iter().all(|seen| seen)
    }
}
