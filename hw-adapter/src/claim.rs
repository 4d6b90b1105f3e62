//! Claims: who may touch which bytes of a memory now.
//!
//! Plans come from sandboxed components, and `submit` is a safe function. So a plan that
//! lets two engines touch the same bytes at once must fail, not race: before a command runs,
//! its spans are registered in the memory's table; a command that meets another one there,
//! and either writes, is refused.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Arena;
use crate::command::MemorySpace;
use crate::error::DeviceError;
use crate::footprint::{Footprint, Span, Spans};
use crate::sync::lock;

/// An arena with its table of running commands.
pub(crate) struct Memory {
    space: MemorySpace,
    arena: Arena,
    running: Mutex<Running>,
    conflicts: AtomicU64,
}

#[derive(Default)]
struct Running {
    next: u64,
    /// As many as there are engines and client accesses at work: a few.
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    spans: Spans,
}

impl Memory {
    pub(crate) fn new(space: MemorySpace, bytes: u64) -> Result<Memory, DeviceError> {
        Ok(Memory {
            space,
            arena: Arena::new(bytes)?,
            running: Mutex::default(),
            conflicts: AtomicU64::new(0),
        })
    }

    /// As [`Memory::new`], for bytes that are used a little at a time and given back soon.
    #[cfg(feature = "wgpu")]
    pub(crate) fn scratch(space: MemorySpace, bytes: u64) -> Result<Memory, DeviceError> {
        Ok(Memory {
            space,
            arena: Arena::scratch(bytes)?,
            running: Mutex::default(),
            conflicts: AtomicU64::new(0),
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.arena.size()
    }

    /// How many claims were refused because of another.
    pub(crate) fn conflicts(&self) -> u64 {
        self.conflicts.load(Ordering::Relaxed)
    }

    /// Claims the spans until the answer is dropped; never waits for another claim.
    ///
    /// # Errors
    /// [`DeviceError::Conflict`], [`DeviceError::OutOfBounds`].
    pub(crate) fn claim(&self, spans: &Spans) -> Result<Claim<'_>, DeviceError> {
        if let Some(last) = spans.last()
            && last.end > self.size()
        {
            return Err(self.out_of_bounds(last.start, last.end - last.start));
        }
        let mut running = lock(&self.running);
        for entry in &running.entries {
            if let Some((start, end)) = clash(spans, &entry.spans) {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
                return Err(DeviceError::Conflict {
                    memory: self.space,
                    offset: start,
                    bytes: end - start,
                });
            }
        }
        let id = running.next;
        running.next += 1;
        running.entries.push(Entry {
            id,
            spans: spans.clone(),
        });
        drop(running);
        Ok(Claim {
            memory: self,
            id,
            spans: spans.clone(),
            pages: Pages::of(spans),
        })
    }

    /// As [`Memory::claim`]; `None` for no spans, which need no claim.
    ///
    /// # Errors
    /// Those of [`Memory::claim`].
    pub(crate) fn claim_any(&self, spans: &Spans) -> Result<Option<Claim<'_>>, DeviceError> {
        match spans.is_empty() {
            true => Ok(None),
            false => self.claim(spans).map(Some),
        }
    }

    /// Claims one range.
    ///
    /// # Errors
    /// Those of [`Memory::claim`].
    pub(crate) fn claim_range(
        &self,
        offset: u64,
        bytes: u64,
        write: bool,
    ) -> Result<Claim<'_>, DeviceError> {
        if offset
            .checked_add(bytes)
            .is_none_or(|end| end > self.size())
        {
            return Err(self.out_of_bounds(offset, bytes));
        }
        self.claim(&Spans::one(offset, bytes, write))
    }

    /// See [`Arena::commit`].
    pub(crate) fn commit(&self, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        match self.arena.commit(offset, bytes) {
            None => Err(self.out_of_bounds(offset, bytes)),
            Some(Err(source)) => Err(DeviceError::Commit {
                memory: self.space,
                offset,
                bytes,
                source,
            }),
            Some(Ok(())) => Ok(()),
        }
    }

    /// See [`Arena::decommit`].
    pub(crate) fn decommit(&self, offset: u64, bytes: u64) -> Result<(), DeviceError> {
        let claim = self.claim_range(offset, bytes, true)?;
        // SAFETY: the claim excludes all other users of the range until it is dropped below,
        // and nobody else holds this claim.
        let done = unsafe { self.arena.decommit(offset, bytes) };
        drop(claim);
        done.ok_or_else(|| self.out_of_bounds(offset, bytes))
    }

    fn out_of_bounds(&self, offset: u64, bytes: u64) -> DeviceError {
        DeviceError::OutOfBounds {
            memory: self.space,
            offset,
            bytes,
            size: self.size(),
        }
    }
}

/// The right to use registered spans.
///
/// # Invariants
/// As long as it lives its spans stand in the memory's table, so no other claim holds a byte
/// of its write spans, and no other claim may write a byte of its read spans.
pub(crate) struct Claim<'a> {
    memory: &'a Memory,
    id: u64,
    spans: Spans,
    pages: Option<Pages>,
}

/// Pages that lie inside spans of a claim, as bits: with many spans in random order a look here
/// costs a tenth of a search, and stays in the nearest cache.
///
/// # Invariants
/// A bit stands for a page whose every byte is claimed: [`Pages::of`] is the only one to set it.
struct Pages {
    /// The page of the first bit.
    first: u64,
    /// For reading, and for writing.
    bits: [Vec<u64>; 2],
}

/// Bytes of a page of [`Pages`].
const PAGE: u64 = 4096;

impl Pages {
    /// `None` for few spans, and for spans too far apart.
    fn of(spans: &Spans) -> Option<Pages> {
        let (first, last) = (spans.first()?.start / PAGE, spans.last()?.end / PAGE);
        let words = (last - first) / 64 + 1;
        if spans.len() < 64 || words > spans.len() as u64 {
            return None;
        }
        let mut bits = [vec![0; words as usize], vec![0; words as usize]];
        for span in spans.iter() {
            for page in span.start.div_ceil(PAGE)..span.end / PAGE {
                let (word, bit) = place(page - first);
                bits[0][word] |= bit;
                bits[1][word] |= if span.write { bit } else { 0 };
            }
        }
        Some(Pages { first, bits })
    }

    /// Whether the one page that the range lies in is claimed; `false` is no answer.
    fn hold(&self, offset: u64, bytes: u64, write: bool) -> bool {
        let inside = offset % PAGE + bytes <= PAGE;
        let (word, bit) = place((offset / PAGE).wrapping_sub(self.first));
        let word = self.bits[usize::from(write)].get(word);
        inside && word.is_some_and(|word| word & bit != 0)
    }
}

/// The word and the bit of a page.
fn place(page: u64) -> (usize, u64) {
    ((page / 64) as usize, 1 << (page % 64))
}

const NOT_CLAIMED: DeviceError = DeviceError::Bug("a command touched bytes it had not claimed");

impl Claim<'_> {
    /// Whether the range lies inside one span of the claim, to write if `write`.
    fn holds(&self, offset: u64, bytes: u64, write: bool) -> bool {
        let page = bytes <= PAGE
            && self
                .pages
                .as_ref()
                .is_some_and(|p| p.hold(offset, bytes, write));
        if page {
            return true;
        }
        let index = self.spans.partition_point(|span| span.end <= offset);
        let Some(end) = offset.checked_add(bytes) else {
            return false;
        };
        bytes == 0
            || self.spans.get(index).is_some_and(|span| {
                span.start <= offset && end <= span.end && (span.write || !write)
            })
    }

    /// Bytes of a claimed span.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<&[u8], DeviceError> {
        if !self.holds(offset, bytes, false) {
            return Err(NOT_CLAIMED);
        }
        // SAFETY: the range is claimed, so no other claim writes it; through this claim it is
        // written only by `&mut self`, which the borrow excludes. Without a claim nobody
        // reaches the arena.
        unsafe { self.memory.arena.bytes(offset, bytes) }.ok_or(NOT_CLAIMED)
    }

    /// Bytes of a claimed write span.
    pub(crate) fn write(&mut self, offset: u64, bytes: u64) -> Result<&mut [u8], DeviceError> {
        if !self.holds(offset, bytes, true) {
            return Err(NOT_CLAIMED);
        }
        // SAFETY: the range is claimed for writing, so no other claim holds a byte of it, and
        // `&mut self` excludes other slices of this claim.
        unsafe { self.memory.arena.bytes_mut(offset, bytes) }.ok_or(NOT_CLAIMED)
    }

    /// One claimed range to read and another one to write.
    pub(crate) fn read_write(
        &mut self,
        from: u64,
        to: u64,
        bytes: u64,
    ) -> Result<(&[u8], &mut [u8]), DeviceError> {
        let apart = from.abs_diff(to) >= bytes;
        if !apart || !self.holds(from, bytes, false) || !self.holds(to, bytes, true) {
            return Err(NOT_CLAIMED);
        }
        // SAFETY: the range is claimed, so no other claim writes it; `&mut self` excludes
        // other slices of this claim, but for the one below, which is disjoint from it.
        let source = unsafe { self.memory.arena.bytes(from, bytes) };
        // SAFETY: as in `write`; the slice above does not overlap.
        let destination = unsafe { self.memory.arena.bytes_mut(to, bytes) };
        source.zip(destination).ok_or(NOT_CLAIMED)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let entries = &mut lock(&self.memory.running).entries;
        if let Some(index) = entries.iter().position(|entry| entry.id == self.id) {
            entries.swap_remove(index);
        }
    }
}

/// Whether commands use the same bytes and one of them writes.
pub(crate) fn clashes(a: &Footprint, b: &Footprint) -> bool {
    clash(&a.vram, &b.vram).is_some() || clash(&a.system, &b.system).is_some()
}

/// A range that both lists use and one of them writes.
fn clash(a: &[Span], b: &[Span]) -> Option<(u64, u64)> {
    let (few, many) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let (first, last) = (few.first()?, few.last()?);
    // Most commands lie apart as a whole; and of a long list only the part near the short one
    // is walked.
    let low = many.partition_point(|span| span.end <= first.start);
    let high = many.partition_point(|span| span.start < last.end);
    let mut many = &many[low..high.max(low)];
    let seek = many.len() / 16 > few.len();
    for span in few {
        if seek {
            many = &many[many.partition_point(|other| other.end <= span.start)..];
        }
        while let Some((other, rest)) = many.split_first() {
            if span.end <= other.start {
                break;
            }
            if other.end > span.start && (other.write || span.write) {
                return Some((span.start.max(other.start), span.end.min(other.end)));
            }
            if other.end > span.end {
                break;
            }
            many = rest;
        }
    }
    None
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
